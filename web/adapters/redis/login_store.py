"""Redis: which of the organiser's logins have not ended.

A signed cookie cannot be called back. So it only names a login, and a login that is not found here
is over: on every worker and host at once, and also when Redis has lost it.
"""

from typing import cast

from web.adapters.redis.client import RedisClient, reachable

KEY = "login:"


class RedisLoginStore:
    """Every method raises Unavailable."""

    def __init__(self, client: RedisClient):
        self._client = client

    def begin(self, login_id: str, proof: str, lifetime_s: int) -> None:
        """``proof`` is given back by proof_of, until the lifetime is over or the login is ended."""
        with reachable():
            self._client.commands.set(KEY + login_id, proof, ex=lifetime_s)

    def proof_of(self, login_id: str) -> str | None:
        with reachable():
            return cast(str | None, self._client.commands.get(KEY + login_id))

    def end(self, login_id: str) -> None:
        with reachable():
            self._client.commands.delete(KEY + login_id)
