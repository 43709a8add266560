"""The links and images of the documents; .github/workflows/links.yml visits other sites."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import pytest
from documents import DOCUMENTS, ROOT, Link, anchors, links, texts

MYST_ANCHORS = 4
"""The deepest headings that have an anchor in the documentation: myst_heading_anchors in docs/conf.py."""

MADE_BY_SPHINX = re.compile(r"docs/(?:gallery|reference)/")
"""Pages that only `make docs` makes, and then checks."""


def complaint(link: Link) -> str:
    """Say what is wrong with a link; "" if all is well."""
    parts = urlsplit(link.target)
    if parts.scheme or parts.netloc:
        return outside_complaint(link.target)
    path, anchor = unquote(parts.path), unquote(parts.fragment)
    target = ROOT / link.document
    if path:
        target = Path(os.path.normpath(target.parent / path))
    if not target.is_relative_to(ROOT):
        return "it leads out of the repository"
    name = target.relative_to(ROOT).as_posix()
    if MADE_BY_SPHINX.match(name):
        return ""
    if not target.exists():
        return f"there is no {name}"
    if anchor:
        return anchor_complaint(name, anchor)
    return ""


def outside_complaint(target: str) -> str:
    parts = urlsplit(target)
    if parts.scheme == "mailto":
        return "" if re.fullmatch(r"[\w.+-]+@[\w-]+(\.[\w-]+)+", parts.path) else "no address"
    if parts.scheme != "https":
        return "it is not https"
    if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,}", parts.netloc):
        return f"{parts.netloc!r} is no name of a site"
    return "it has a character too many" if re.search(r"[\s<>\"`]|[.,;]$", target) else ""


def anchor_complaint(name: str, anchor: str) -> str:
    if not name.endswith(".md"):
        return "" if re.fullmatch(r"L\d+(-L\d+)?", anchor) else f"{name} has no anchors"
    level = anchors(name).get(anchor)
    if level is None:
        return f"{name} has no #{anchor}, only {sorted(anchors(name))}"
    return "" if level <= MYST_ANCHORS else f"#{anchor} is a heading of level {level}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    found = {str(link): complaint(link) for link in links(document)}
    assert {link: what for link, what in found.items() if what} == {}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_reference_has_its_address(document: str) -> None:
    """A reference without an address, `[text][name]`, is no link: its brackets are shown."""
    assert [text for text in texts(document) if re.search(r"\]\[|\]\(", text)] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_images_say_what_they_show(document: str) -> None:
    for image in (link for link in links(document) if link.is_image):
        assert len(image.text.split()) >= 3, f"{image}: too short to stand for the image"
        path = (ROOT / document).parent / image.target
        if path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_the_settings_of_the_documentation_are_as_here() -> None:
    settings = (ROOT / "docs/conf.py").read_text(encoding="utf-8")
    assert f"myst_heading_anchors = {MYST_ANCHORS}\n" in settings


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ("SECURITY.md", ""),
        ("docs/explanation/numbers.md#the-same-bits", ""),
        ("docs/development/security.md#how-to-report-a-weakness", ""),
        ("#the-library", ""),
        ("gpubp/backprop.py#L10", ""),
        ("https://skops.readthedocs.io", ""),
        ("SECURITY.txt", "there is no SECURITY.txt"),
        ("../other", "it leads out of the repository"),
        ("gpubp/backprop.py#forward", "gpubp/backprop.py has no anchors"),
        ("http://skops.readthedocs.io", "it is not https"),
        ("https://skops", "'skops' is no name of a site"),
        ("https://skops.readthedocs.io.", "'skops.readthedocs.io.' is no name of a site"),
        ("https://skops.readthedocs.io/a,", "it has a character too many"),
        ("mailto:someone", "no address"),
    ],
)
def test_a_wrong_link_would_be_seen(target: str, what: str) -> None:
    assert complaint(Link("README.md", target, "text", False)) == what


def test_a_wrong_anchor_would_be_seen() -> None:
    found = complaint(Link("README.md", "SECURITY.md#none", "text", False))
    assert found.startswith("SECURITY.md has no #none, only [")
