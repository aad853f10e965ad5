"""The organiser's logins that have not ended."""

from typing import Protocol


class LoginStore(Protocol):
    """Every method raises Unavailable."""

    def begin(self, login_id: str, proof: str, lifetime_s: int) -> None:
        """proof_of returns ``proof`` until the lifetime is over or the login is ended."""

    def proof_of(self, login_id: str) -> str | None: ...

    def end(self, login_id: str) -> None: ...
