"""References of bookings, which are read out on the telephone."""

import re
import secrets

import pytest

from web.domain.references import ALPHABET, bookings_like, reference_of


def booking_id() -> str:
    return f"bkg_{secrets.token_hex(10)}_5f"


@pytest.mark.parametrize("event_id", ["hamlet", "h", "ha", "7-brides", "a-b-c-d"])
def test_a_reference_leads_back_to_its_booking(event_id):
    for _ in range(100):
        id_ = booking_id()
        beginning, event = bookings_like(reference_of(event_id, id_))
        assert id_.startswith(beginning) and re.search(event, event_id)


def test_a_reference_leads_to_no_event_with_other_letters():
    for event_id, others in (("hamlet", ["halma", "the-hamlet", "h"]), ("ha", ["ham", "h-am"])):
        _, event = bookings_like(reference_of(event_id, booking_id()))
        assert not [other for other in others if re.search(event, other)]


@pytest.mark.parametrize("event_id", ["hamlet", "h", "7-brides", "a-b-c-d"])
def test_it_has_no_letters_that_look_alike_behind_the_events(event_id):
    letters, _, characters = reference_of(event_id, booking_id()).partition("-")
    assert letters and event_id.replace("-", "").upper().startswith(letters)
    assert len(characters) == 4 and set(characters) <= set(ALPHABET)
    assert not set("01IO") & set(ALPHABET)
    assert len(set(ALPHABET)) == 32


def test_however_it_is_typed_it_is_understood():
    reference = reference_of("hamlet", booking_id())
    typed = (
        reference,
        reference.lower(),
        reference.replace("-", ""),
        f" {reference} ".replace("-", " "),
        " ".join(reference),
        reference.replace("-", "\N{NON-BREAKING HYPHEN}"),
        f"{reference}.",
    )
    assert len({bookings_like(text) for text in typed}) == 1


@pytest.mark.parametrize(
    "text", ["", "HAM", "HAM-7", "HAM-7K3FF", "HAM-0000", "bkg_1", "HAM-7K3I", "Ä-7K3F"]
)
def test_what_is_none_is_none(text):
    assert bookings_like(text) is None


def test_a_booking_of_an_older_form_is_its_own_reference():
    assert reference_of("hamlet", "bkg_hld-17") == "bkg_hld-17"
