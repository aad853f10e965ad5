"""The table against what Stripe's page says, written out here once more."""

import re
from decimal import Decimal
from itertools import combinations_with_replacement
from pathlib import Path

import pytest

from web.domain.currencies import CURRENCIES, currency_of, nearest, problem_with_price


@pytest.mark.parametrize(
    ("code", "money", "minor"),
    [
        # "1000 to charge 10 USD", "500 to charge 500 JPY", "500 to charge 5 ISK", "500 to charge 5
        # UGX"; 10.45 HUF is 1045, 800.45 TWD is 80045, and 5.12 KWD is 5120.
        ("USD", "10", 1000),
        ("JPY", "500", 500),
        ("ISK", "5", 500),
        ("UGX", "5", 500),
        ("HUF", "10.45", 1045),
        ("TWD", "800.45", 80045),
        ("KWD", "5.12", 5120),
        # The longest amounts.
        ("IDR", "9999999999.99", 999999999999),
        ("COP", "99999999.99", 9999999999),
        ("INR", "9999999.99", 999999999),
        ("GBP", "999999.99", 99999999),
        # Two decimals, whatever CLDR says.
        *((code, "12.34", 1234) for code in "AFN ALL LAK LBP MMK RSD SOS STD YER PKR".split()),
        # None, where ISO 4217 has two.
        ("MGA", "1234", 1234),
    ],
)
def test_the_minor_unit_is_the_one_that_stripe_counts_in(code, money, minor):
    assert CURRENCIES[code].amount(minor) == Decimal(money)


def test_digits_steps_and_bounds_are_those_of_the_page():
    by_digits = {
        digits: {c.code for c in CURRENCIES.values() if c.digits == digits} for digits in (0, 2, 3)
    }
    assert by_digits[0] == set(
        "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split()
    )
    assert by_digits[3] == {"BHD", "JOD", "KWD", "OMR", "TND"}
    assert len(by_digits[2]) == len(CURRENCIES) - 20 > 110
    steps = {c.code: c.step_minor for c in CURRENCIES.values() if c.step_minor != 1}
    in_tens = dict.fromkeys(("BHD", "JOD", "KWD", "OMR", "TND"), 10)
    assert steps == in_tens | {"ISK": 100, "UGX": 100}
    longer = {c.code: c.max_minor for c in CURRENCIES.values() if c.max_minor != 99_999_999}
    tiny = """
        AMD AOA ARS BDT CDF CRC DZD ETB GYD HTG HUF IDR ISK JMD KES KHR KZT LAK LBP LKR LRD MMK
        MNT MWK NGN NPR PKR RSD SOS STD TZS UGX UZS VND YER
    """
    cards_take = dict.fromkeys(tiny.split(), 999_999_999_999)
    assert longer == cards_take | {"COP": 9_999_999_999, "INR": 999_999_999}


@pytest.mark.parametrize(
    ("code", "seat"), [("LAK", 30_000_000), ("LBP", 500_000_000), ("ARS", 15_000_000)]
)
def test_eight_ordinary_seats_can_be_paid_in_a_currency_of_tiny_units(code, seat):
    """At some 14 to 100 US dollars each."""
    assert problem_with_price(CURRENCIES[code], seat, 8) is None


@pytest.mark.parametrize(
    ("minimum", "codes"),
    [
        (30, "GBP"),
        (50, "ARS AUD BRL CAD CHF COP EUR IDR ILS INR JPY KRW NZD PHP RUB SGD USD ZAR"),
        (200, "AED MYR PLN RON"),
        (250, "DKK"),
        (300, "NOK SEK"),
        (400, "HKD"),
        (1000, "MXN THB"),
        (1500, "CZK"),
        (17500, "HUF"),
    ],
)
def test_published_minimums_are_kept(minimum, codes):
    assert {code: CURRENCIES[code].min_minor for code in codes.split()} == dict.fromkeys(
        codes.split(), minimum
    )


@pytest.mark.parametrize("currency", CURRENCIES.values(), ids=str)
def test_every_sum_of_prices_that_were_taken_can_be_paid(currency):
    """Only by the bounds and steps, whatever they are."""
    max_seats = 4
    dearest = currency.max_minor // max_seats // currency.step_minor * currency.step_minor
    least = currency.min_minor
    prices = [least, least + currency.step_minor, dearest]
    assert [problem_with_price(currency, price, max_seats) for price in [0, *prices]] == [None] * 4
    for seats in range(1, max_seats + 1):
        for chosen in combinations_with_replacement(prices, seats):
            total = sum(chosen)
            assert currency.min_minor <= total <= currency.max_minor
            assert total % currency.step_minor == 0
    for price in (least - currency.step_minor, dearest + currency.step_minor):
        assert price == 0 or problem_with_price(currency, price, max_seats)


def test_the_page_for_organisers_has_the_same_table():
    page = (Path(__file__).parents[2] / "docs/currencies.md").read_text()
    rows = re.findall(r"^\| ([A-Z]{3}) \|(.*)\|$", page, re.MULTILINE)
    assert rows == [
        (
            code,
            (
                f" {currency.written(1000)} | {currency.min_minor} | {currency.step_minor} | "
                f"{currency.max_minor} "
            ),
        )
        for code, currency in CURRENCIES.items()
    ]


def test_a_mistyped_code_is_answered_with_the_nearest():
    assert nearest("GPB")[0] == "GBP"
    assert nearest("usd")[0] == "USD"
    assert nearest("EUA")[0] == "EUR"
    assert len(nearest("")) == 3


def test_a_currency_that_no_payment_can_be_in_has_two_decimals_when_it_has_to_be_shown():
    assert currency_of("GPB").written(123_450) == "GPB 1,234.50"
