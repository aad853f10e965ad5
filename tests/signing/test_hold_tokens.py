from web.signing.hold_tokens import HoldTokens

KEY, FORMER_KEY = "a secret key of tests", "another secret key"


def test_a_token_opens_its_hold_of_its_event_and_no_other():
    tokens = HoldTokens(KEY)
    token = tokens.token_of("evening", "hld_1")
    assert tokens.is_token_of("evening", "hld_1", token)
    assert not tokens.is_token_of("evening", "hld_2", token)
    assert not tokens.is_token_of("matinee", "hld_1", token)
    assert not tokens.is_token_of("evening", "hld_1", "")
    assert not tokens.is_token_of("evening", "hld_1", token[:-1] + "é")


def test_a_former_key_still_opens_and_no_longer_makes_tokens():
    former = HoldTokens(FORMER_KEY).token_of("evening", "hld_1")
    tokens = HoldTokens(KEY, fallbacks=[FORMER_KEY])
    assert tokens.is_token_of("evening", "hld_1", former)
    assert tokens.token_of("evening", "hld_1") != former
    assert not HoldTokens(KEY).is_token_of("evening", "hld_1", former)


def test_hold_ids_are_never_the_same():
    tokens = HoldTokens(KEY)
    assert len({tokens.new_hold_id("9f3c21") for _ in range(1000)}) == 1000
