"""What a command says when something cannot be done."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click

from web.domain.refusals import EventNotFound, Refusal, Unavailable
from web.domain.validation import did_you_mean
from web.ports.booking_store import BOOKING_STORE, UnsafeToSell
from web.ports.payment_gateway import GatewayError, NotAccepted, NotAllowed
from web.ports.seat_store import SEAT_STORE
from web.services import services

PROBLEMS_SHOWN = 10
"""For each check; if there are more, they usually have one cause."""


@contextmanager
def plain_errors() -> Iterator[None]:
    """Around a command: refusals and unreachable servers become one line on standard error and exit
    code 1."""
    # The adapters log the same error.
    logging.getLogger("web.adapters").addHandler(logging.NullHandler())
    try:
        yield
    except UnsafeToSell as error:
        raise click.ClickException(str(error)) from None
    except EventNotFound as error:
        raise click.ClickException(_no_such_event(error.event_id)) from None
    except Unavailable as error:
        raise click.ClickException(out_of_reach(error)) from None
    except Refusal as error:
        raise click.ClickException(str(error)) from None
    except (NotAccepted, NotAllowed) as error:
        raise click.ClickException(f"the payment gateway refuses it: {error}") from None
    except GatewayError as error:
        raise click.ClickException(
            f"the payment gateway did not confirm it: {error}; the worker tries again, and you may"
        ) from None


def _no_such_event(event_id: str) -> str:
    meant = ""
    with suppress(Unavailable):
        meant = did_you_mean(event_id, services().catalogue.event_ids())
    return f"there is no event {event_id!r}{meant}"


def out_of_reach(error: Unavailable) -> str:
    """Says what to check. A Redis that has lost its events responds but cannot serve."""
    parts = services()
    if error.part == BOOKING_STORE:
        return f"cannot reach {_bare(parts.settings.mongodb_uri)}; is MONGODB_URI right?"
    if error.part != SEAT_STORE:
        return str(error)
    servers = parts.catalogue.servers()
    away = [server for server in servers if server.failure and not server.failure.answer]
    if len(away) == len(servers):
        return f"cannot reach {_bare(parts.settings.redis_url)}; is REDIS_URL right?"
    if away and not error.answer:
        addresses = ", ".join(server.address for server in away)
        return f"cannot reach {addresses} of {_bare(parts.settings.redis_url)}"
    if error.answer:
        return f"Redis answers and refuses the call: {error.answer}"
    return (
        "Redis answers and does not have the event: it was not opened yet, or Redis has lost it; "
        "run `events open` with its file, as the worker does by itself after a loss"
    )


def _bare(url: str) -> str:
    """The URL without its secrets."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"
