"""The mail server, over TLS and with a password: what is believed, and what is not."""

import ssl
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
import trustme

from ops.servers import HOST
from sidecar.server_urls import smtp_server
from tests.support.mailbox import Mailbox, login
from web.adapters import smtp
from web.adapters.smtp import SmtpMailer
from web.ports.mailer import MailServerFailed

USER, PASSWORD = "shop@example.org", "p:/ss%"
USERINFO = "shop%40example.org:p%3A%2Fss%25"


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca(authority, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("smtp") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


def context_for(authority: trustme.CA, host: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(context)
    return context


@pytest.fixture(params=["smtps", "smtp+starttls"])
def secure(request, authority) -> Iterator[tuple[str, Mailbox]]:
    """A server with TLS and a password, and the scheme of its URL."""
    tls = context_for(authority, HOST)
    options = {"auth_required": True, "authenticator": login(USER, PASSWORD)}
    if request.param == "smtps":
        options |= {"ssl_context": tls, "auth_require_tls": False}
    else:
        options |= {"tls_context": tls, "require_starttls": True}
    with Mailbox(**options) as mailbox:
        yield request.param, mailbox


def sent_to(url: str) -> None:
    message = EmailMessage()
    message["From"], message["To"] = "tickets@example.org", "ada@example.org"
    message.set_content("A ticket.")
    mailer = SmtpMailer(smtp_server("SMTP_URL", url), "tickets.example.org")
    try:
        mailer.send(message)
    finally:
        mailer.close()


def url_of(secure, ca="", userinfo=USERINFO) -> str:
    scheme, mailbox = secure
    return f"{scheme}://{userinfo}@{HOST}:{mailbox.port}?timeout=5" + (f"&ca={ca}" if ca else "")


def test_a_mail_goes_over_tls_and_with_the_password(secure, ca):
    sent_to(url_of(secure, ca))
    assert secure[1].recipients == ["ada@example.org"]


def test_a_certificate_of_nobody_we_trust_gets_no_password_and_no_mail(secure):
    with pytest.raises(MailServerFailed, match="certificate"):
        sent_to(url_of(secure))
    assert secure[1].recipients == []


def test_a_wrong_password_is_said_and_not_shown(secure, ca):
    with pytest.raises(MailServerFailed, match=r"^535") as failed:
        sent_to(url_of(secure, ca, "shop%40example.org:s3cret"))
    assert "s3cret" not in str(failed.value)


def test_a_server_without_starttls_is_given_nothing():
    with Mailbox() as mailbox, pytest.raises(MailServerFailed, match="STARTTLS"):
        sent_to(f"smtp+starttls://{HOST}:{mailbox.port}")
    assert mailbox.mails == []


def test_a_certificate_for_another_host_is_refused(authority, ca):
    with (
        Mailbox(ssl_context=context_for(authority, "elsewhere.example")) as mailbox,
        pytest.raises(MailServerFailed, match="certificate"),
    ):
        sent_to(f"smtps://{HOST}:{mailbox.port}?ca={ca}")


def test_a_server_that_goes_on_for_ever_is_left(monkeypatch):
    """Each answer comes before the time-out, and another line of it follows."""
    monkeypatch.setattr(smtp, "MAX_SEND_S", 0.5)
    with Mailbox() as mailbox:
        mailbox.drips = True
        with pytest.raises(MailServerFailed):
            sent_to(mailbox.url)
