"""The mail server, by SMTP (RFC 5321). The only module that uses smtplib.

smtplib's ``send_message`` does not say how far it came. Here that matters: what broke off before
the end of the message was not taken, and what broke off after it may have been.
"""

import re
import smtplib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from socket import SHUT_RDWR

from sidecar.server_urls import SmtpServer
from web.ports.mailer import (
    MailImpossible,
    MailRefused,
    MailServerFailed,
    MailUnanswered,
)

MAX_SEND_S = 60.0
"""For one mail with the connection. The time-out of SMTP_URL is of each step, and a server that
sends a byte from time to time never reaches it."""

MAILS_A_CONNECTION = 50
"""Many servers take a hundred; a connection costs little."""

READY_FOR_DATA = 354
TAKEN = 250
CLOSING = 421
"""RFC 5321: the service shuts down the connection, after any command."""


class SmtpMailer:
    """Implements Mailer of ``web/ports/``. For one thread. Keeps its connection until it is closed,
    or has failed. ``our_name`` is what it calls itself in EHLO."""

    def __init__(self, server: SmtpServer, our_name: str):
        self._server = server
        self._our_name = our_name
        self._connection: smtplib.SMTP | None = None
        self._sent = 0

    def send(self, message: EmailMessage) -> None:
        with self._in_time():
            smtp = self._connected()
            self._send(smtp, message)
        self._sent += 1
        if self._sent >= MAILS_A_CONNECTION:
            self.close()

    def close(self) -> None:
        smtp, self._connection, self._sent = self._connection, None, 0
        if smtp is not None:
            with suppress(smtplib.SMTPException, OSError, ValueError):
                smtp.quit()
            smtp.close()

    # ------------------------------------------------------------ one mail

    def _send(self, smtp: smtplib.SMTP, message: EmailMessage) -> None:
        sender, recipient = (_address_in(message[name]) for name in ("From", "To"))
        options = []
        if not (sender + recipient).isascii():
            if not smtp.has_extn("smtputf8"):
                raise MailImpossible(
                    "the address is not in ASCII, and the mail server has no SMTPUTF8 (RFC 6531)"
                )
            options = ["SMTPUTF8", "BODY=8BITMIME"]
        content = message.as_bytes(policy=SMTPUTF8 if options else SMTP)
        with self._failing():
            self._expect(smtp, smtp.mail(sender, options), of_sender=True)
            self._expect(smtp, smtp.rcpt(recipient))
            self._expect(smtp, smtp.docmd("DATA"), ready=READY_FOR_DATA)
            smtp.send(re.sub(rb"(?m)^\.", b"..", content) + b".\r\n")
        try:
            answer = smtp.getreply()
        except (smtplib.SMTPException, OSError, ValueError) as error:
            self._drop()
            raise MailUnanswered(_in_words(error)) from None
        self._expect(smtp, answer)

    def _expect(
        self,
        smtp: smtplib.SMTP,
        answer: tuple[int, bytes],
        *,
        ready: int = TAKEN,
        of_sender: bool = False,
    ) -> None:
        code, text = answer
        if code == ready or (ready == TAKEN and code == TAKEN + 1):  # 251: will be forwarded
            return
        reason = _status(code, text)
        if code == CLOSING or code < 400:
            self._drop()
            raise MailServerFailed(reason)
        try:
            smtp.rset()
        except (smtplib.SMTPException, OSError, ValueError):
            self._drop()
        if of_sender:
            raise MailServerFailed(f"MAIL FROM: {reason}")
        raise MailRefused(reason, for_good=code >= 500)

    # ------------------------------------------------------------ the connection

    def _connected(self) -> smtplib.SMTP:
        if self._connection is not None:
            return self._connection
        server = self._server
        with self._failing():
            tls = None
            if server.scheme != "smtp":
                tls = ssl.create_default_context(cafile=server.ca_path or None)
            # Without a name it would ask the DNS for its own.
            if server.scheme == "smtps":
                self._connection = smtplib.SMTP_SSL(
                    timeout=server.timeout_s, local_hostname=self._our_name, context=tls
                )
            else:
                self._connection = smtplib.SMTP(
                    timeout=server.timeout_s, local_hostname=self._our_name
                )
            smtp = self._connection
            # connect() does not set it, and TLS needs it to check the certificate.
            smtp._host = server.host  # type: ignore[attr-defined]  # noqa: SLF001
            code, text = smtp.connect(server.host, server.port)
            if code != 220:
                raise smtplib.SMTPConnectError(code, text)
            if server.scheme == "smtp+starttls":
                smtp.starttls(context=tls)
            smtp.ehlo_or_helo_if_needed()
            if server.username:
                smtp.login(server.username, server.password)
        return smtp

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except (smtplib.SMTPException, OSError, ValueError) as error:
            self._drop()
            raise MailServerFailed(_in_words(error)) from None

    def _drop(self) -> None:
        smtp, self._connection, self._sent = self._connection, None, 0
        if smtp is not None:
            smtp.close()

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        """Ends the connection after MAX_SEND_S, whoever is reading from it or writing to it."""

        def end() -> None:
            sock = self._connection.sock if self._connection else None
            if sock is not None:
                with suppress(OSError):
                    sock.shutdown(SHUT_RDWR)

        timer = threading.Timer(MAX_SEND_S, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def _address_in(header: object) -> str:
    addresses: tuple[Address, ...] = header.addresses  # type: ignore[attr-defined]
    return addresses[0].addr_spec


def _in_words(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error
        return _status(error.smtp_code, text if isinstance(text, bytes) else text.encode())
    return str(error) or type(error).__name__


def _status(code: int, text: bytes) -> str:
    """``550 5.1.1``: what follows is the server's own text, which may contain the address."""
    enhanced = re.match(rb"[245]\.\d{1,3}\.\d{1,3}\b", text)
    return f"{code} {enhanced[0].decode()}" if enhanced else str(code)
