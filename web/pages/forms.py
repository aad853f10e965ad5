"""Forms with text input. Seats, quantities and buttons are read where they are used."""

from flask_wtf import FlaskForm
from wtforms import HiddenField, PasswordField, StringField
from wtforms.validators import (
    DataRequired,
    InputRequired,
    Length,
    Regexp,
    ValidationError,
)

from web.domain.events import Event
from web.domain.sales import Buyer
from web.domain.validation import (
    CONFIRMATION_TOKEN,
    MAX_PAYMENT_METHOD_LENGTH,
    PAYMENT_METHOD,
    email_of,
    name_of,
)

MAX_KEY_LENGTH = 100
"""Of the key that the server puts into the form, which has some 40 characters."""

CARD_FIELDS = ("payment_method", "confirmation_token")
"""The fields of PayForm that say how to pay; a form has one of them at most."""


def _stripped(text: str | None) -> str | None:
    return text.strip() if text else text


class PayForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """``payment_method`` is a test card, ``confirmation_token`` what Stripe's script made of the
    buyer's card or wallet. Both stay empty when the seats are free; the use case checks that one is
    there when they are not. ``key`` is the idempotency key. ``in_page`` is "1" when Stripe's script
    has run and can show the question of a bank."""

    key = HiddenField(validators=[InputRequired(), Length(max=MAX_KEY_LENGTH)])
    name = StringField(
        "Name",
        filters=[_stripped],
        validators=[DataRequired("Enter your name.")],
    )
    email = StringField(
        "E-mail address",
        filters=[_stripped],
        validators=[DataRequired("Enter your e-mail address.")],
    )
    payment_method = StringField(
        validators=[
            Length(max=MAX_PAYMENT_METHOD_LENGTH),
            Regexp(PAYMENT_METHOD, message="Choose a card."),
        ]
    )
    confirmation_token = StringField(
        validators=[
            Length(max=MAX_PAYMENT_METHOD_LENGTH),
            Regexp(CONFIRMATION_TOKEN, message="Enter the card again."),
        ]
    )

    in_page = StringField()

    @property
    def card(self) -> str:
        """Whichever of CARD_FIELDS came with the form."""
        return self.confirmation_token.data or self.payment_method.data or ""

    def validate_name(self, field: StringField) -> None:
        try:
            name_of(field.data or "")
        except ValueError as error:
            raise ValidationError(f"Enter your name: it {error}.") from None

    def validate_email(self, field: StringField) -> None:
        try:
            email_of(field.data or "")
        except ValueError as error:
            problem = str(error).removeprefix("must be ")
            raise ValidationError(f"Enter {problem}") from None

    def validate_confirmation_token(self, field: StringField) -> None:
        if field.data and self.payment_method.data:
            raise ValidationError("Choose one card: two came with the form.")

    def sent(self) -> tuple[str, str, str]:
        """Card, address and name, as they were typed."""
        return (self.card, self.email.data or "", self.name.data or "")

    def buyer(self) -> Buyer:
        """Call only for a valid form."""
        return Buyer(
            payment_method=self.card,
            email=email_of(self.email.data or ""),
            name=name_of(self.name.data or ""),
        )


class RefundForm(FlaskForm):  # type: ignore[misc]
    """To refund a booking cannot be undone, so a word has to be typed."""

    confirm = StringField("Type refund to confirm", filters=[_stripped])

    def validate_confirm(self, field: StringField) -> None:
        if (field.data or "").casefold() != "refund":
            raise ValidationError("Type the word refund. Nothing was refunded.")


class SaleForm(FlaskForm):  # type: ignore[misc]
    """To close a sale, or to open it again. Its event has to be typed, so that it is not another
    one."""

    confirm = StringField(filters=[_stripped])

    def __init__(self, event: Event):
        super().__init__()
        self._event = event
        self.confirm.label.text = f"Type {event.id} to confirm"

    def validate_confirm(self, field: StringField) -> None:
        if (field.data or "").casefold() not in (self._event.id, self._event.name.casefold()):
            raise ValidationError(f"Type {self._event.id}, or the event's name. Nothing was done.")


class LoginForm(FlaskForm):  # type: ignore[misc]
    token = PasswordField("Organiser token", validators=[InputRequired("Enter the token.")])
