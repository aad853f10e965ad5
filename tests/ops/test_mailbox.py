"""The mailbox of `make run`: it takes every mail, and its pages show them."""

import re
import smtplib
from email.message import EmailMessage

import pytest
import requests

from ops.servers import HOST, Mailbox

PICTURE = b"\x89PNG picture"


@pytest.fixture(scope="module")
def mailbox(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mailbox")
    with Mailbox(folder / "mails", folder / "mailbox.log") as mailbox:
        yield mailbox


def send(mailbox: Mailbox, **headers: str) -> None:
    message = EmailMessage()
    message["From"] = "tickets@example.org"
    for name, value in headers.items():
        message[name] = value
    message.set_content("Your ticket <b>as text</b>\n")
    message.add_alternative(
        '<html><head></head><body><img src="cid:one@x"><a href="https://x.example/">open</a>',
        subtype="html",
    )
    message.get_payload()[1].add_related(PICTURE, "image", "png", cid="<one@x>")
    with smtplib.SMTP(HOST, mailbox.smtp_port) as smtp:
        smtp.send_message(message)


def page(mailbox: Mailbox, path: str) -> requests.Response:
    return requests.get(f"{mailbox.url}{path}", timeout=10)


def test_each_mail_is_listed_and_shown_as_html_and_as_text(mailbox):
    send(mailbox, To="ada@example.org", Subject="Ünï <i>code</i>")
    listed = page(mailbox, "/").text
    assert "ada@example.org" in listed and "Ünï &lt;i&gt;code&lt;/i&gt;" in listed
    name = re.search(r'href="(/\d+)"', listed)[1]
    shown = page(mailbox, name).text
    assert "Your ticket &lt;b&gt;as text&lt;/b&gt;" in shown
    html = page(mailbox, f"{name}.html").text
    assert 'src="data:image/png;base64,iVBORyBwaWN0dXJl"' in html
    assert '<base target="_blank">' in html
    assert page(mailbox, f"{name}.eml").content.startswith(b"From: tickets@example.org")


def test_an_address_in_any_script_is_taken(mailbox):
    send(mailbox, To="jürgen@example.org", Subject="Hello")
    assert "jürgen@example.org" in page(mailbox, "/").text


@pytest.mark.parametrize("path", ["/1", "/../environment", "/%2e%2e/secret_key.eml", "/x.html"])
def test_nothing_else_is_there(mailbox, path):
    assert page(mailbox, path).status_code == 404
