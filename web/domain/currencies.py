"""The currencies and amounts that a payment can have, as Stripe defines them.

From https://docs.stripe.com/currencies: the presentment currencies, and its sections "Zero-decimal
currencies", "Three-decimal currencies", "Special cases" and "Minimum and maximum charge amounts".
ISO 4217 and CLDR, and so babel and browsers, differ in the number of decimals of some currencies; a
mistake would be off by a factor of a hundred. Amounts everywhere are integers in the minor unit
defined here.
"""

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal

_ALL = """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BWP BYN BZD CAD
    CDF CHF CLP CNY COP CRC CVE CZK DJF DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GNF GTQ GYD
    HKD HNL HTG HUF IDR ILS INR ISK JMD JOD JPY KES KGS KHR KMF KRW KWD KYD KZT LAK LBP LKR LRD LSL
    MAD MDL MGA MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP
    PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SEK SGD SHP SLE SOS SRD STD SZL THB TJS TND TOP TRY
    TTD TWD TZS UAH UGX USD UYU UZS VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW
""".split()
"""Which of these an account may use depends on its country: the gateway decides."""

_ZERO_DECIMAL = frozenset("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split())
"""One minor unit is one unit. Stripe lists UGX here as well, and then makes it a special case."""

_THREE_DECIMAL = frozenset("BHD JOD KWD OMR TND".split())
"""Amounts are in thousandths, and their last digit must be 0."""

_WHOLE_UNITS = frozenset(("ISK", "UGX"))
"""The special cases: amounts are in hundredths, which must be 00. HUF and TWD are whole for payouts
only; their charges have two decimals like any other."""

_MINIMUM = {
    "AED": "2.00",
    "ARS": "0.50",
    "AUD": "0.50",
    "BRL": "0.50",
    "CAD": "0.50",
    "CHF": "0.50",
    "COP": "0.50",
    "CZK": "15.00",
    "DKK": "2.50",
    "EUR": "0.50",
    "GBP": "0.30",
    "HKD": "4.00",
    "HUF": "175.00",
    "IDR": "0.50",
    "ILS": "0.50",
    "INR": "0.50",
    "JPY": "50",
    "KRW": "50",
    "MXN": "10",
    "MYR": "2.00",
    "NOK": "3.00",
    "NZD": "0.50",
    "PHP": "0.50",
    "PLN": "2.00",
    "RON": "2.00",
    "RUB": "0.50",
    "SEK": "3.00",
    "SGD": "0.50",
    "THB": "10",
    "USD": "0.50",
    "ZAR": "0.50",
}
"""As Stripe publishes them, in units. They apply to accounts that are paid out in that currency."""

_HALF_A_DOLLAR = {
    "0.20": "BHD KWD OMR",
    "0.50": "BMD BSD FKP GIP JOD KYD PAB SHP",
    "1": "ANG AWG AZN BAM BBD BND BZD XCG",
    "2": "BYN FJD GEL PEN QAR SAR TND TOP WST XCD",
    "5": "CNY GTQ MAD MOP PGK SBD TJS TTD",
    "10": "BOB BWP LSL MDL MVR NAD SCR SZL",
    "20": "HNL NIO SLE SRD TWD UYU ZMW",
    "50": "AFN ALL CVE DOP EGP GMD KGS MKD MUR MZN TRY UAH",
    "100": "BDT DJF DZD ETB HTG ISK JMD KES LRD NPR RSD VUV XPF",
    "200": "AMD GYD LKR PKR YER",
    "500": "AOA CLP CRC KMF KZT SOS XAF XOF",
    "1000": "MWK NGN RWF",
    "2000": "BIF CDF MMK MNT TZS UGX",
    "5000": "GNF KHR MGA PYG",
    "10000": "UZS",
    "20000": "LAK STD VND",
    "50000": "LBP",
}
"""For a currency without a published minimum Stripe converts the amount, and compares it with that
of the currency in which the account is paid out, "$0.50 US or equivalent"
(https://docs.stripe.com/api/payment_intents/create). Here it is half a US dollar, rounded up to the
next 1, 2 or 5 of its size, because rates move. Stripe may still refuse an amount so small."""

_MAX_DIGITS = {"ARS": 12, "COP": 10, "IDR": 12, "INR": 9}
"""Digits of the largest amount in the minor unit, where they do not follow from _TINY."""

_TINY = 10_000
"""A minor unit is tiny when the smallest payment, about half a US dollar, has at least so many."""

MAX_DIGITS_OF_A_CARD = 12
"""Stripe accepts this many with most cards, and eight with every payment method. Eight are enough
except for tiny units, where they may be worth less than a hundred dollars."""

MAX_DIGITS_OF_EVERY_CARD = 9
"""American Express accepts no more "in most currencies", according to Stripe."""


@dataclass(frozen=True)
class Currency:
    """``digits`` are the decimals of its minor unit. A payment is from ``min_minor`` to
    ``max_minor``, and a multiple of ``step_minor``."""

    code: str
    digits: int = 2
    step_minor: int = 1
    min_minor: int = 1
    max_minor: int = 10**8 - 1

    @property
    def has_no_fractions(self) -> bool:
        return bool(self.step_minor == 10**self.digits)

    @property
    def largest_minor(self) -> int:
        """The largest possible payment."""
        return self.max_minor - self.max_minor % self.step_minor

    def amount(self, minor: int) -> Decimal:
        """In the currency's own unit: ``Decimal("90.00")``."""
        return Decimal(minor).scaleb(-self.digits)

    def written(self, minor: int) -> str:
        """``GBP 1,250.00``, ``ISK 1,500``: for logs and terminals, whose reader's language is
        unknown. Also for numbers too large for a Decimal."""
        whole, rest = divmod(minor, 10**self.digits)
        if not self.digits or (self.has_no_fractions and not rest):
            return f"{self.code} {whole:,}"
        return f"{self.code} {whole:,}.{rest:0{self.digits}}"


def _currency(code: str) -> Currency:
    digits = 0 if code in _ZERO_DECIMAL else 3 if code in _THREE_DECIMAL else 2
    minimum = _MINIMUM.get(code) or next(
        money for money, codes in _HALF_A_DOLLAR.items() if code in codes.split()
    )
    min_minor = int(Decimal(minimum).scaleb(digits))
    max_digits = _MAX_DIGITS.get(code, MAX_DIGITS_OF_A_CARD if min_minor >= _TINY else 8)
    return Currency(
        code,
        digits,
        step_minor=100 if code in _WHOLE_UNITS else 10 if code in _THREE_DECIMAL else 1,
        min_minor=min_minor,
        max_minor=10**max_digits - 1,
    )


CURRENCIES = {code: _currency(code) for code in _ALL}
"""By ISO 4217 code, in capitals."""


def currency_of(code: str) -> Currency:
    """Also for an unknown currency, of an event opened when any three capitals were accepted: it is
    shown with two decimals, like most."""
    return CURRENCIES.get(code) or Currency(code)


def nearest(code: str, most: int = 3) -> list[str]:
    """The codes most similar to a mistyped one: by the number of common letters, then by those in
    the same place."""
    typed = code.upper()

    def unlike(known: str) -> tuple[int, int]:
        letters = (Counter(typed) & Counter(known)).total()
        places = sum(a == b for a, b in zip(typed, known, strict=False))
        return -letters, -places

    return sorted(CURRENCIES, key=unlike)[:most]


def problem_with_price(currency: Currency, price_minor: int, max_seats: int) -> str | None:
    """Why seats at this price cannot be paid for, up to ``max_seats`` of them at once, and what to
    do; None when they can. A hold may have seats of several prices: when each of these is possible,
    so is their sum. What costs nothing is not paid for.
    """
    if not price_minor:
        return None
    written, step = currency.written, currency.step_minor
    least, most = currency.min_minor, currency.largest_minor
    if price_minor > most:
        return f"no payment can be above {written(most)} ({most}): take that or less"
    if price_minor % step:
        below = price_minor - price_minor % step
        nearby = " or ".join(str(price) for price in (below, below + step) if price >= least)
        return (
            f"{price_minor} is {written(price_minor)}, and amounts in {currency.code} are "
            f"multiples of {written(step)} ({step}): take {nearby or least}"
        )
    if price_minor < least:
        return (
            f"{price_minor} is {written(price_minor)}, and no payment can be below "
            f"{written(least)} ({least}): take that or more, or 0 for free of charge"
        )
    total = price_minor * max_seats
    if total > most:
        return (
            f"{max_seats} seats (max_seats_per_hold) cost {written(total)} ({total}), and no "
            f"payment can be above {written(most)} ({most}): lower the price or max_seats_per_hold"
        )
    return None
