"""What the documents say is what the code does."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client import REGISTRY

import sidecar.settings
import tests.attacks
import web.settings
from ops.mongodb_set import ELECTION_TIMEOUT_MS
from ops.nginx.problems import PROBLEMS
from ops.procfile import read_procfile
from ops.servers import REPOSITORY
from tests.support.application import application_with
from tests.support.descriptions import description_of
from web import __version__
from web.metrics import LIMITER_STATS, REDIS_STATS, WORKER_STATS

README = (REPOSITORY / "README.md").read_text()
SETTINGS = (REPOSITORY / "docs/settings.md").read_text()
MONITORING = (REPOSITORY / "docs/monitoring.md").read_text()
COMMANDS = (REPOSITORY / "docs/running.md").read_text()
API = (REPOSITORY / "docs/api.md").read_text()
PAGES = (REPOSITORY / "docs/pages.md").read_text()


def fields_of_settings() -> Iterator[tuple[msgspec.structs.FieldInfo, str]]:
    """All settings, with their defaults as text, empty for those without one."""
    listed = set()
    for kind in (web.settings.Settings, sidecar.settings.Settings):
        for field in msgspec.structs.fields(kind):
            if field.name not in listed:  # some are read by both
                listed.add(field.name)
                has_default = field.default not in (msgspec.NODEFAULT, None)
                yield field, str(field.default) if has_default else ""


def rows_of_settings() -> Iterator[str]:
    """Each setting as a row of the table in docs/settings.md."""
    for field, default in fields_of_settings():
        shown = f"`{default}`" if default else ""
        yield f"| `{field.encode_name}` | {shown} | {description_of(field.type)} |"


def paragraphs_of_settings() -> Iterator[str]:
    """Each setting as it is in .env.example, where required ones have no value."""
    for field, default in fields_of_settings():
        mark = "" if field.required else "#"
        yield f"# {description_of(field.type)}\n{mark}{field.encode_name}={default}"


def test_the_page_of_settings_lists_exactly_those_there_are():
    table = re.search(
        r"\| variable \| default \| meaning \|\n\|---\|---\|---\|\n((?:\|.*\n)+)", SETTINGS
    )
    assert table[1].splitlines() == list(rows_of_settings())


def test_env_example_lists_exactly_the_settings_there_are():
    _heading, *paragraphs = (REPOSITORY / ".env.example").read_text().strip().split("\n\n")
    assert paragraphs == list(paragraphs_of_settings())


def test_the_page_about_monitoring_lists_exactly_the_metrics_there_are():
    described = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name: metric.documentation
        for metric in REGISTRY.collect()
        if metric.name.startswith("tickets_")
    }
    described |= {f"tickets_limiter_{name}": text for name, text in LIMITER_STATS.items()}
    described |= {f"tickets_{name}": text for name, text in REDIS_STATS.items()}
    described |= {f"tickets_worker_{name}": text for name, text in WORKER_STATS.items()}
    rows = [f"| `{name}` | {text} |" for name, text in described.items()]
    table = re.search(r"\| metric \| what \|\n\|---\|---\|\n((?:\|.*\n)+)", MONITORING)
    assert table[1].splitlines() == rows


def test_the_readme_walks_the_procfile_as_it_is():
    for name, command in read_procfile(REPOSITORY / "Procfile").items():
        assert f"| `{name}` | `{command}` |" in README


@pytest.fixture(scope="module")
def app():
    return application_with()


def test_the_page_about_running_lists_each_command_of_ours(app):
    commands = {
        f"{group} {name}" if name else group
        for group, command in app.cli.commands.items()
        for name in getattr(command, "commands", [""])
    }
    assert len(commands) >= 9
    for command in commands:
        assert re.search(rf"^(\S+ )+{command}\b", COMMANDS, re.MULTILINE), command


def test_make_run_has_the_election_time_out_that_is_recommended():
    deploying = (REPOSITORY / "docs/deploying.md").read_text()
    assert f"electionTimeoutMillis = {ELECTION_TIMEOUT_MS}\n" in deploying


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
    of_pages = {"basket_full"}  # the API has no basket
    assert all(f"`{code}`" in PAGES for code in of_pages)
    codes = set().union(*map(codes_in, (REPOSITORY / "web").rglob("*.py")))
    assert {"seat_taken", "bad_signature"} <= codes, "of the table of refusals, and of one route"
    assert codes - of_pages <= documented
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


DOCS = REPOSITORY / "docs"
DOCUMENTS = [*REPOSITORY.glob("*.md"), REPOSITORY / "deploy/README.md", *DOCS.rglob("*.md")]


def links_of(document: Path) -> Iterator[tuple[Path, str]]:
    """The files of the repository that it links to, each with the anchor, which may be empty."""
    prose = re.sub(r"^ *```.*?^ *```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if not re.match(r"[a-z]+:", target):
            name, _, anchor = target.partition("#")
            yield (document.parent / name).resolve() if name else document, anchor


def anchors_of(document: Path) -> set[str]:
    """As GitHub makes them of the headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_the_files_and_headings_that_a_document_names_exist(document):
    for target, anchor in links_of(document):
        assert target.exists(), target
        assert not anchor or anchor in anchors_of(target), f"{target}#{anchor}"
    named = re.findall(
        r"`((?:web|lua|tests|ops|docs|sidecar|events)/[\w./-]+\.\w+)`", document.read_text()
    )
    for name in named:
        assert (REPOSITORY / name).exists(), name


