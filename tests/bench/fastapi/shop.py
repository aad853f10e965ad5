"""What a good engineer would write for the same task with FastAPI: redis-py's and PyMongo's asyncio
clients, on uvicorn with uvloop and httptools, a process a core.

It keeps none of the guarantees beside the scripts' own: no limiter, no tokens, no fence, no worker.
Two calls, with the answers that buyers.lua reads, as express/server.mjs has them.
Environment: REDIS_URL, MONGODB_URI, HOLD_SEATS (the script's source).
"""

import json
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

import redis.asyncio
from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel
from pymongo import AsyncMongoClient, WriteConcern

PRICE = 2500
KEYS = ("event", "seats", "holds", "due", "clients", "journal")


class Version(BaseModel):
    version: str


class Hold(BaseModel):
    hold_id: str
    event: str
    seats: list[str]
    amount: int
    currency: str = "GBP"
    status: str = "held"
    expires_in_ms: int
    expires_at: datetime
    hold_token: str


class Payment(BaseModel):
    payment_method: str
    email: str
    name: str


class Booking(BaseModel):
    booking_id: str
    hold_id: str
    event: str
    seats: list[int]
    amount: int
    currency: str = "GBP"
    email: str
    name: str
    booked_at: datetime
    status: str = "booked"


class KnownEvent(NamedTuple):
    """``paid_seats`` is how many seats the first section has."""

    version: str
    paid_seats: int


store = redis.asyncio.from_url(os.environ["REDIS_URL"], decode_responses=True)
hold_seats = store.register_script(os.environ["HOLD_SEATS"])
mongodb = AsyncMongoClient[dict[str, Any]](os.environ["MONGODB_URI"])
bookings = mongodb["fastapi"].get_collection(
    "bookings", write_concern=WriteConcern(w="majority", j=True)
)
events: dict[str, KnownEvent] = {}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    await bookings.create_index([("event", 1), ("seats", 1)], unique=True)
    yield
    await store.aclose()
    await mongodb.close()


app = FastAPI(lifespan=lifespan, openapi_url=None)


async def look_up(event: str) -> KnownEvent:
    version, definition = await store.hmget(f"event:{{{event}}}", "version", "definition")
    blocks = json.loads(definition)["sections"][0]["rows"][0]["blocks"]
    events[event] = KnownEvent(version=version, paid_seats=len(blocks[0]))
    return events[event]


@app.get("/healthz")
async def healthz() -> str:
    return "ok"


@app.get("/api/events/{event}")
async def read_event(event: str) -> Version:
    return Version(version=(await look_up(event)).version)


@app.post("/api/events/{event}/seats/{seat}/hold", status_code=201)
async def hold(event: str, seat: str, x_forwarded_for: Annotated[str, Header()]) -> Hold:
    section, _, number = seat.split("-")
    known = events.get(event) or await look_up(event)
    is_free = section == "free"
    position = (known.paid_seats if is_free else 0) + int(number) - 1
    amount = 0 if is_free else PRICE
    hold_id = secrets.token_hex(16)
    outcome, deadline_ms, now_ms, *_ = await hold_seats(
        keys=[f"{key}:{{{event}}}" for key in KEYS],
        # No network, and so no limit for it.
        args=[known.version, hold_id, x_forwarded_for, "", 0, amount, position],
    )
    if outcome != "held":
        raise HTTPException(409, outcome)
    return Hold(
        hold_id=hold_id,
        event=event,
        seats=[seat],
        amount=amount,
        expires_in_ms=deadline_ms - now_ms,
        expires_at=datetime.fromtimestamp(deadline_ms / 1000, UTC),
        hold_token=hold_id,
    )


@app.post("/api/events/{event}/holds/{hold_id}/pay", status_code=201)
async def pay(event: str, hold_id: str, payment: Payment) -> Booking:
    held = await store.hget(f"holds:{{{event}}}", hold_id)
    if held is None:
        raise HTTPException(410, "hold_expired")
    record = json.loads(held)
    booking = Booking(
        booking_id=f"b{hold_id}",
        hold_id=hold_id,
        event=event,
        seats=record["seats"],
        amount=record["amount_minor"],
        email=payment.email,
        name=payment.name,
        booked_at=datetime.now(UTC),
    )
    document = booking.model_dump(exclude={"booking_id"})
    await bookings.insert_one({"_id": booking.booking_id, **document})
    # All of the hold ends together: TicketS's worker repairs an event of which a part is missing.
    async with store.pipeline(transaction=True) as end:
        end.hdel(f"holds:{{{event}}}", hold_id).zrem(f"due:{{{event}}}", hold_id)
        for position in booking.seats:
            end.setrange(f"seats:{{{event}}}", position, "s")
        end.hdel(f"clients:{{{event}}}", record["client"])
        await end.execute()
    return booking
