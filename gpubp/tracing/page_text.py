"""The parts of the page that need no script: equations as MathML, and all steps as tables of numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from html import escape
from math import inf, isfinite
from typing import Any

__all__ = ["math", "plain_steps", "shown_number"]

DIGITS = 4
"""Significant digits of the tables."""

MOST, FIRST, LAST = 12, 5, 2
"""Of more than MOST neurons, the FIRST and the LAST are shown. page.js has the same numbers."""

RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ᵀˡᴸ", "0123456789+−TlL", strict=True))
LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉ᵢⱼₖ", "0123456789ijk", strict=True))
LOWER = {plain: lowered for lowered, plain in LOWERED.items()}
THIN_SPACE = "\u2009"
SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

SYMBOLS = {
    "w": "w{}",
    "b": "b{}",
    "z": "z{}",
    "a": "a{}",
    "slope": "σ′(z{})",
    "propagated": "e{}",
    "delta": "δ{}",
    "weight_gradient": "∂C/∂w{}",
    "bias_gradient": "∂C/∂b{}",
    "new_w": "w{} after the step",
    "new_b": "b{} after the step",
    "x": "x",
    "y": "y",
    "cost": "C",
    "input_gradient": "∂C/∂x",
    "new_cost": "C after the step",
}

LETTERS = rf"[^\W\d_Σ½¼¾{''.join(RAISED)}{''.join(LOWERED)}]+"
TOKENS = re.compile(
    r"∂(?P<top>\w)/∂(?P<bottom>[^\W\d_])"
    rf"|(?P<raised>[{''.join(RAISED)}]+)|(?P<lowered>[{''.join(LOWERED)}]+)"
    rf"|(?P<number>\d+(?:\.\d+)?|[½¼¾])|(?P<word>{LETTERS}(?:_{LETTERS})*′?)|(?P<sign>\S)"
)


def math(text: str) -> str:
    """Return an equation such as "z¹ = w¹ a⁰ + b¹" as MathML. What is no equation comes out as words."""
    rows: list[list[str]] = [[]]
    text = re.sub(r"_([ijk])\b", lambda index: LOWER[index[1]], text)
    text = text.replace("<=", "≤").replace(">=", "≥")
    for token in TOKENS.finditer(text):
        kind, found = token.lastgroup, escape(token[0])
        row = rows[-1]
        if row and text[token.start() - 1] == " " and kind != "sign":
            if row[-1] == "<mo>,</mo>":
                row.append('<mspace width="0.7em"></mspace>')
            elif not row[-1].startswith("<mo"):
                row.append('<mspace width="0.25em"></mspace>')
        if kind == "bottom":
            # A superscript that follows belongs to the variable below the line.
            below = re.compile(rf"[{''.join(RAISED)}]+").match(text, token.end())
            variable = f"<mi>{escape(token['bottom'])}</mi>"
            if below:
                variable = f"<msup>{variable}{_script(below[0], RAISED)}</msup>"
            row.append(
                f"<mfrac><mrow><mo>∂</mo><mi>{escape(token['top'])}</mi></mrow>"
                f"<mrow><mo>∂</mo>{variable}</mrow></mfrac>"
            )
        elif kind in ("raised", "lowered"):
            if row and row[-1].startswith("<mfrac>"):
                continue
            base = row.pop() if row else "<mrow></mrow>"
            tag, letters = ("msup", RAISED) if kind == "raised" else ("msub", LOWERED)
            row.append(f"<{tag}>{base}{_script(token[0], letters)}</{tag}>")
        elif kind == "number":
            row.append(f"<mn>{found}</mn>")
        elif kind == "word":
            upright = ' mathvariant="normal"' if len(found.rstrip("′")) > 1 else ""
            row.append(f"<mi{upright}>{found}</mi>")
        elif found == "(":
            rows.append(['<mo stretchy="false">(</mo>'])
        elif found == ")" and len(rows) > 1:
            inner = rows.pop()
            end = '<mo stretchy="false">)</mo>'
            rows[-1].append(f"<mrow>{''.join(inner)}{end}</mrow>")
        elif found == "-" and (not row or row[-1].startswith("<mo")):
            row.append('<mo form="prefix">−</mo>')
        else:
            row.append(f"<mo>{found.replace('-', '−')}</mo>")
    parts = "".join(part for row in rows for part in row)
    return f'<math displaystyle="true">{parts}</math>'


def _script(text: str, letters: dict[str, str]) -> str:
    plain = "".join(letters[letter] for letter in text)
    if plain.isdigit():
        return f"<mn>{plain}</mn>"
    return f"<mtext>{plain if len(plain) == 1 else plain.replace('T', THIN_SPACE + 'T')}</mtext>"


def shown_number(number: float | str, digits: int = DIGITS) -> str:
    """Return a number with so many significant digits, as page.js shows it."""
    value = float(number)
    if not isfinite(value):
        return "inf" if value == inf else "−inf" if value == -inf else "nan"
    # Halves are rounded as JavaScript rounds them: away from zero.
    rounded = Context(digits, ROUND_HALF_UP).create_decimal(Decimal(value)).normalize()
    if value and not 1e-4 <= abs(value) < 1e9:
        mantissa, _, exponent = f"{rounded:e}".partition("e")
        text = f"{mantissa}e{int(exponent)}"
    elif abs(value) >= 10**digits:
        text = f"{Decimal(value).to_integral_value(ROUND_HALF_UP)}"
    else:
        text = f"{rounded:f}" if value else "0"
    return text.replace("-", "−")


def plain_steps(trace: dict[str, Any]) -> str:
    """Return all steps one below another: title, equation, a sentence, and the numbers as tables."""
    return "\n".join(
        f'<section class="plain-step" id="plain-{k}">\n'
        f"<h3>{k + 1}. {escape(step['title'])}</h3>\n"
        f'<p class="equation">{math(step["equation"])}</p>\n'
        f"<p>{escape(step['text'])}</p>\n"
        f'<div class="tables">{"".join(_tables(trace, step))}</div>\n</section>'
        for k, step in enumerate(trace["steps"])
    )


def _tables(trace: dict[str, Any], step: dict[str, Any]) -> list[str]:
    """Return the tables of what a step reads and writes. An update writes biases, too."""
    names = [*step["reads"], step["writes"]]
    if step["operation"] == "update":
        names.append(step["writes"].replace("w", "b").replace("neb_b", "new_b"))
    values = trace["values"]
    return [_table(trace, name) for name in names if values.get(name) is not None]


def _table(trace: dict[str, Any], name: str) -> str:
    value = trace["values"][name]
    kind, layer = _kind(trace, name)
    caption = f'<caption class="symbol">{escape(_symbol(kind, layer))}</caption>'
    if not isinstance(value, list):
        return f"<table>{caption}<tr><td>{shown_number(value)}</td></tr></table>"
    names = neuron_names(trace, layer)
    if not value or not isinstance(value[0], list):
        rows = [
            _row(names[k], [value[k]], [0]) if k >= 0 else _gap(1, k) for k in shown(len(value))
        ]
        return f"<table>{caption}{''.join(rows)}</table>"
    columns = shown(len(value[0]))
    before = neuron_names(trace, layer - 1)
    heads = "".join(
        f'<th scope="col">{escape(before[k])}</th>' if k >= 0 else "<td>⋯</td>" for k in columns
    )
    rows = [
        _row(names[k], value[k], columns) if k >= 0 else _gap(len(columns), k)
        for k in shown(len(value))
    ]
    return f"<table>{caption}<tr><td></td>{heads}</tr>{''.join(rows)}</table>"


def _row(name: str, numbers: Sequence[Any], columns: Sequence[int]) -> str:
    cells = (f"<td>{shown_number(numbers[k])}</td>" if k >= 0 else "<td>⋯</td>" for k in columns)
    return f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>'


def _gap(columns: int, hidden: int) -> str:
    return f'<tr><th scope="row">⋮ {-hidden} more</th>{"<td>⋮</td>" * columns}</tr>'


def _kind(trace: dict[str, Any], name: str) -> tuple[str, int]:
    """Split "delta2" into "delta" and 2; x belongs to layer 0, the cost and its derivative to the last."""
    kind = name.rstrip("0123456789")
    if kind in ("x", "input_gradient"):
        return kind, 0
    return kind, int(name[len(kind) :] or len(trace["sizes"]) - 1)


def _symbol(kind: str, layer: int) -> str:
    raised = str(layer).translate(SUPERSCRIPT)
    if kind == "cost_derivative":
        return f"∂C/∂a{raised}"
    return SYMBOLS.get(kind, kind).format(raised)


def neuron_names(trace: dict[str, Any], layer: int) -> list[str]:
    """Return the names of the columns, the numbers of hidden neurons, or the names of the outputs."""
    sizes = trace["sizes"]
    if layer == 0:
        return [str(name) for name in trace["input_names"]]
    if layer == len(sizes) - 1:
        return [str(name) for name in trace["output_names"]]
    return [str(k + 1) for k in range(sizes[layer])]


def shown(size: int) -> list[int]:
    """Return which of a layer's neurons are shown; a negative number stands for so many that are not."""
    if size <= MOST:
        return list(range(size))
    return [*range(FIRST), FIRST + LAST - size, *range(size - LAST, size)]
