"""How the payment form takes a card: with Stripe's Payment Element, or as a choice of Stripe's test
cards, which work only with test keys and move no money."""

from web.pages.rendering import policy

STRIPE_HEADERS = {
    "Content-Security-Policy": policy(
        script_src="https://js.stripe.com https://*.js.stripe.com",
        frame_src="https://js.stripe.com https://*.js.stripe.com https://hooks.stripe.com "
        "https://link.com https://*.link.com",
        connect_src="https://api.stripe.com https://link.com https://*.link.com",
        img_src="https://*.link.com",
    ),
    "Cross-Origin-Opener-Policy": "same-origin-allow-popups",
}
"""Of a page on which Stripe's script runs. The hosts are those of
https://docs.stripe.com/security/guide#content-security-policy for the Payment Element with Link,
without those of its fields for addresses, which are not used. The script has to be loaded from
Stripe, so that card numbers, and most duties of PCI DSS, stay there. Google Pay and Link pay in
windows of their own, which have to find the page that opened them."""

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
