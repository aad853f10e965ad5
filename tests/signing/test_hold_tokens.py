from dataclasses import replace

from web.signing.hold_tokens import HoldTokens

KEY, FORMER_KEY = "a secret key of tests", "another secret key"


def test_a_token_opens_its_hold_of_its_event_and_no_other():
    tokens = HoldTokens(KEY)
    ref = tokens.ref_of("evening", "hld_1")
    assert tokens.is_valid(ref)
    assert not tokens.is_valid(replace(ref, hold_id="hld_2"))
    assert not tokens.is_valid(replace(ref, event_id="matinee"))
    assert not tokens.is_valid(replace(ref, token=""))
    assert not tokens.is_valid(replace(ref, token=ref.token[:-1] + "é"))


def test_no_log_shows_a_token():
    ref = HoldTokens(KEY).ref_of("evening", "hld_1")
    assert ref.token not in repr(ref)


def test_a_former_key_still_opens_and_no_longer_makes_tokens():
    former = HoldTokens(FORMER_KEY).ref_of("evening", "hld_1")
    tokens = HoldTokens(KEY, fallbacks=[FORMER_KEY])
    assert tokens.is_valid(former)
    assert tokens.token_of("evening", "hld_1") != former.token
    assert not HoldTokens(KEY).is_valid(former)


def test_hold_ids_are_never_the_same():
    tokens = HoldTokens(KEY)
    assert len({tokens.new_hold_id("9f3c21") for _ in range(1000)}) == 1000
