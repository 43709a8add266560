"""The documents, as their tests read them: code blocks, inline code, headings, links and images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

markdown_it = pytest.importorskip(
    "markdown_it", reason="what reads the documents, markdown-it-py, is not installed"
)

__all__ = [
    "DOCUMENTS",
    "ROOT",
    "Block",
    "Link",
    "anchors",
    "blocks",
    "inline_code",
    "links",
    "texts",
]

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "kernels").exists():  # in an sdist
    pytest.skip("the documents name files that only a checkout has", allow_module_level=True)

MADE = "docs/gallery/", "docs/reference/generated/"
"""Folders whose files `make docs` makes."""

DOCUMENTS = sorted(
    name
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
    if not (name := path.relative_to(ROOT).as_posix()).startswith(MADE)
)

INCLUDE = re.compile(r"^```\{include\} (\S+)\n", re.MULTILINE)
FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
HTML_LINK = re.compile(r"""<(a|img)\b[^>]*?\b(?:href|src)=["']([^"']*)["'][^>]*>""")
HTML_ALT = re.compile(r"""\balt=["']([^"']*)["']""")


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes
    ----------
    document, line : str, int
        The file, and the line that the block begins on.
    info : str or None
        What follows the fence, such as "python"; None for an indented block.
    text : str
        The block's content.
    """

    document: str
    line: int
    info: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


@dataclass(frozen=True)
class Link:
    """A link or an image.

    Attributes
    ----------
    document : str
        The file.
    target : str
        Where it leads.
    text : str
        What is shown of it; of an image, what it says to those who do not see it.
    is_image : bool
        Whether it is an image.
    """

    document: str
    target: str
    text: str
    is_image: bool

    def __str__(self) -> str:
        return f"{self.document}: [{self.text}]({self.target})"


@cache
def read(document: str) -> str:
    """Return a document's text, with empty lines in the place of a notebook's front matter."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return FRONT_MATTER.sub(lambda found: "\n" * found[0].count("\n"), text)


@cache
def tokens(document: str) -> list[Any]:
    """Parse a document."""
    return list(markdown_it.MarkdownIt("commonmark").enable("table").parse(read(document)))


def inline(document: str) -> Iterator[Any]:
    """Yield the tokens within paragraphs, headings and cells."""
    for token in tokens(document):
        yield from token.children or ()


def blocks(document: str) -> list[Block]:
    """Return a document's code blocks."""
    return [
        Block(document, token.map[0] + 1, None if token.type == "code_block" else token.info, token.content)
        for token in tokens(document)
        if token.type in ("fence", "code_block")
    ]  # fmt: skip


def inline_code(document: str) -> list[str]:
    """Return what stands between single backticks, each on one line."""
    return [" ".join(t.content.split()) for t in inline(document) if t.type == "code_inline"]


def texts(document: str) -> list[str]:
    """Return the text that is neither code nor part of a link's address."""
    return [token.content for token in inline(document) if token.type == "text"]


def links(document: str) -> list[Link]:
    """Return links and images, also those of HTML."""
    found: list[Link] = []
    for token in tokens(document):
        children = token.children or ()
        for k, child in enumerate(children):
            if child.type == "image":
                found.append(Link(document, str(child.attrs["src"]), child.content, True))
            elif child.type == "link_open":
                ends = next(n for n in range(k, len(children)) if children[n].type == "link_close")
                text = "".join(part.content for part in children[k:ends])
                found.append(Link(document, str(child.attrs["href"]), text, False))
        html = [token, *children]
        for part in html:
            if part.type in ("html_block", "html_inline"):
                for one in HTML_LINK.finditer(part.content):
                    alt = HTML_ALT.search(one[0])
                    text = alt[1] if alt else ""
                    found.append(Link(document, one[2], text, one[1] == "img"))
    return found


@cache
def anchors(document: str) -> dict[str, int]:
    """Return the anchors of a document's headings as GitHub and MyST make them, with their levels.

    A page that consists of another file has that file's headings.
    """
    text = read(document)
    included = INCLUDE.search(text)
    if included:
        path = (ROOT / document).parent / included[1]
        return anchors(path.resolve().relative_to(ROOT).as_posix())
    found = dict.fromkeys(re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE), 1)
    everything = tokens(document)
    for k, token in enumerate(everything):
        if token.type == "heading_open":
            title = "".join(child.content for child in everything[k + 1].children)
            slug = start = re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
            number = 0
            while slug in found:
                number += 1
                slug = f"{start}-{number}"
            found[slug] = int(token.tag[1])
    return found
