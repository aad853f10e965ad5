"""The protocol between the application and the nginx in front of it about refused holds."""

import time
from collections.abc import Callable
from functools import wraps

from web.domain.refusals import SaleClosed, SaleNotOpen, SeatTaken, SoldOut
from web.http.fast_path import FastRequest
from web.http.responses import ApiResponse
from web.http.telemetry import record_refusal

KEPT_STATUS = 470
"""Sent instead of 409, to nginx only, whose configuration knows it too."""


def kept_by_nginx(view: Callable[..., ApiResponse]) -> Callable[..., ApiResponse]:
    """nginx may repeat a refusal of this call to everybody until the end of the second in which the
    request arrived. It never repeats a refusal that concerns one client only, nor a hold.

    If nginx asks for it, the status marks such a refusal, and nginx turns it into a 409
    (ops/nginx/hold_calls.conf.j2). Otherwise a header does, which any nginx with a cache can be
    configured to respect.
    """

    @wraps(view)
    def view_or_kept(fast_request: FastRequest, **arguments: str) -> ApiResponse:
        # Taken before the seat is read: a freed seat must show within a second.
        asked_s = int(time.time())
        try:
            return view(fast_request, **arguments)
        except (SeatTaken, SoldOut, SaleNotOpen, SaleClosed) as refusal:
            response = record_refusal(refusal).api_response()
            takes_status = "HTTP_X_KEPT_REFUSALS" in fast_request.environ
            if takes_status and not isinstance(refusal, SaleNotOpen | SaleClosed):
                return response._replace(status=KEPT_STATUS)
            response.headers.append(("X-Accel-Expires", f"@{asked_s}"))
            return response

    return view_or_kept
