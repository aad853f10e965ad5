"""``flask --app wsgi tickets …``: what buyers show at the door."""

import click
import msgspec
from flask.cli import AppGroup

from web.services import services
from web.signing.ticket_codes import BadCode

SHOWN_OF_CODE = 40
"""Characters of a refused ticket code: enough to see what was scanned."""


tickets_cli = AppGroup("tickets", help="What buyers show at the door.")


@tickets_cli.command("verify")
@click.argument("code")
def verify_command(code: str) -> None:
    """Say what a scanned code admits; works offline. Exits with 1 when it is not ours."""
    try:
        ticket = services().codes.read_code(code.strip())
    except BadCode:
        raise click.ClickException(
            f"{_short(code)!r} is not a ticket of ours: it is cut short or changed, or was made "
            "with another SECRET_KEY"
        ) from None
    click.echo(f"{ticket.booking_id}  {ticket.event_id}  {','.join(ticket.seats)}")


@tickets_cli.command("public-key")
@click.option("--jwk", is_flag=True, help="As JSON Web Keys (RFC 8037), not as PEM.")
def public_key_command(jwk: bool) -> None:
    """Print the keys with which anybody can verify tickets and nobody can make one: the current
    one, then those of SECRET_KEY_FALLBACKS."""
    keys = services().codes.keys
    if jwk:
        described = [{"kty": "OKP", "crv": "Ed25519", "x": key} for key in keys.public_keys()]
        click.echo(msgspec.json.format(msgspec.json.encode({"keys": described})))
    else:
        click.echo("".join(keys.public_keys_pem()), nl=False)


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_OF_CODE else f"{text[:SHOWN_OF_CODE]}…"
