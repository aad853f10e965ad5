"""Static files as the application serves them, where there is no nginx."""

import gzip
import re

import pytest

from tests.support.application import application_with
from web.http.static_files import FOLDER, VERSION

NAMES = sorted(path.name for path in FOLDER.iterdir())


@pytest.fixture
def client():
    return application_with(RATE_LIMIT="10000/second").test_client()


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_the_one_on_disk_and_has_its_type(client, name):
    answer = client.get(f"/static/{name}")
    assert (answer.status_code, answer.data) == (200, (FOLDER / name).read_bytes())
    types = {
        "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8",
        "svg": "image/svg+xml",
    }
    assert answer.headers["Content-Type"] == types[name.rpartition(".")[2]]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("version", "kept"), [(VERSION, "public, max-age=31536000, immutable"), ("0" * 8, "no-cache")]
)
def test_only_a_file_of_the_version_of_now_is_kept_for_ever(client, version, kept):
    answer = client.get(f"/static/{version}/style.css")
    assert answer.data == (FOLDER / "style.css").read_bytes()
    assert answer.headers["Cache-Control"] == kept


def test_a_file_is_compressed_for_whoever_takes_that(client):
    answer = client.get("/static/seatmap.js", headers={"Accept-Encoding": "gzip, deflate, br"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(answer.data) == (FOLDER / "seatmap.js").read_bytes()


def test_who_has_a_file_already_is_told_so(client):
    tag = client.get("/static/style.css").headers["ETag"]
    again = client.get("/static/style.css", headers={"If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")


def test_head_is_get_without_the_file(client):
    answer = client.head(f"/static/{VERSION}/style.css")
    size = (FOLDER / "style.css").stat().st_size
    assert (answer.status_code, answer.content_length, answer.data) == (200, size, b"")


@pytest.mark.parametrize(
    "path", ["none.css", f"{VERSION}/none.css", "..%2fapp.py", "a/b/style.css"]
)
def test_a_file_that_is_not_there_is_not_found(client, path):
    assert client.get(f"/static/{path}").status_code == 404
    page = client.get(f"/static/{path}", headers={"Accept": "text/html"})
    assert (page.status_code, page.mimetype) == (404, "text/html")


# ---------------------------------------------------------------- what they count for


def test_files_do_not_count_as_requests_of_their_client():
    client = application_with(RATE_LIMIT="2/hour").test_client()
    for name in NAMES:
        answer = client.get(f"/static/{VERSION}/{name}")
        assert answer.status_code == 200
        assert answer.headers["RateLimit-Policy"] == '"files";q=40;w=3600'
    left = client.get("/nothing").headers["RateLimit"]
    assert left.startswith('"client";r=1;')


def test_files_have_a_limit_of_their_own_that_two_windows_of_pages_do_not_reach():
    client = application_with(RATE_LIMIT="1/hour").test_client()
    path = f"/static/{VERSION}/style.css"
    assert [client.get(path).status_code for _ in range(21)] == [200] * 20 + [429]
    refused = client.get(path)
    assert refused.json["code"] == "rate_limited"
    assert "Too many files" in refused.json["detail"]
    assert 0 < int(refused.headers["Retry-After"]) <= 3600
    assert re.fullmatch(r'"files";r=0;t=\d+', refused.headers["RateLimit"])
    assert client.get("/nothing").status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/static/none.css"),
        ("GET", f"/static/{VERSION}/none.css"),
        ("GET", "/static/x/y/style.css"),
        ("GET", "//static/style.css"),
        ("POST", "/static/style.css"),
        ("HEAD", "/static/style.css"),
    ],
)
def test_what_gets_no_file_is_a_request_like_any_other(method, path):
    client = application_with(RATE_LIMIT="1/hour").test_client()
    answer = client.open(path, method=method)
    assert answer.headers["RateLimit-Policy"] == '"client";q=1;w=3600'
    assert client.open(path, method=method).status_code == 429


def test_the_highest_rate_that_can_be_set_has_files_too():
    client = application_with(RATE_LIMIT="10000/hour").test_client()
    answer = client.get("/static/style.css")
    assert answer.headers["RateLimit-Policy"] == '"files";q=10000;w=3600'
