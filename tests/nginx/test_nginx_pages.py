"""nginx's own errors for people: a page where a browser asks for one, a problem everywhere else."""

import base64
import hashlib
import re
import time
from collections.abc import Iterator

import pytest

from ops.nginx.problems import PROBLEMS
from ops.processes import free_port
from ops.servers import HOST, Nginx
from tests.support.application import application_with
from tests.support.behind_nginx import ask, assert_problem, local_nginx
from tests.support.waiting import eventually
from web.http.problems import Problem
from web.pages.rendering import problem_page

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
PAY = "/events/e/holds/h/pay"
LARGE = b"x" * 65_537
LONG = "x" * 20_000


@pytest.fixture(scope="module")
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """Before an application that is not there."""
    folder = tmp_path_factory.mktemp("lonely")
    with local_nginx(folder, f"{HOST}:{free_port()}") as nginx:
        yield nginx


def assert_page(response, status: int, heading: str) -> str:
    assert response.status == status, response.body
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    page = response.body.decode()
    assert f"<h1>{heading}</h1>" in page
    return page


def heading_of(code: str) -> str:
    return next(problem.page.heading for problem in PROBLEMS if problem.code == code)


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code"),
    [
        ("GET", "/metrics", None, {}, 404, "not_found"),
        ("POST", "/events/e/holds", LARGE, {}, 413, "body_too_large"),
        ("GET", "/", None, {"Cookie": LONG}, 431, "header_too_large"),
        ("TRACE", "/", None, {}, 405, "method_not_allowed"),
        ("GO", "/", None, {}, 501, "not_implemented"),
        ("GET", "/dropped", None, {}, 503, "unavailable"),
        ("POST", "/dropped/events/e/best", b"a=1", {}, 503, "unavailable"),
        ("POST", "/dropped" + PAY, b"a=1", {}, 504, "outcome_unknown"),
    ],
)
def test_a_browser_gets_a_page_and_a_program_a_problem(
    nginx, method, path, body, headers, status, code
):
    page = ask(nginx.port, method, path, body, **BROWSER, **headers)
    assert_page(page, status, heading_of(code))
    problem = ask(nginx.port, method, path, body, Accept="application/json", **headers)
    assert_problem(problem, status, code)
    assert page.headers["Retry-After"] == problem.headers["Retry-After"]
    assert page.headers["Allow"] == problem.headers["Allow"]


@pytest.mark.parametrize("path", ["/api/events/e/holds", "/webhooks/stripe", "/api/x"])
def test_below_the_paths_of_programs_there_are_no_pages(nginx, path):
    assert_problem(ask(nginx.port, "POST", path, LARGE, **BROWSER), 413, "body_too_large")


def test_a_request_line_too_long_to_read_gets_a_problem(nginx):
    assert_problem(ask(nginx.port, "GET", f"/{LONG}", **BROWSER), 414, "uri_too_long")


def test_an_application_that_is_not_there_is_back_in_a_moment_also_for_who_pays(lonely):
    for method, path in (("GET", "/"), ("POST", PAY)):
        page = assert_page(
            ask(lonely.port, method, path, **BROWSER), 503, "We are back in a moment"
        )
        assert "you are never charged twice" in page


def test_a_flood_from_a_browser_is_told_so_on_a_page(nginx):
    deadline = time.monotonic() + 10
    answer = ask(nginx.port, "GET", "/", X_Forwarded_For="203.0.113.9", **BROWSER)
    while answer.status != 429 and time.monotonic() < deadline:
        answer = ask(nginx.port, "GET", "/", X_Forwarded_For="203.0.113.9", **BROWSER)
    assert_page(answer, 429, "Too many requests at once")
    assert answer.headers["Retry-After"] == "1" and answer.headers["RateLimit"]


def test_a_payment_whose_answer_was_lost_says_what_to_do(nginx):
    page = ask(nginx.port, "POST", f"/dropped{PAY}", b"a=1", **BROWSER).body.decode()
    assert "It may have been made, or not." in page
    assert "Go back and press the button to pay again, or load this page again." in page
    assert "never charged twice" in page
    assert "othing was charged" not in page
    assert 'href="/basket"' in page


def test_a_page_needs_nothing_that_could_be_away_and_does_not_say_what_it_runs_on(nginx):
    answer = ask(nginx.port, "GET", "/metrics", **BROWSER)
    page = answer.body.decode()
    assert not re.search(
        r"src=|<link|<script|url\(|nginx|gunicorn|redis|mongo", page, re.IGNORECASE
    )
    [style] = re.findall("<style>(.*?)</style>", page)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Request-Id"]


def test_the_pages_say_it_as_the_application_does():
    app = application_with()
    alike = ("not_found", "method_not_allowed", "body_too_large", "bad_request", "rate_limited")
    for code in (*alike, "unavailable", "internal_error"):
        with app.test_request_context():
            said = problem_page(Problem(500, code, ""))
        assert f"<h1>{heading_of(code)}</h1>" in said.get_data(as_text=True), code


@pytest.mark.parametrize("kind", ["receipts", "holds"])
def test_the_access_log_does_not_have_what_opens_a_ticket_or_a_hold(nginx, kind):
    log_path = nginx.log_path.parent / "access.log"
    # The second is no spelling of ours: nothing of it is written.
    lines, odd_lines = f'"path":"/{kind}/-"', '"path":"-"'
    odd_before = log_path.read_text().count(odd_lines)
    for path in (f"/{kind}/the-secret-link", f"//{kind}//the-secret-link?a=b"):
        ask(nginx.port, "GET", path, **BROWSER)
    ask(nginx.port, "POST", f"/{kind}/the-secret-link", LARGE)

    def is_written() -> bool:
        log = log_path.read_text()
        return log.count(lines) >= 2 and log.count(odd_lines) > odd_before

    # Each of nginx's processes writes what it has in memory once a second.
    eventually(is_written, "three lines")
    log = log_path.read_text()
    assert "the-secret-link" not in log
    assert log.count(lines) == 2
