import pytest

from tests.attacks.clients import new_address


@pytest.fixture(params=["through nginx", "at gunicorn"])
def url(request, stack) -> str:
    """Each way to the application: as a buyer comes, and as where there is no nginx."""
    return stack.url if request.param == "through nginx" else stack.web_url


@pytest.fixture
def address() -> str:
    """Of a client that has asked nothing yet."""
    return new_address()
