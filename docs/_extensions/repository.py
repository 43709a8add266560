"""Pages that stand in files outside docs/, and links to such files.

A page may consist of one `include` of a Markdown file of the repository. Its links are made relative to the
page. A link to an example leads to its page in the gallery. A link to another file that is neither page nor
picture leads to the repository's web page.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
EXAMPLES = ROOT / "examples"
INCLUDE = re.compile(r"^```\{include\} (\S+)\n```$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s:#]+)(#[^)\s]*)?\)")


def joined(folder: Path, name: str) -> Path:
    """Return the path without "..", and without following links."""
    return Path(os.path.normpath(folder / name))


def included() -> dict[Path, Path]:
    """Return the page of each file that a page includes whole."""
    pages = {}
    for page in DOCS.rglob("*.md"):
        if found := INCLUDE.search(page.read_text(encoding="utf-8")):
            pages[joined(page.parent, found[1])] = page
    return pages


def relinked(text: str, folder: Path, page: Path, pages: dict[Path, Path], url: str) -> str:
    """Return the text with links that were relative to `folder` made right for the page."""

    def link(found: re.Match[str]) -> str:
        target = joined(folder, found[1])
        anchor = found[2] or ""
        if not target.exists():
            return found[0]  # Sphinx warns of it
        target = pages.get(target, target)
        if target.suffix == ".png" or target.is_relative_to(DOCS):
            return f"]({os.path.relpath(target, page.parent)}{anchor})"
        if target == EXAMPLES or target.match("examples/*/plot_*.py"):
            place = "index" if target == EXAMPLES else target.relative_to(EXAMPLES).with_suffix("")
            return f"]({os.path.relpath(DOCS / 'gallery' / place, page.parent)}.rst)"
        kind = "tree" if target.is_dir() else "blob"
        return f"]({url}/{kind}/main/{target.relative_to(ROOT).as_posix()}{anchor})"

    return LINK.sub(link, text)


def read(app: Sphinx, name: str, source: list[str]) -> None:
    """Replace the include, and the links, of a page that Sphinx has read."""
    page = Path(app.env.doc2path(name))
    if page.suffix != ".md":
        return
    pages, url, folder = included(), app.config.repository_url, page.parent
    text = source[0]
    if found := INCLUDE.search(text):
        file = joined(folder, found[1])
        text = text.replace(found[0], file.read_text(encoding="utf-8"))
        folder = file.parent
    source[0] = relinked(text, folder, page, pages, url)


def setup(app: Sphinx) -> dict[str, Any]:
    """Listen to what Sphinx reads."""
    app.add_config_value("repository_url", "", "env", str)
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
