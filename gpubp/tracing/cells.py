"""Numbers as texts of one width, whose units stand below each other."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

__all__ = [
    "ELLIPSIS",
    "aligned",
    "number_text",
    "padded",
    "shortened_to",
    "significant_text",
    "width_of",
]

ELLIPSIS = "…"
LARGE = 1e6
"""From this size on numbers have exponents."""
EXACT = Context(prec=400, rounding=ROUND_HALF_UP)
"""Holds every float. Halves are rounded up, as people do by hand and JavaScript does on the page."""


def aligned(values: Iterable[Any], digits: int) -> list[str]:
    """Write numbers with the same number of decimal places, or with exponents if they are large or small.

    Whole numbers have no decimal places, so that zeros and ones stand out. None becomes an ellipsis.
    """
    numbers = [None if value is None else float(value) for value in values]
    sizes = [abs(n) for n in numbers if n is not None and math.isfinite(n) and n]
    exponents = bool(sizes) and not 10.0 ** (1 - max(digits, 2)) <= max(sizes) < LARGE
    texts = [ELLIPSIS if n is None else number_text(n, digits, exponents) for n in numbers]
    return _below_each_other(texts)


def number_text(number: float, digits: int, exponents: bool = False) -> str:
    """Write a number: 0.0742, 3, 1.2e-07 where decimal places would show 0, nan."""
    if not math.isfinite(number):
        return str(number)
    if number == int(number) and abs(number) < LARGE:
        return str(int(number))
    if exponents:
        return f"{number:.{digits}e}"
    text = f"{Decimal(number).quantize(Decimal(1).scaleb(-digits), context=EXACT):f}"
    return text if float(text) else f"{number:.0e}"


def significant_text(number: float, digits: int) -> str:
    """Write a number with so many significant digits."""
    if not math.isfinite(number):
        return str(number)
    rounded = Context(prec=digits, rounding=ROUND_HALF_UP).create_decimal(number)
    return f"{float(rounded):.{digits}g}"


def _below_each_other(texts: Sequence[str]) -> list[str]:
    """Pad texts on both sides, so that the units of plain numbers stand below each other."""
    decimals = max((_decimals(text) for text in texts), default=0)
    padded_right = [
        text
        if "e" in text or not text[-1].isdecimal()
        else text + " " * (decimals - _decimals(text))
        for text in texts
    ]
    width = max(map(len, padded_right), default=0)
    return [text.rjust(width) for text in padded_right]


def _decimals(text: str) -> int:
    """Return the length of what follows the units of a plain number, with its point."""
    _, point, decimals = text.partition(".")
    return 0 if "e" in text or not point else len(point + decimals)


def width_of(text: str) -> int:
    """Return the number of places that a text takes in a terminal."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def padded(text: str, width: int, right: bool = False) -> str:
    """Fill a text with spaces, on its right or on its left side."""
    spaces = " " * (width - width_of(text))
    return spaces + text if right else text + spaces


def shortened_to(text: str, width: int) -> str:
    """Cut a text that takes more than `width` places, and end it with an ellipsis."""
    if width_of(text) <= width:
        return text
    while width_of(text) >= width:
        text = text[:-1]
    return text + ELLIPSIS
