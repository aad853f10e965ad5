"""docs/architecture.md shows the code as it is: rooms, imports, the steps of a payment."""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import grimp
import pytest

from ops.servers import REPOSITORY

Arrows = set[tuple[str, str]]

DOCUMENTS = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]

LINKED_NAME = re.compile(r"\[`([\w.]+)`\]\(([^)#\s]+\.(?:py|lua))\)")
"""A link whose text is the name of something in the file that it leads to."""


PAGE = (REPOSITORY / "docs/architecture.md").read_text()


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """Of each room, those that it imports."""
    graph = grimp.build_graph("web", cache_dir=None)
    rooms = graph.find_children("web")
    for room in rooms:
        graph.squash_module(room)
    return {
        room.removeprefix("web."): {
            imported.removeprefix("web.")
            for imported in graph.find_modules_directly_imported_by(room)
        }
        for room in rooms
    }


def with_implied(arrows: Arrows) -> Arrows:
    implied = set(arrows)
    while longer := {(a, d) for a, b in implied for c, d in implied if b == c} - implied:
        implied |= longer
    return implied


def test_the_page_lists_exactly_the_rooms_there_are(imports):
    listed = re.findall(r"^\| `web/(\w+)(?:/|\.py)` \|", PAGE, re.MULTILINE)
    assert sorted(listed) == sorted(imports)


def test_the_picture_of_the_rooms_shows_their_imports(imports):
    svg = (REPOSITORY / "docs/rooms.svg").read_text()
    shown = set(re.findall(r"<title>(\w+)&#45;&gt;(\w+)</title>", svg))
    there_are = {(room, imported) for room in imports for imported in imports[room]}
    assert ("pages", "http") in shown
    assert shown - there_are == set(), "`make rooms` draws it again"
    assert with_implied(shown) == with_implied(there_are), "`make rooms` draws it again"


def names_of(node: ast.stmt) -> list[str]:
    """What a statement of a module or a class defines."""
    match node:
        case ast.FunctionDef() | ast.ClassDef():
            return [node.name]
        case ast.Assign():
            return [target.id for target in node.targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def is_defined(names: Sequence[str], body: Sequence[ast.stmt]) -> bool:
    first, *rest = names
    found = [node for node in body if first in names_of(node)]
    return bool(found) and (not rest or is_defined(rest, getattr(found[-1], "body", [])))


def linked_names(document: Path) -> Iterator[tuple[str, Path]]:
    for name, target in LINKED_NAME.findall(document.read_text()):
        yield name, (document.parent / target).resolve()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_file_has_what_the_link_to_it_is_called(document):
    for name, file in linked_names(document):
        if file.suffix == ".lua":
            assert file.is_file() and name == file.stem, f"{file} is not {name}"
        else:
            body = ast.parse(file.read_text()).body
            assert is_defined(name.split("."), body), f"{file} has no {name}"


def test_the_page_about_architecture_links_each_step_of_a_payment():
    names = {name for name, _ in linked_names(REPOSITORY / "docs/architecture.md")}
    assert {"begin_payment", "StripeGateway.authorize", "MongoBookingStore.insert"} <= names
    assert {"StripeGateway.capture", "confirm_booking", "Reconciler.round"} <= names
