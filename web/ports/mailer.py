"""The mail server, as the use cases see it."""

from email.message import EmailMessage
from typing import Protocol


class MailError(Exception):
    """The message says why, without the address of the buyer."""


class MailServerFailed(MailError):
    """It could not be reached, broke off, did not let us in, or takes no mail from this sender. It
    has not taken this one, and would not take another one either."""


class MailRefused(MailError):
    """It does not take this mail: not now, or ``for_good`` (SMTP's 5xx)."""

    def __init__(self, reason: str, *, for_good: bool):
        super().__init__(reason)
        self.for_good = for_good


class MailImpossible(MailError):
    """This server can never be given such a mail."""


class MailUnanswered(MailError):
    """It was given all of it, and did not say whether it takes it."""


class Mailer(Protocol):
    def send(self, message: EmailMessage) -> None:
        """Returns when the server has taken it. Raises MailError."""
        ...

    def close(self) -> None:
        """Ends the connection, until the next mail."""
        ...
