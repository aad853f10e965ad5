"""When an event is, on every page where somebody looks, in the time zone of its venue."""

import json
from datetime import UTC, datetime, timedelta

import icalendar
import pytest

from tests.pages.browser import Browser
from tests.pages.conftest import BUYER
from tests.support.factories import lose_event, unique
from tests.support.redis_stores import commands_of

SUMMER = datetime(2036, 7, 4, 18, 30, tzinfo=UTC)
"""19:30 in London."""

DATED = {
    "starts_at": SUMMER,
    "doors_open_at": SUMMER - timedelta(minutes=45),
    "ends_at": SUMMER + timedelta(hours=2, minutes=30),
    "sale_closes_at": SUMMER,
}
SAID = "Friday 4 July 2036, 19:30 BST Doors open at 18:45"
NO_DATE = {"timezone": None, "starts_at": None, "sale_closes_at": None}


@pytest.fixture
def hall(hall_with) -> str:
    return hall_with(**DATED)


@pytest.fixture
def bought(ada, hall):
    """The receipt of a seat in the hall."""
    held = ada.get(hall).press("Hold the chosen", seats=["stalls-A-1"])
    assert SAID in said(held)
    return held.press("Pay", **BUYER)


def said(page) -> str:
    return page.text.replace("Friday, 4", "Friday 4")


def test_the_event_says_when_it_is(ada, hall_with):
    address = hall_with(**DATED)
    for path in (address, f"{address}/sections/stalls", "/"):
        assert SAID in said(ada.get(path)), path


def test_a_buyer_reads_the_date_in_their_language(stack, hall_with):
    page = Browser(stack.url, "de").get(hall_with(**DATED))
    assert "Freitag, 4. Juli 2036, 19:30 BST" in page.text


def test_an_event_from_before_events_had_dates_has_none(ada, hall_with):
    page = ada.get(hall_with(**NO_DATE))
    assert "Doors" not in page.text and 'class="when"' not in page.answer.text
    assert "ld+json" not in page.answer.text


def test_the_list_has_what_comes_first_and_what_is_over_apart(ada, hall_with):
    names = [unique(name) for name in ("Later", "Sooner", "Over", "Undated")]
    later, sooner, over, undated = names
    hall_with(name=later, starts_at=SUMMER + timedelta(days=1))
    hall_with(name=sooner, starts_at=SUMMER)
    hall_with(name=over, starts_at=datetime(2026, 2, 1, tzinfo=UTC))
    hall_with(name=undated, **NO_DATE)
    text = ada.get("/").text
    places = [text.index(name) for name in (sooner, later, undated)]
    assert places == sorted(places)
    assert text.index("Past events") < text.index(over)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sale_closes_at": datetime(2026, 2, 1, tzinfo=UTC)}, "The sale is over."),
        ({"declared_status": "cancelled"}, "This event is cancelled."),
    ],
)
def test_an_event_whose_sale_has_ended_takes_no_more(ada, hall_with, changes, words):
    page = ada.get(hall_with(**changes))
    assert words in page.text
    assert "Hold the best" not in page.text and "Hold the chosen" not in page.text


def test_a_sale_that_is_closed_by_hand_says_so_and_refuses_a_form_sent_before(
    ada, hall_with, seats
):
    address = hall_with()
    page = ada.get(address)
    seats.close_sale(address.rpartition("/")[2])
    refused = page.press("Hold the chosen", seats=["stalls-A-1"])
    assert refused.status == 403
    assert "The sale is over" in refused.text
    assert "The sale is over." in ada.get(address).text


def test_the_receipt_says_when_it_is_and_goes_into_a_calendar(ada, bought):
    assert SAID in said(bought)
    answer = ada.get(f"{bought.address}/calendar.ics")
    assert answer.headers["Content-Type"].startswith("text/calendar")
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    calendar = icalendar.Calendar.from_ical(answer.answer.text)
    (entry,) = calendar.walk("VEVENT")
    assert calendar.walk("VTIMEZONE")[0]["TZID"] == "Europe/London"
    assert entry["DTSTART"].params["TZID"] == "Europe/London"
    assert entry["DTSTART"].dt == SUMMER and entry["DTEND"].dt == DATED["ends_at"]
    assert entry["STATUS"] == "CONFIRMED"
    assert "Stalls, row A, seat 1" in entry["DESCRIPTION"]
    assert entry["URL"].endswith(bought.address)
    again = icalendar.Calendar.from_ical(ada.get(f"{bought.address}/calendar.ics").answer.text)
    assert again.walk("VEVENT")[0]["UID"] == entry["UID"], "it takes the place of the first"


def test_the_receipt_of_an_event_that_is_gone_still_says_when_it_was(ada, hall, bought, seats):
    event_id = hall.rpartition("/")[2]
    lose_event(commands_of(seats, event_id), event_id)
    assert "Friday 4 July 2036, 19:30 BST" in said(ada.get(bought.address))


def test_no_calendar_is_shown_to_who_does_not_have_the_address(ada):
    assert ada.get("/receipts/wrong/calendar.ics").status == 404


def test_search_engines_read_the_event(ada, hall_with):
    page = ada.get(hall_with(**DATED, name="An </script> evening"))
    (script,) = page.answer.text.split('<script type="application/ld+json">')[1:]
    declared = json.loads(script.partition("</script>")[0])
    assert declared["@type"] == "Event" and declared["name"] == "An </script> evening"
    assert declared["startDate"] == "2036-07-04T19:30:00+01:00"
    assert declared["doorTime"] == "2036-07-04T18:45:00+01:00"
    assert declared["eventStatus"] == "https://schema.org/EventScheduled"
    assert {offer["price"] for offer in declared["offers"]} == {"25.00", "15.00", "0.00"}
    assert declared["offers"][0]["availability"] == "https://schema.org/InStock"
    assert declared["offers"][0]["priceCurrency"] == "GBP"


def test_no_page_says_utc_to_a_buyer(ada, hall_with, bought):
    opens = datetime.now(UTC) + timedelta(hours=1)
    for path in (hall_with(sale_opens_at=opens), "/basket", bought.address):
        assert "UTC" not in ada.get(path).text, path
