"""What the worker does: free expired holds, and end payments that nobody finished."""

import logging

from web.domain import Refusal, Unavailable
from web.ports import GatewayError, SeatStore
from web.use_cases.checkout import Checkout

log = logging.getLogger(__name__)


def reconcile(seats: SeatStore, checkout: Checkout) -> None:
    """One round over all events. What cannot be repaired now is left for the next round."""
    try:
        event_ids = seats.event_ids()
    except Unavailable as error:
        log.warning("%r, trying again in the next round", error)
        return
    for event_id in event_ids:
        try:
            seats.sweep_holds(event_id)
            event = seats.current_event(event_id)
            while checkout.resume(event):
                pass
        except (Refusal, GatewayError) as error:
            log.warning("%s: %r, trying again in the next round", event_id, error)
