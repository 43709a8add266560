"""What is deprecated goes in the version that its warning names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path
    for folder in ("gpubp", "kernels", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.name != "_version.py"
]


def coming() -> tuple[int, int]:
    """Return the minor version that comes next, which a copy without git has."""
    found = re.search(
        r'^fallback_version = "(\d+)\.(\d+)\.', (ROOT / "pyproject.toml").read_text("utf-8"), re.M
    )
    assert found is not None
    return int(found[1]), int(found[2])


def overdue(text: str, version: tuple[int, int]) -> list[str]:
    """Find the warnings whose version has come."""
    named = re.findall(r"removed in gpubp (\d+)\.(\d+)", text)
    return [f"{major}.{minor}" for major, minor in named if (int(major), int(minor)) <= version]


def test_nothing_outlives_the_version_in_which_it_was_to_go() -> None:
    late = {
        str(path.relative_to(ROOT)): found
        for path in SOURCES
        if (found := overdue(path.read_text(encoding="utf-8"), coming()))
    }
    assert len(SOURCES) > 100
    assert late == {}


def unnamed(text: str) -> list[int]:
    """Find the lines that warn of what goes without naming a version."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and re.search(r"\bwarn$", ast.unparse(node.func))
        and re.search(r"\b(Future|Deprecation)Warning\b", ast.unparse(node))
        and not re.search(r"removed in gpubp \d+\.\d+", ast.unparse(node))
    ]


def test_each_warning_of_what_goes_names_the_version() -> None:
    lines = {str(p.relative_to(ROOT)): unnamed(p.read_text(encoding="utf-8")) for p in SOURCES}
    assert {path: found for path, found in lines.items() if found} == {}


def test_a_warning_without_a_version_is_found() -> None:
    text = (
        'warnings.warn("old is now new; it will be "\n    f"removed in gpubp 0.4", FutureWarning)\n'
        'warn("old is now new", FutureWarning, stacklevel=2)\n'
        'warn("this is slow", RuntimeWarning)\n'
    )
    assert unnamed(text) == [3]


@pytest.mark.parametrize(
    ("version", "found"), [((0, 3), []), ((0, 4), ["0.4"]), ((0, 10), ["0.4"]), ((1, 0), ["0.4"])]
)
def test_a_version_that_has_come_is_found(version: tuple[int, int], found: list[str]) -> None:
    text = "\"it is now 'new'; it will be removed in gpubp 0.4\", FutureWarning"
    assert overdue(text, version) == found
