"""`make lint` and the hooks of pre-commit are the same checks, and none of them hides another."""

import re
import subprocess
from pathlib import Path

from ops.servers import REPOSITORY


def linters() -> list[str]:
    makefile = (REPOSITORY / "Makefile").read_text()
    return re.search(r"^LINTERS = (.*)$", makefile, re.MULTILINE)[1].split()


def test_each_linter_has_a_hook_and_a_line_in_the_documents():
    hooks = re.findall(r"- id: (\S+)", (REPOSITORY / ".pre-commit-config.yaml").read_text())
    documents = (REPOSITORY / "docs/development.md").read_text()
    for linter in linters():
        assert linter.removeprefix("lint-") in hooks
        assert f"`{linter}`" in documents


def test_a_hook_asks_for_nothing_from_a_network():
    hooks = (REPOSITORY / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"repo: (\S+)", hooks) == ["local"]
    assert set(re.findall(r"language: (\S+)", hooks)) == {"system"}
    assert "additional_dependencies" not in hooks


def test_a_linter_that_finds_something_hides_no_other(clone: Path):
    (clone / "ops/install.sh").write_text("#!/bin/sh\n")
    (clone / "web/unused.py").write_text('"""Unused."""\n\nimport os\n')
    (clone / "web/untidy.py").write_text('"""Untidy."""\n\nX=1\n')
    (clone / "lua/seats/read_hold.lua").write_text("local unused = 1\n")
    # Two begin at once; the third begins when one of them has failed.
    command = ["make", "lint", "LINTERS=lint-ruff lint-format lint-luacheck"]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True)
    assert done.returncode != 0
    assert "`os` imported but unused" in done.stdout
    assert "web/untidy.py" in done.stdout
    for linter in ("lint-ruff", "lint-format", "lint-luacheck"):
        assert f"{linter}] Error" in done.stderr
