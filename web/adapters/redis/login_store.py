"""Redis: which of the organiser's logins have not ended.

A signed cookie cannot be called back. So it only names a login, and a login that is not found here
is over: on every worker and host at once, and also when Redis has lost it.
"""

from typing import cast

from web.adapters.redis.client import RedisClient

KEY = "login:"


class RedisLoginStore:
    """Every method raises Unavailable."""

    def __init__(self, client: RedisClient):
        self._client = client

    def begin(self, login_id: str, proof: str, lifetime_s: int) -> None:
        """``proof`` is given back by proof_of, until the lifetime is over or the login is ended."""
        key = KEY + login_id
        self._client.ask(key, lambda commands: commands.set(key, proof, ex=lifetime_s))

    def proof_of(self, login_id: str) -> str | None:
        key = KEY + login_id
        return self._client.ask(key, lambda commands: cast(str | None, commands.get(key)))

    def end(self, login_id: str) -> None:
        key = KEY + login_id
        self._client.ask(key, lambda commands: commands.delete(key))
