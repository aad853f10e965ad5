"""The sandbox's own calls, for tests; they need no key.

    PUT    /_sandbox/faults  {"faults": [{"operation": "capture", "kind": "drop_after",
                                          "calls": 1}]}     replace the faults
    GET    /_sandbox/faults                                 how many times each has happened
    DELETE /_sandbox/faults                                 remove all faults

All answer ``{"faults": [...]}``, each as it was planned and with ``happened``.
"""

import msgspec
from flask import Blueprint, Response, request

from ops.sandbox.errors import invalid_request, json_answer
from ops.sandbox.faults import Fault, Faults

PREFIX = "/_sandbox"


class _Wanted(msgspec.Struct, forbid_unknown_fields=True):
    faults: list[Fault]


def control_calls(faults: Faults) -> Blueprint:
    control = Blueprint("control", __name__, url_prefix=PREFIX)

    @control.put("/faults")
    def plan() -> Response:
        try:
            wanted = msgspec.json.decode(request.get_data(), type=_Wanted)
        except msgspec.DecodeError as error:
            raise invalid_request(f"Invalid faults: {error}") from error
        faults.plan(wanted.faults)
        return shown()

    @control.get("/faults")
    def shown() -> Response:
        planned = [
            {**msgspec.structs.asdict(fault), "happened": happened}
            for fault, happened in faults.planned()
        ]
        answer = json_answer(200, {"faults": planned})
        return Response(answer.body, answer.status, mimetype="application/json")

    @control.delete("/faults")
    def clear() -> Response:
        faults.clear()
        return shown()

    return control
