"""Run the mailbox. It prints its two addresses."""

import argparse
import signal
import sys
import threading
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from ops.mailbox.pages import MailPages
from ops.mailbox.store import MailFolder


class Taker:
    """What aiosmtpd calls for each mail."""

    def __init__(self, folder: MailFolder):
        self._folder = folder

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        content = envelope.content
        if not isinstance(content, bytes):
            return "554 not a mail"
        self._folder.add(content)
        return "250 kept in the mailbox"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.mailbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--smtp-port", type=int, default=1025, help="default %(default)s")
    parser.add_argument("--port", type=int, default=8025, help="of the pages; default %(default)s")
    parser.add_argument(
        "--folder", type=Path, default=Path("var/mails"), help="for the mails; default %(default)s"
    )
    arguments = parser.parse_args()
    folder = MailFolder(arguments.folder)
    smtp = Controller(
        Taker(folder), hostname=arguments.host, port=arguments.smtp_port, enable_SMTPUTF8=True
    )
    try:
        pages = ThreadingHTTPServer((arguments.host, arguments.port), partial(MailPages, folder))
        smtp.start()
    except OSError as error:
        sys.exit(f"mailbox: cannot listen: {error.strerror}")
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    print(f"mailbox: http://{arguments.host}:{arguments.port}")
    print(
        f"for the application: SMTP_URL=smtp://{arguments.host}:{arguments.smtp_port}", flush=True
    )
    while not stopped.is_set():
        # Not without a time-out: a signal that comes at the wrong moment would wait for it.
        stopped.wait(0.2)
    smtp.stop()


if __name__ == "__main__":
    main()