SOURCES = [
    *(
        source
        for folder in ("web", "sidecar", "ops", "lua", "tests", "events")
        for suffix in ("py", "js", "j2", "html", "lua", "sh", "toml")
        for source in (REPOSITORY / folder).rglob(f"*.{suffix}")
        if "node_modules" not in source.parts
    ),
    *(REPOSITORY / name for name in ("Makefile", "pyproject.toml", "tickets", ".env.example")),
    *REPOSITORY.glob("*.py"),
]


def test_the_pages_that_the_code_names_exist():
    named = {
        (source, name, anchor)
        for source in SOURCES
        for name, anchor in re.findall(
            r"\b((?:docs/[\w/-]+|[A-Z]+)\.md)(?:#([\w-]+))?", source.read_text()
        )
    }
    assert named
    for source, name, anchor in named:
        assert (REPOSITORY / name).is_file(), f"{source} names {name}"
        assert not anchor or anchor in anchors_of(REPOSITORY / name), f"{source}: {name}#{anchor}"


def test_the_files_that_the_code_names_exist():
    named = {
        (source, name)
        for source in SOURCES
        if not source.is_relative_to(REPOSITORY / "tests")  # they make up files, too
        for name in re.findall(
            r"(?<![\w/.-])((?:web|lua|tests|ops|sidecar|events)/[\w./-]+\.\w+)", source.read_text()
        )
    }
    assert len(named) > 20
    for source, name in named:
        is_installed = "node_modules" in name or ".venv" in name
        assert is_installed or (REPOSITORY / name).exists(), f"{source} names {name}"


def test_the_list_of_pages_names_each_of_them():
    listed = [target for target, _ in links_of(DOCS / "README.md") if target.is_relative_to(DOCS)]
    assert len(set(listed)) == len(listed), "no page is listed twice"
    assert set(listed) == set(DOCS.rglob("*.md")) - {DOCS / "README.md"}


def test_the_newest_release_in_the_changelog_is_the_version():
    changelog = (REPOSITORY / "CHANGELOG.md").read_text()
    releases = re.findall(r"^## (\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE)
    assert releases[0] == __version__


def test_the_readme_can_be_read_in_five_minutes():
    assert len(README.split()) <= 1200, "move the details to a page in docs/"


def test_the_list_of_attacks_names_each_of_them():
    files = {path.stem for path in (REPOSITORY / "tests/attacks").glob("test_*.py")}
    assert set(re.findall(r"``(test_\w+)``", tests.attacks.__doc__)) == files
