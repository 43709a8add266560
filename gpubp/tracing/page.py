"""The page that shows a trace: one HTML file, which needs nothing else and fetches nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from html import escape
from importlib import resources
from typing import Any

from .page_text import math, plain_steps

__all__ = ["notebook", "page"]

HEIGHT = 860
"""The height of the frame in a notebook, in CSS pixels. Most steps need no scrolling in it."""


def page(trace: dict[str, Any]) -> str:
    """Return the page of a trace as HTML.

    Parameters
    ----------
    trace : dict
        What `Trace.to_dict` returns.

    Returns
    -------
    str
        A whole HTML document with its style, its script and the trace's numbers. Its content security
        policy forbids all requests. Without JavaScript, and in print, it shows all steps as tables.

    Raises
    ------
    ValueError
        If the trace has a number that JSON does not have; NaN and infinity must be strings.
    """
    style, script = _part("page.css"), _part("page.js")
    parts = {
        "title": escape(trace["title"]),
        "policy": _policy(style, script),
        "style": style,
        "script": script,
        "data": _json(trace),
        "prediction": _prediction(trace),
        "network": _network(trace),
        "steps": plain_steps(trace),
    }
    # In one pass: a name in the trace may look like a place.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _part("page.html"))


def notebook(trace: dict[str, Any]) -> str:
    """Return the page of a trace as a frame for a notebook, or for a page of documentation.

    Parameters
    ----------
    trace : dict
        What `Trace.to_dict` returns.

    Returns
    -------
    str
        An <iframe> that holds the whole page. Styles inside and outside do not touch each other, and its
        script can reach nothing outside.

    Raises
    ------
    ValueError
        As `page`.
    """
    title, document = escape(trace["title"]), escape(page(trace))
    style = f"width: 100%; height: {HEIGHT}px; border: 0; border-radius: 8px"
    return (
        f'<iframe class="gpubp-trace" title="{title}" sandbox="allow-scripts" loading="lazy" '
        f'width="100%" height="{HEIGHT}" style="{style}" srcdoc="{document}"></iframe>'
    )


@cache
def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _json(trace: dict[str, Any]) -> str:
    """Return JSON that can stand in a <script>: with no <, nothing in it can end the element."""
    text = json.dumps(trace, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e")


def _policy(style: str, script: str) -> str:
    """Return a content security policy under which this style and this script are all that is loaded."""
    allowed = {"style-src": _hash(style), "script-src": _hash(script), "img-src": "data:"}
    allowed |= {"default-src": "'none'", "base-uri": "'none'", "form-action": "'none'"}
    return "; ".join(f"{what} {source}" for what, source in allowed.items())


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _prediction(trace: dict[str, Any]) -> str:
    """Return what is predicted, and further sentences about the numbers."""
    said = [trace["prediction"], *trace.get("notes", ())]
    return "\n".join(f'<p class="prediction">{escape(line)}</p>' for line in said if line)


def _network(trace: dict[str, Any]) -> str:
    """Return the activations, the cost and the learning rate as items of a list."""
    items, last = [], ""
    for k, (name, formula) in enumerate(
        zip(trace["activations"], trace["activation_formulas"], strict=True)
    ):
        items.append((f"Layer {k + 1}: {name}", formula))
    items.append((f"Cost: {trace['cost']}", trace["cost_formula"]))
    if trace["learning_rate"] is not None:
        items.append(("Learning rate", f"η = {trace['learning_rate']:g}"))
    if "dtype" in trace:
        last = f"<dt>Numbers</dt><dd>{escape(trace['dtype'])}, by {escape(trace['backend'])}</dd>"
    shown = [f"<dt>{escape(name)}</dt><dd>{math(text)}</dd>" for name, text in items]
    return "\n".join([*shown, last])
