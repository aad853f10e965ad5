"""What is typed into forms. Seats, quantities and buttons are read where they are used."""

from flask_wtf import FlaskForm
from wtforms import HiddenField, PasswordField, StringField
from wtforms.validators import DataRequired, InputRequired, Length, Regexp

from web.validation import (
    EMAIL,
    MAX_EMAIL_LENGTH,
    MAX_NAME_LENGTH,
    MAX_PAYMENT_METHOD_LENGTH,
    NAME,
    PAYMENT_METHOD,
)

MAX_KEY_LENGTH = 100
"""Of the key that the server puts into the form; some 40 characters."""


def _stripped(text: str | None) -> str | None:
    return text.strip() if text else text


class PayForm(FlaskForm):
    """``payment_method`` stays empty when the seats cost nothing; the use case says so when they
    do. ``key`` is the idempotency key."""

    key = HiddenField(validators=[InputRequired(), Length(max=MAX_KEY_LENGTH)])
    name = StringField(
        "Name",
        filters=[_stripped],
        validators=[
            DataRequired("Enter your name."),
            Length(max=MAX_NAME_LENGTH, message="Enter a name of at most %(max)d characters."),
            Regexp(NAME, message="Enter your name on one line."),
        ],
    )
    email = StringField(
        "E-mail address",
        filters=[_stripped],
        validators=[
            DataRequired("Enter your e-mail address."),
            Length(max=MAX_EMAIL_LENGTH, message="Enter an address of at most %(max)d characters."),
            Regexp(EMAIL, message="Enter an e-mail address such as ada@example.org."),
        ],
    )
    payment_method = StringField(
        validators=[
            Length(max=MAX_PAYMENT_METHOD_LENGTH),
            Regexp(PAYMENT_METHOD, message="Choose a card."),
        ]
    )


class LoginForm(FlaskForm):
    token = PasswordField("Organiser token", validators=[InputRequired("Enter the token.")])
