"""Whose certificates a Redis may show: those of an authority of ours, or anybody's."""

import re
from pathlib import Path

import pytest

from ops.servers import Access, Certificates, Redis
from sidecar.redis_tls import tls_options
from sidecar.settings import BadSettings
from sidecar.settings import read_settings as read_limiter_settings
from tests.sidecar.test_shared_limit import shares_again
from tests.support.application import REQUIRED, application_with
from tests.support.certificates import issue_certificates
from tests.support.sidecars import PATIENCE_S
from web.domain.refusals import Unavailable
from web.settings import read_settings


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return issue_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory, certificates):
    folder = tmp_path_factory.mktemp("tls")
    access = Access("box-office", "p@ss word", certificates)
    with Redis(folder / "redis", folder / "redis.log", access=access) as server:
        yield server


@pytest.fixture
def stranger(tmp_path) -> Path:
    """The certificate of an authority that has signed nothing here."""
    return issue_certificates(tmp_path).authority


def ask_redis(url: str, ca: str | Path) -> None:
    """Raises Unavailable."""
    app = application_with(REDIS_URL=url, REDIS_TLS_CA=str(ca))
    app.extensions["services"].seats.now("an event")


@pytest.fixture
def refuses(caplog):
    """Whether the certificate that Redis shows is why it cannot be reached."""

    def refuses(url: str, ca: str | Path) -> bool:
        caplog.clear()
        with pytest.raises(Unavailable):
            ask_redis(url, ca)
        return "certificate verify failed" in caplog.text and "not verified" not in caplog.text

    return refuses


@pytest.mark.stores
def test_seats_are_kept_in_a_redis_whose_authority_is_named(tls_server, certificates):
    ask_redis(tls_server.url, certificates.authority)


@pytest.mark.stores
def test_other_certificates_are_refused(refuses, tls_server, stranger):
    assert refuses(tls_server.url, "")
    assert refuses(tls_server.url, stranger)


@pytest.mark.stores
def test_unverified_takes_any_certificate_and_warns(tls_server, caplog):
    ask_redis(tls_server.url, "unverified")
    (warning,) = [r.getMessage() for r in caplog.records if r.name == "sidecar.redis_tls"]
    assert "REDIS_TLS_CA=unverified: the certificate of REDIS_URL is not verified" in warning


@pytest.mark.stores
def test_options_of_the_address_itself_take_precedence(refuses, tls_server, certificates, stranger):
    ask_redis(f"{tls_server.url}?ssl_ca_certs={certificates.authority}", stranger)
    assert refuses(f"{tls_server.url}?ssl_ca_certs={stranger}", "unverified")
    assert refuses(f"{tls_server.url}?ssl_cert_reqs=required", "unverified")


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_limiters_share_a_redis_whose_authority_is_named(
    start_host, tls_server, certificates, scheme
):
    url = tls_server.url.replace("rediss://", f"{scheme}://")
    shares_again(start_host(url, ca=str(certificates.authority)).client())


def test_a_limiter_that_verifies_nothing_says_so_at_its_start(start_host, tls_server):
    host = start_host(tls_server.url, ca="unverified")
    shares_again(host.client())
    host.process.terminate()
    said = host.process.communicate(timeout=PATIENCE_S)[1]
    assert said.count("the certificate of LIMITER_REDIS_URL is not verified") == 1


def test_a_limiter_counts_by_itself_when_it_does_not_know_the_authority(start_host, tls_server):
    host = start_host(tls_server.url)
    assert host.client().stats()["shared"] == 0
    host.process.terminate()
    said = host.process.communicate(timeout=PATIENCE_S)[1]
    assert "certificate verify failed" in said and "Traceback" not in said


@pytest.mark.parametrize("url", ["redis://h", "unix:///run/redis.sock"])
def test_without_tls_it_changes_nothing(url, caplog, certificates):
    for ca in ("", "unverified", str(certificates.authority)):
        assert tls_options("REDIS_URL", url, ca) == {}
    assert caplog.record_tuples == []


def test_a_relative_path_starts_from_the_projects_folder():
    options = tls_options("REDIS_URL", "rediss://h", "var/ca.pem")
    assert options == {"ssl_ca_certs": str(Path(__file__).parents[2] / "var/ca.pem")}


def key(certificates: Certificates, folder: Path) -> str:
    return str(certificates.key)


def contents(certificates: Certificates, folder: Path) -> str:
    return certificates.authority.read_text().strip()


def broken(certificates: Certificates, folder: Path) -> str:
    path = folder / "broken.pem"
    path.write_text(re.sub(r"^M", "#", certificates.authority.read_text(), flags=re.MULTILINE))
    return str(path)


def folder(certificates: Certificates, folder: Path) -> str:
    return str(folder)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (lambda *_: "Unverified", "there is no file '/.*/Unverified'; .* or unverified"),
        (key, "'/.*' has no certificate in PEM format"),
        (broken, "'/.*' has no certificate in PEM format"),
        (contents, "must be the path of a PEM file, not what is in it"),
        (folder, "'/.*' cannot be read: Is a directory"),
    ],
)
def test_a_file_that_is_of_no_use_is_refused_at_start(value, says, certificates, tmp_path):
    given = {"REDIS_TLS_CA": value(certificates, tmp_path)}
    for read in (lambda: read_settings(REQUIRED | given), lambda: read_limiter_settings(given)):
        with pytest.raises(BadSettings, match=f"^REDIS_TLS_CA:? {says}") as refused:
            read()
        assert "\n" not in str(refused.value)
