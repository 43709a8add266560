"""Code that the tests of code blocks would not see: as plain text, in reStructuredText, in a docstring."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from documented_commands import CELL, commands, complaint, row_of
from documents import DOCUMENTS, ROOT, Block, blocks

COMMAND = re.compile(r"^(?:\$ |(?:[A-Z_]+=\S+ )*(?:gpubp|make|pip|python3?|pytest) )", re.MULTILINE)
LITERAL = re.compile(
    r"^(?:(?!\.\. )[^\n]*::|\.\. code-block:: sh)\n\n((?:[ ]{3,}[^\n]*\n|\n)+)", re.MULTILINE
)
"""A literal block of reStructuredText, after a line that ends in two colons, or one for a shell."""

CODE_DIRECTIVE = re.compile(
    r"^ *\.\. (?:code|code-block(?!:: sh$)|sourcecode|parsed-literal|literalinclude|testcode)::",
    re.MULTILINE,
)
RST = sorted(
    path
    for pattern in ("docs/reference/*.rst", "examples/*.rst", "examples/*/*.rst")
    for path in ROOT.glob(pattern)
)
SOURCES = sorted({*(ROOT / "gpubp").rglob("*.py"), *(ROOT / "kernels").rglob("*.py")})


def looks_like_code(text: str) -> bool:
    """Whether a text is a program of Python that does something, or has commands of a shell."""
    if COMMAND.search(text):
        return True
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return False
    idle = (ast.Constant, ast.Name, ast.Attribute)
    return any(not isinstance(s, ast.Expr) or not isinstance(s.value, idle) for s in body)


def literal_blocks(path: Path) -> list[Block]:
    """Return the literal blocks of a file of reStructuredText."""
    text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
    return [
        Block(name, text.count("\n", 0, found.start(1)) + 1, "sh", re.sub(r"^ +", "", found[1], flags=re.M))
        for found in LITERAL.finditer(text)
    ]  # fmt: skip


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_block_of_text_is_no_code(document: str) -> None:
    found = [str(b) for b in blocks(document) if b.info == "text" and looks_like_code(b.text)]
    assert found == []


@pytest.mark.parametrize("path", RST, ids=lambda path: path.stem)
def test_blocks_of_restructured_text_are_commands_that_exist(path: Path) -> None:
    assert CODE_DIRECTIVE.search(path.read_text(encoding="utf-8")) is None
    for block in literal_blocks(path):
        for command in commands(block):
            assert row_of(command) is not None, command
            assert complaint(command.words) == "", command


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if d.startswith("docs/tutorials/")])
def test_a_cell_has_the_commands_that_it_is_said_to_run(document: str) -> None:
    cells = " ".join(b.text for b in blocks(document) if "code-cell" in (b.info or ""))
    for block in blocks(document):
        for command in commands(block) if block.info == "sh" else ():
            if row_of(command) == CELL:
                assert [w for w in command.words[1:] if w not in re.split(r'[\s"]+', cells)] == []


def test_the_commands_of_the_gallery_are_found() -> None:
    found = [c for path in RST for block in literal_blocks(path) for c in commands(block)]
    assert "python" in {command.words[0] for command in found}


def test_docstrings_have_no_code_beside_their_examples() -> None:
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                told = f"{ast.get_docstring(node) or ''}\n"
                blocks_of_code = [m[1] for m in LITERAL.finditer(told) if ">>>" not in m[1]]
                if CODE_DIRECTIVE.search(told) or any(map(looks_like_code, blocks_of_code)):
                    found.append(f"{path.relative_to(ROOT)}: {getattr(node, 'name', 'the module')}")
    assert found == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("warnings.warn('old', FutureWarning)", True),
        ("x = 3", True),
        ("import gpubp", True),
        ("GPUBP_BACKEND=numpy gpubp demo", True),
        ("$ gpubp demo", True),
        ("the argument 'most' is now 'max_parameters'", False),
        ("trained    17 epochs on 512 rows in 1 s", False),
        ("gpubp/cli            the commands", False),
    ],
)
def test_code_is_told_from_text(text: str, code: bool) -> None:
    assert looks_like_code(text) is code
