"""The pages of the mailbox: the list of mails, and each as HTML and as text."""

import base64
import re
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from ops.mailbox.store import MailFolder

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-src 'self'"

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True
)


def html_of(mail: EmailMessage) -> str:
    """With its pictures in it, as a mail program shows them."""
    body = mail.get_body(("html",))
    if body is None:
        return ""
    pictures = {
        part["Content-ID"].strip("<>"): part.get_content()
        for part in mail.walk()
        if part["Content-ID"] and part.get_content_type() == "image/png"
    }

    def picture(found: re.Match[str]) -> str:
        data = base64.b64encode(pictures.get(found[1], b"")).decode()
        return f'src="data:image/png;base64,{data}"'

    html = re.sub(r'src="cid:([^"]+)"', picture, body.get_content())
    return html.replace("<head>", '<head><base target="_blank">', 1)


class MailPages(BaseHTTPRequestHandler):
    def __init__(self, folder: MailFolder, *arguments: Any):
        self._folder = folder
        super().__init__(*arguments)

    def do_GET(self) -> None:
        asked = re.fullmatch(r"/(?:([0-9]+)(?:\.(html|eml))?)?", self.path)
        if asked is None:
            return self.send_error(404)
        name, kind = asked.groups()
        if not name:
            found = [(name, self._folder.message(name)) for name in self._folder.names()]
            return self._answer(self._page("list.html", mails=found))
        mail, content = self._folder.message(name), self._folder.read(name)
        if mail is None or content is None:
            return self.send_error(404)
        if kind == "eml":
            return self._answer(content, "message/rfc822")
        if kind == "html":
            return self._answer(html_of(mail).encode())
        body = mail.get_body(("plain",))
        text = body.get_content() if body else ""
        attached = [part.get_filename() for part in mail.iter_attachments()]
        self._answer(self._page("mail.html", name=name, mail=mail, text=text, attached=attached))

    def _page(self, template: str, **context: object) -> bytes:
        return _TEMPLATES.get_template(template).render(context).encode()

    def _answer(self, content: bytes, media_type: str = "text/html; charset=utf-8") -> None:
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
        """Nothing: the page asks every five seconds."""
