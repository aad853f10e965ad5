"""What the calls have in common: their parameters, lists and the fields that can be expanded."""

import time
from typing import Any

from flask import request

from ops.sandbox.errors import Answer, invalid_request, json_answer
from ops.sandbox.form import Parameters, decode
from ops.sandbox.ledger import Window

DEFAULT_PAGE = 10
MAX_PAGE = 100


def form() -> Parameters:
    return Parameters(decode(request.form.items(True)))


def query() -> Parameters:
    return Parameters(decode(request.args.items(True)))


def list_answer(url: str, data: list[dict[str, Any]], has_more: bool) -> Answer:
    return json_answer(200, {"object": "list", "url": url, "has_more": has_more, "data": data})


def read_expansion(
    parameters: Parameters, expandable: tuple[str, ...], *, of_list: bool = False
) -> set[str]:
    """The fields to expand: https://docs.stripe.com/api/expanding_objects. Raises ApiError for a
    field that cannot be expanded."""
    wanted = parameters.array("expand") or ()
    prefix = "data." if of_list else ""
    for name in wanted:
        if name.removeprefix(prefix) not in expandable or not name.startswith(prefix):
            message = f"This property cannot be expanded ({name})."
            if name in expandable:
                message += f" You may want to try expanding '{prefix}{name}' instead."
            raise invalid_request(message, param="expand")
    return {name.removeprefix(prefix) for name in wanted}


def read_window(parameters: Parameters) -> Window:
    limit = parameters.integer("limit")
    limit = DEFAULT_PAGE if limit is None else limit
    if not 1 <= limit <= MAX_PAGE:
        bound = "less than or equal to 100" if limit > MAX_PAGE else "greater than or equal to 1"
        raise invalid_request(f"This value must be {bound}.", "parameter_invalid_integer", "limit")
    parameters.require_one_at_most("ending_before", "starting_after")
    return Window(
        limit=limit,
        created=_read_created(parameters),
        starting_after=parameters.text("starting_after"),
        ending_before=parameters.text("ending_before"),
    )


def _read_created(parameters: Parameters) -> dict[str, int]:
    """The bounds of ``created``, which may also be one exact time."""
    bounds = parameters.group("created") if parameters.has_fields("created") else None
    if bounds is None:
        moment_s = parameters.integer("created")
        return {} if moment_s is None else {"gte": moment_s, "lte": moment_s}
    created = {name: bounds.integer(name) for name in ("gt", "gte", "lt", "lte")}
    bounds.require_no_more()
    return {name: bound_s for name, bound_s in created.items() if bound_s is not None}


def now_s() -> int:
    """Unix time, as Stripe's objects have it."""
    return int(time.time())
