"""Static files as nginx serves them, from a folder that stands for ``web/``."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.nginx import render
from ops.processes import free_port
from ops.servers import HOST, Nginx
from tests.support.behind_nginx import ask, assert_problem, local_nginx
from web.http.static_files import VERSION

FILES = {
    "page.css": ("body{}", "text/css; charset=utf-8"),
    "page.js": ("1;", "text/javascript; charset=utf-8"),
    "favicon.svg": ("<svg/>", "image/svg+xml"),
    "favicon.ico": ("icon", "image/x-icon"),
    "font.woff2": ("font", "font/woff2"),
    "unknown.thing": ("?", "application/octet-stream"),
}


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    folder = tmp_path_factory.mktemp("static")
    static = folder / "web/static"
    (static / "folder").mkdir(parents=True)
    for name, (content, _) in FILES.items():
        (static / name).write_text(content)
    (static / "large.css").write_text("a{color:red}" * 1000)
    (folder / "secret.txt").write_text("secret")
    (folder / "web/app.py").write_text("secret")
    (static / "link.txt").symlink_to(folder / "secret.txt")
    (static / "linked").symlink_to(folder)
    with local_nginx(folder, f"{HOST}:{free_port()}", web_dir=folder / "web") as nginx:
        yield nginx


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_its_type_and_nobody_has_to_guess(nginx, name):
    content, content_type = FILES[name]
    answer = ask(nginx.port, "GET", f"/static/{name}")
    assert (answer.status, answer.body.decode()) == (200, content)
    assert answer.headers["Content-Type"] == content_type
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Request-Id"]


def test_a_file_named_with_a_version_is_kept_for_a_year(nginx):
    answer = ask(nginx.port, "GET", f"/static/{VERSION}/page.css")
    assert answer.body == b"body{}"
    assert answer.headers.get_all("Cache-Control") == ["public, max-age=31536000, immutable"]


def test_a_file_of_another_version_is_asked_for_each_time(nginx):
    """In an upgrade, nginx and the application that made the page may be of different versions."""
    answer = ask(nginx.port, "GET", "/static/5f3c9a07/page.css")
    assert (answer.status, answer.body) == (200, b"body{}")
    assert answer.headers.get_all("Cache-Control") == ["no-cache"]


@pytest.mark.parametrize("query", ["", "?v=5f3c9a07"])
def test_a_file_without_a_version_is_asked_for_each_time(nginx, query):
    answer = ask(nginx.port, "GET", f"/static/page.css{query}")
    assert answer.headers["Cache-Control"] == "no-cache"
    again = ask(nginx.port, "GET", "/static/page.css", If_None_Match=answer.headers["ETag"])
    assert (again.status, again.body) == (304, b"")


def test_head_is_get_without_the_file(nginx):
    answer = ask(nginx.port, "HEAD", "/static/page.css")
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (200, "6", b"")


def test_a_large_file_is_compressed(nginx):
    answer = ask(nginx.port, "GET", "/static/large.css", Accept_Encoding="gzip")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_done_to_a_file(nginx, method):
    answer = ask(nginx.port, method, "/static/page.css", b"x")
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path",
    [
        "/static/",
        "/static/none.css",
        "/static/5f3c9a07/none.css",
        "/static/5f3c9a07/",
        "/static/5f3c9a0/page.css",
        "/static/5f3c9a07/5f3c9a07/page.css",
        "/static/5f3c9a07/link.txt",
        "/static/5f3c9a07/../app.py",
        "/static/folder",
        "/static/folder/",
        "/static/link.txt",
        "/static/linked/secret.txt",
        "/static/%2e%2e/app.py",
        "/static//../app.py",
        "/static/page.css/",
        "/static/page.css%00.txt",
    ],
)
def test_what_is_no_file_of_the_folder_is_not_there(nginx, path):
    answer = ask(nginx.port, "GET", path)
    assert b"secret" not in answer.body
    if "%00" in path:
        assert_problem(answer, 400, "bad_request")
    else:
        assert_problem(answer, 404, "not_found")
        assert answer.headers["Cache-Control"] == "no-store"


def test_the_files_are_those_of_the_application():
    assert Path(__file__).parents[2] / "web" == render.WEB_DIR
