"""The sandbox's own calls, for tests; they need no key.

    PUT    /_sandbox/faults  {"faults": [{"operation": "capture", "kind": "drop_after",
                                          "calls": 1}]}     replace the faults
    GET    /_sandbox/faults                                 how many times each has happened
    DELETE /_sandbox/faults                                 remove all faults

    PUT    /_sandbox/bank    {"does": "refuse", "seconds": 2}    what the bank does from now on
    GET    /_sandbox/bank                                        what it does
    POST   /_sandbox/bank/decisions  {"payment_intent": "pi_...", "decision": "accept"}
                                             the owner answers without the page, in the bank's app

Those of faults answer ``{"faults": [...]}``, each as it was planned and with ``happened``; those of
the bank answer its behaviour (``bank.py``), and a decision the intent as it is then.
"""

from typing import Any, TypeVar

import msgspec
from flask import Blueprint, Response, request

from ops.sandbox.authentication import Decision
from ops.sandbox.bank import Bank, Behaviour
from ops.sandbox.errors import invalid_request, json_answer
from ops.sandbox.faults import Fault, Faults

PREFIX = "/_sandbox"


_Document = TypeVar("_Document")


class _Wanted(msgspec.Struct, forbid_unknown_fields=True):
    faults: list[Fault]


class _Decided(msgspec.Struct, forbid_unknown_fields=True):
    payment_intent: str
    decision: Decision


def control_calls(faults: Faults, bank: Bank) -> Blueprint:
    control = Blueprint("control", __name__, url_prefix=PREFIX)

    @control.put("/faults")
    def plan() -> Response:
        faults.plan(_read(_Wanted, "faults").faults)
        return shown()

    @control.get("/faults")
    def shown() -> Response:
        planned = [
            {**msgspec.structs.asdict(fault), "happened": happened}
            for fault, happened in faults.planned()
        ]
        return _answered({"faults": planned})

    @control.delete("/faults")
    def clear() -> Response:
        faults.clear()
        return shown()

    @control.put("/bank")
    def behave() -> Response:
        bank.behaviour = _read(Behaviour, "behaviour")
        return behaviour()

    @control.get("/bank")
    def behaviour() -> Response:
        return _answered(msgspec.structs.asdict(bank.behaviour))

    @control.post("/bank/decisions")
    def decide() -> Response:
        decided = _read(_Decided, "decision")
        return _answered(bank.decide_for(decided.payment_intent, decided.decision))

    return control


def _read(kind: type[_Document], noun: str) -> _Document:
    """The body. Raises ApiError when it is not of this kind."""
    try:
        return msgspec.json.decode(request.get_data(), type=kind)
    except msgspec.DecodeError as error:
        raise invalid_request(f"Invalid {noun}: {error}") from error


def _answered(document: dict[str, Any]) -> Response:
    answer = json_answer(200, document)
    return Response(answer.body, answer.status, mimetype="application/json")
