"""A buyer's HTTP client. It uses only the HTTP contract, none of the application's code."""

import itertools
import re
from typing import Any

import requests

_addresses = itertools.count(1)

PROBLEM_TYPE = "application/problem+json"
TIMEOUT_S = 15


class Client(requests.Session):
    """A client with an address of its own, given to the local nginx as a load generator does."""

    def __init__(self, base_url: str, event_id: str, address: str | None = None):
        super().__init__()
        self.trust_env = False
        number = next(_addresses)
        self.address = address or f"198.18.{number // 250}.{number % 250 + 1}"
        self.headers["X-Forwarded-For"] = self.address
        self.base_url = base_url
        self.event_id = event_id
        self._event_path = f"/api/events/{event_id}"

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """``path`` is relative to the event when it does not begin with a slash."""
        if not path.startswith("/"):
            path = f"{self._event_path}/{path}".rstrip("/")
        options.setdefault("timeout", TIMEOUT_S)
        return self.request(method, self.base_url + path, **options)

    def hold_seat(self, seat: str) -> requests.Response:
        return self.call("POST", f"seats/{seat}/hold")

    def hold_seats(self, *seats: str) -> requests.Response:
        return self.call("POST", "holds", json={"seats": seats})

    def hold_best(self, section: str, quantity: int | str) -> requests.Response:
        return self.call("POST", f"sections/{section}/best/{quantity}/hold")

    def held(self, *seats: str) -> dict:
        """Hold these seats; fails the test if that is refused."""
        answer = self.hold_seats(*seats)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def look_up(self, hold: dict) -> requests.Response:
        return self.call("GET", f"holds/{hold['hold_id']}", headers=bearer(hold))

    def release(self, hold: dict) -> requests.Response:
        return self.call("DELETE", f"holds/{hold['hold_id']}", headers=bearer(hold))

    def pay(
        self, hold: dict, key: str | None = "key-1", method: str = "pm_card_visa", **changes: Any
    ) -> requests.Response:
        """``changes`` replace fields of the body; None leaves one out."""
        body = {"payment_method": method, "email": "ada@example.org", "name": "Ada Lovelace"}
        body = {name: value for name, value in (body | changes).items() if value is not None}
        headers = bearer(hold) | ({} if key is None else {"Idempotency-Key": key})
        return self.call("POST", f"holds/{hold['hold_id']}/pay", json=body, headers=headers)

    def booking(self, receipt: dict, hold: dict) -> requests.Response:
        return self.call("GET", f"bookings/{receipt['booking_id']}", headers=bearer(hold))

    def seat_map(self) -> str:
        return self.call("GET", "seats").json()["seats"]


def bearer(hold: dict) -> dict[str, str]:
    return {"Authorization": f"Bearer {hold['hold_token']}"}


def answers_of_application(web_url: str) -> float:
    """How many requests the application has answered so far, in all workers."""
    metrics = requests.get(f"{web_url}/metrics", timeout=TIMEOUT_S).text
    return sum(
        map(float, re.findall(r"^tickets_answers_total\{.*\} (\S+)$", metrics, re.MULTILINE))
    )


def assert_problem(answer: requests.Response, status: int, code: str) -> dict:
    """Assert that the answer is an RFC 9457 problem with this ``code``, and return the problem."""
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, PROBLEM_TYPE), (
        answer.text
    )
    problem = answer.json()
    assert problem["code"] == code, problem
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert "Traceback" not in answer.text
    return problem
