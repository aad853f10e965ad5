"""What the application and the nginx in front of it have agreed on about refused holds."""

import time
from collections.abc import Callable
from functools import wraps

from web.domain.refusals import SaleNotOpen, SeatTaken, SoldOut
from web.http.fast_path import FastRequest
from web.http.responses import ApiResponse
from web.http.telemetry import record_refusal

KEPT_STATUS = 470
"""Instead of 409, to nginx only, whose configuration has it too."""


def kept_by_nginx(view: Callable[..., ApiResponse]) -> Callable[..., ApiResponse]:
    """nginx may repeat a refusal of this call to everybody, until the second is over in which it
    was asked for. Not what is refused to one client only, and never a hold.

    To an nginx that asks for it the status says so, and nginx makes the 409 (ops/nginx/
    hold_calls.conf.j2). Otherwise a header does, and any nginx with a cache can be told to heed it.
    """

    @wraps(view)
    def view_or_kept(fast_request: FastRequest, **arguments: str) -> ApiResponse:
        # Before the seat is looked at: a freed seat must show within a second of that.
        asked_s = int(time.time())
        try:
            return view(fast_request, **arguments)
        except (SeatTaken, SoldOut, SaleNotOpen) as refusal:
            response = record_refusal(refusal).api_response()
            takes_status = "HTTP_X_KEPT_REFUSALS" in fast_request.environ
            if takes_status and not isinstance(refusal, SaleNotOpen):
                return response._replace(status=KEPT_STATUS)
            response.headers.append(("X-Accel-Expires", f"@{asked_s}"))
            return response

    return view_or_kept
