"""A new SECRET_KEY, with the previous one in SECRET_KEY_FALLBACKS: buyers in the middle of a
purchase can go on."""

from tests.pages.browser import HTML, csrf_token_in

FORMER, NEW = "a former secret key of tests", "a new secret key of tests"


def test_a_form_that_was_open_when_the_secret_key_changed_is_still_taken(application, address):
    former = application(SECRET_KEY=FORMER)
    new = application(SECRET_KEY=NEW, SECRET_KEY_FALLBACKS=FORMER)
    chosen = {
        "csrf_token": csrf_token_in(former.get(address, headers=HTML).text),
        "seats": "stalls-A-1",
    }
    new.set_cookie("tickets", former.get_cookie("tickets").value)

    held = new.post(f"{address}/holds", data=chosen, headers=HTML)
    assert held.status_code == 303, held.text
    assert new.get(held.location, headers=HTML).status_code == 200
