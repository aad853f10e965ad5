"""During an upgrade a browser's requests may come to hosts of two versions in turn. Its cookie and
its forms may have fields that the older one does not know."""

import pytest

from tests.pages.browser import HTML, csrf_token_in

FIELD = "of_a_newer_version"


@pytest.fixture
def host(application):
    return application(ORGANISER_TOKEN="the organiser's token", RATE_LIMIT="1000/second")


def test_a_basket_and_a_form_of_a_newer_version_are_understood(host, address):
    form = {"csrf_token": csrf_token_in(host.get(address, headers=HTML).text), FIELD: "x"}
    held = host.post(f"{address}/holds", data=form | {"seats": "stalls-A-1"}, headers=HTML)
    assert held.status_code == 303
    with host.session_transaction() as session:
        session["holds"] = [[*entry, None, "x"][:5] for entry in session["holds"]]
        session[FIELD] = "x"
    assert held.location in host.get("/basket", headers=HTML).text
    assert host.get(held.location, headers=HTML).status_code == 200
    again = host.post(f"{address}/holds", data=form | {"seats": "stalls-A-2"}, headers=HTML)
    assert again.status_code == 303
    with host.session_transaction() as session:
        assert len(session["holds"]) == 2
        assert session[FIELD] == "x"


def test_a_login_of_a_newer_version_is_understood(host):
    form = {
        "csrf_token": csrf_token_in(host.get("/organiser", headers=HTML).text),
        "token": "the organiser's token",
    }
    assert host.post("/organiser/login", data=form, headers=HTML).status_code == 303
    with host.session_transaction() as session:
        session["organiser"] = [*session["organiser"], "x"]
    assert "Log out" in host.get("/organiser", headers=HTML).text
    assert host.post("/organiser/logout", data=form, headers=HTML).status_code == 303
    assert "Log in" in host.get("/organiser", headers=HTML).text
