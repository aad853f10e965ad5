"""A real SMTP server in a thread of its own, which can be told to refuse and to hang."""

import asyncio
import socket
import threading
from email import message_from_string
from email.message import EmailMessage
from email.policy import SMTPUTF8

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from ops.processes import free_port
from ops.servers import HOST


class Mailbox:
    """``mails`` are those that it has taken, ``recipients`` theirs. ``rcpt``, ``data`` and
    ``sender`` are what it answers instead of yes: to all, or by address. ``hangs_after_data``: it
    takes mails, and does not answer; ``dies_after_data``: it takes one, and breaks the connection.
    ``drips``: its answer to a recipient never ends."""

    def __init__(self, **options):
        self.mails: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.connections = 0
        self.rcpt: dict[str, str] | str = {}
        self.sender = self.data = ""
        self.hangs_after_data = self.dies_after_data = self.drips = False
        self._options = options
        self.port = free_port()
        self._start()

    @property
    def url(self) -> str:
        return f"smtp://{HOST}:{self.port}?timeout=1"

    def _start(self) -> None:
        options = {"enable_SMTPUTF8": True, **self._options}
        self._controller = _Controller(self, hostname=HOST, port=self.port, **options)
        self._controller.start()

    def stop(self) -> None:
        if self._controller.server is not None:
            self._controller.stop()

    def start_again(self) -> None:
        self._start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    # ------------------------------------------------------------ what aiosmtpd calls

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, address, opts):  # noqa: N802
        if self.sender:
            return self.sender
        envelope.mail_from = address
        envelope.mail_options.extend(opts)
        return "250 OK"

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address, opts):  # noqa: N802
        while self.drips:
            await server.push("250-and another line")
            await asyncio.sleep(0.1)
        refusal = self.rcpt if isinstance(self.rcpt, str) else self.rcpt.get(address)
        if refusal:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope):  # noqa: N802
        if self.data:
            return self.data
        dies, hangs = self.dies_after_data, self.hangs_after_data
        self.mails.append(message_from_string(envelope.content.decode(), policy=SMTPUTF8))
        self.recipients += envelope.rcpt_tos
        if dies:
            server.transport.abort()
        if hangs:
            await asyncio.sleep(30)
        return "250 OK"


class _Controller(Controller):
    def __init__(self, mailbox: Mailbox, **options):
        self._mailbox = mailbox
        super().__init__(mailbox, **options)

    def factory(self):
        self._mailbox.connections += 1
        return super().factory()


class Hanging:
    """Accepts connections, and says ``greeting`` and nothing more."""

    def __init__(self, greeting: bytes = b"", port: int = 0):
        self._listener = socket.create_server((HOST, port))
        self._greeting = greeting
        self.connections = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"smtp://{HOST}:{self._listener.getsockname()[1]}?timeout=1"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.sendall(self._greeting)
            self.connections.append(connection)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # The thread that accepts would keep it open.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self.connections:
            connection.close()


def login(username: str, password: str):
    """An authenticator for aiosmtpd."""

    def check(server, session, envelope, mechanism, data):
        right = isinstance(data, LoginPassword) and (data.login, data.password) == (
            username.encode(),
            password.encode(),
        )
        return AuthResult(success=right, handled=False)

    return check
