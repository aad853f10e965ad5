"""The application of a running TicketS once more, in this process and without nginx, as it is in a
shop that sends mails. No worker sends them."""

import base64
import logging
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from werkzeug.serving import make_server

from tests.support.application import application_with
from web.domain.sales import Booking, News
from web.services import Services

SETTINGS = {
    "SMTP_URL": "smtp://127.0.0.1:9",
    "MAIL_FROM": "Rosewood Tickets <tickets@example.org>",
    "PUBLIC_URL": "https://tickets.example.org",
    # Without nginx the static files count, too.
    "RATE_LIMIT": "1000/second",
}


class MailShop:
    """``services`` are its parts. A login at the other address is good for this one too."""

    def __init__(self, url: str, services: Services):
        self.url, self.services = url, services

    def html_of_mail(self, booking: Booking, news: News) -> str:
        """As a mail program shows it: with the pictures that are attached."""
        mail = self.services.ticket_mail._compose(booking, news)
        pictures = {
            part["Content-ID"].strip("<>"): base64.b64encode(part.get_content()).decode()
            for part in mail.walk()
            if part.get_content_type() == "image/png"
        }
        html = mail.get_body(["html"]).get_content()
        return re.sub(
            '"cid:([^"]+)"', lambda cid: f'"data:image/png;base64,{pictures[cid[1]]}"', html
        )


@contextmanager
def mail_shop(environment: Mapping[str, str]) -> Iterator[MailShop]:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # otherwise a line for each request
    app = application_with(**environment | SETTINGS)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield MailShop(f"http://127.0.0.1:{server.server_port}", app.extensions["services"])
    finally:
        server.shutdown()
