"""Cards to try the shop with. They exist only for Stripe's test keys, and no money moves."""

TEST_CARDS = (
    ("pm_card_visa", "Visa that is accepted"),
    ("pm_card_mastercard", "Mastercard that is accepted"),
    ("pm_card_amex", "American Express that is accepted"),
    ("pm_card_visa_chargeDeclined", "Visa that its bank refuses"),
    ("pm_card_visa_chargeDeclinedInsufficientFunds", "Visa without enough money"),
    ("pm_card_chargeDeclinedExpiredCard", "Card that has expired"),
    ("pm_card_chargeDeclinedIncorrectCvc", "Card with a wrong security code"),
    ("pm_card_authenticationRequired", "Card whose owner has to confirm each payment"),
)
"""Payment method and what it does: https://docs.stripe.com/testing?testing-method=payment-methods
"""

TEST_KEY_PREFIXES = ("sk_test", "rk_test")


def are_test_cards_taken(stripe_api_key: str) -> bool:
    return stripe_api_key.startswith(TEST_KEY_PREFIXES)
