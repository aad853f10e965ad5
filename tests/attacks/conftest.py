from collections.abc import Iterator

import pytest

from ops.processes import free_port
from ops.stack import Stack
from tests.attacks.clients import new_address
from tests.attacks.floods import SETTINGS, Scene
from tests.support.environment import inherited


@pytest.fixture(params=["through nginx", "at gunicorn", "at gunicorn's gevent worker"])
def url(request, stack) -> str:
    """Each way to the application: through nginx, and directly."""
    match request.param:
        case "through nginx":
            return stack.url
        case "at gunicorn":
            return stack.web_url
        case _:
            return request.getfixturevalue("gevent_site").web_url


@pytest.fixture
def address() -> str:
    """The address of a new client."""
    return new_address()


@pytest.fixture(scope="session")
def scene(mongo_server, tmp_path_factory) -> Iterator[Scene]:
    """A TicketS that trusts its own nginx and nobody else on this machine. It has its own Redis, so
    that its list of events does not have those of all tests."""
    urls = {"MONGODB_URI": mongo_server.url}
    stack = Stack(tmp_path_factory.mktemp("attacked"), inherited() | SETTINGS | urls)
    try:
        stack.start(free_port())
        yield Scene(stack)
    finally:
        stack.stop()
