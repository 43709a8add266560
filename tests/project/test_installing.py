"""How the package is found: in a checkout, by its commands, and under no other name."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path
    for folder in ("gpubp", "kernels", "benchmarks", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not path.is_symlink()
]


@pytest.mark.slow
@pytest.mark.parametrize("words", [["info"], ["--help"], ["bench", "--help"]])
def test_the_module_is_the_command(words: list[str], tmp_path: Path) -> None:
    command = Path(sys.executable).parent / "gpubp"
    if not command.exists():
        pytest.skip("gpubp is not installed beside this Python: it runs from its checkout")

    def printed(*start: str) -> str:
        done = subprocess.run(
            [*start, *words], capture_output=True, text=True, check=True, cwd=tmp_path
        )
        return done.stdout

    assert printed(sys.executable, "-m", "gpubp") == printed(str(command)) != ""


@pytest.mark.slow
def test_the_package_is_found_from_the_checkout_without_being_installed(tmp_path: Path) -> None:
    code = (
        "import gpubp.kernels, gpubp.benchmarks; print(gpubp.kernels.__file__);"
        "print(gpubp.benchmarks.__file__)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.splitlines()
    assert [Path(path).resolve() for path in found] == [
        (ROOT / "gpubp" / name / "__init__.py").resolve() for name in ("kernels", "benchmarks")
    ]


@pytest.mark.slow
def test_nothing_imports_kernels_or_benchmarks_by_their_bare_names() -> None:
    bare = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            bare += [
                f"{path.relative_to(ROOT)}: {name}"
                for name in names
                if name.partition(".")[0] in ("kernels", "benchmarks")
            ]
    assert bare == []
    assert len(SOURCES) > 100


def test_a_checkout_whose_links_are_text_says_so(tmp_path: Path) -> None:
    package = tmp_path / "gpubp"
    package.mkdir()
    (package / "__init__.py").write_bytes((ROOT / "gpubp/__init__.py").read_bytes())
    (package / "kernels").write_text("../kernels")
    done = subprocess.run(
        [sys.executable, "-c", "import gpubp"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert "ImportError: gpubp/kernels is not a folder, expected a link to kernels/" in done.stderr
