"""What the documents say is what the code does."""

import ast
import re
from pathlib import Path
from typing import get_args, get_origin

import msgspec
import pytest

import sidecar.settings
import web.settings
from ops.nginx.problems import PROBLEMS
from ops.procfile import read_procfile
from ops.servers import REPOSITORY
from web.app import create_app

README = (REPOSITORY / "README.md").read_text()
API = (REPOSITORY / "docs/api.md").read_text()
PAGES = (REPOSITORY / "docs/pages.md").read_text()


def rows_of_settings() -> list[str]:
    """Each setting as a row of the README's table."""
    rows = []
    for kind in (web.settings.Settings, sidecar.settings.Settings):
        for field in msgspec.structs.fields(kind):
            default = "" if field.default is msgspec.NODEFAULT else field.default
            shown = "" if default in ("", None) else f"`{default}`"
            rows.append(f"| `{field.encode_name}` | {shown} | {description_of(field.type)} |")
    return rows


def description_of(annotation) -> str:
    assert get_origin(annotation) is not None, "every setting has a description"
    return next(m.description for m in get_args(annotation)[1:] if m.description)


def test_the_readme_lists_exactly_the_settings_there_are():
    table = re.search(
        r"\| variable \| default \| meaning \|\n\|---\|---\|---\|\n((?:\|.*\n)+)", README
    )
    assert table[1].splitlines() == rows_of_settings()


def test_the_readme_walks_the_procfile_as_it_is():
    for name, command in read_procfile(REPOSITORY / "Procfile").items():
        assert f"| `{name}` | `{command}` |" in README


@pytest.fixture(scope="module")
def app():
    environ = {"SECRET_KEY": "a secret key of tests", "STRIPE_API_KEY": "sk_test_docs"}
    return create_app(web.settings.read_settings(environ), sidecar.settings.read_settings({}))


@pytest.mark.parametrize(("page", "of_pages"), [(API, False), (PAGES, True)])
def test_each_route_is_described_on_its_page_and_no_other(app, page, of_pages):
    documented = set(re.findall(r"^\| `(GET|POST|DELETE) (\S+?)`", page, re.MULTILINE))
    routes = {
        (method, re.sub(r"<(?:path:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.endpoint.startswith("pages.") == of_pages
    }
    assert documented == routes


def test_the_api_page_lists_every_code_that_a_problem_can_have():
    documented = set(re.findall(r"`([a-z]+(?:_[a-z]+)+|unavailable)`", API))
    for module in (REPOSITORY / "web").glob("*.py"):
        assert codes_in(module) <= documented
    assert {problem.code for problem in PROBLEMS} <= documented


def codes_in(module: Path) -> set[str]:
    """The second arguments of all ``Problem(…)`` in a module, where they are written out."""
    return {
        call.args[1].value
        for call in ast.walk(ast.parse(module.read_text()))
        if isinstance(call, ast.Call)
        and getattr(call.func, "id", "") == "Problem"
        and isinstance(call.args[1], ast.Constant)
    }


@pytest.mark.parametrize(
    "page", ["README.md", "docs/api.md", "docs/pages.md", "DECISIONS.md", "CHANGELOG.md"]
)
def test_files_that_a_page_names_exist(page):
    text = (REPOSITORY / page).read_text()
    named = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    named += re.findall(r"`((?:web|lua|tests|ops|docs|sidecar|events)/[\w./-]+\.\w+)`", text)
    for name in named:
        assert (REPOSITORY / page).parent.joinpath(name).exists() or (REPOSITORY / name).exists()


def test_the_arrows_of_the_layout_point_one_way():
    allowed = {
        "web/domain.py": set(),
        "web/ports.py": {"web.domain"},
        "web/hold_tokens.py": set(),
        "web/use_cases": {"web.domain", "web.ports", "web.hold_tokens", "web.use_cases"},
        "web/group_commit.py": set(),
        "web/http_worker.py": set(),
        "web/stores": {
            "web.domain",
            "web.group_commit",
            "web.ports",
            "web.stores",
            "web.validation",
        },
        "web/ticket_codes.py": {"web.domain"},
        "sidecar": {"sidecar"},
    }
    for place, may_import in allowed.items():
        path = REPOSITORY / place
        for module in path.rglob("*.py") if path.is_dir() else [path]:
            imported = set(
                re.findall(r"^from ((?:web|sidecar|ops|tests)[\w.]*)", module.read_text(), re.M)
            )
            strangers = {name for name in imported if not name.startswith(tuple(may_import or "-"))}
            assert not strangers, f"{module} imports {strangers}"


@pytest.mark.parametrize(
    ("library", "home"),
    [
        ("redis", "web/stores/seat_store.py"),
        ("mongoengine", "web/stores/booking_store.py"),
        ("pymongo", "web/stores/booking_store.py"),
        ("stripe", "web/stores/stripe_gateway.py"),
        ("tomllib", "web/stores/event_files.py"),
    ],
)
def test_one_module_knows_each_outside_system(library, home):
    for module in (REPOSITORY / "web").rglob("*.py"):
        knows = re.search(rf"^(?:import|from) {library}\b", module.read_text(), re.M)
        assert bool(knows) == (module == REPOSITORY / home), module
