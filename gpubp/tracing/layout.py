"""Matrices, equations of matrices, and tables of vectors as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels.typing import Array
from .cells import ELLIPSIS, aligned, padded, shortened_to, width_of

__all__ = ["EDGE", "MOST", "Term", "beside", "equation", "shown_indices", "table"]

MOST, EDGE = 12, 3
"""Up to MOST rows or columns are shown; of more, the first EDGE and the last EDGE."""

LONGEST_NAME = 20


@dataclass(frozen=True)
class Term:
    """A matrix or a vector of an equation, or a number.

    Attributes
    ----------
    operator : str
        What stands before it: "", "·", "+", "-" or "=".
    caption : str
        Its symbol.
    values : array of shape (rows, columns) or (n,)
        Its numbers; a vector is a column.
    """

    operator: str
    caption: str
    values: Array


def shown_indices(count: int, most: int = MOST, edge: int = EDGE) -> list[int | None]:
    """Return the rows or columns that are shown; None stands for those that are left out."""
    if count <= most:
        return list(range(count))
    return [*range(edge), None, *range(count - edge, count)]


def equation(terms: Sequence[Term], digits: int, width: int) -> list[str]:
    """Lay out terms beside each other, in as many rows as the width needs."""
    rows: list[list[tuple[str, list[str]]]] = [[]]
    used = 0
    for term in terms:
        before = f" {term.operator} " if term.operator else ""
        block = _block(term, digits, width - len(before))
        length = len(before) + width_of(block[0])
        if rows[-1] and used + length > width:
            rows.append([])
            used = 0
        rows[-1].append((before, block))
        used += length
    lines: list[str] = []
    for row in rows:
        lines += [*([""] if lines else []), *_joined(row)]
    return lines


def _block(term: Term, digits: int, width: int) -> list[str]:
    """Return the lines of a matrix in brackets below its caption, all of one width."""
    values = np.asarray(term.values)
    matrix = values[:, None] if values.ndim == 1 else values.reshape(-1, values.shape[-1] or 1)
    rows, edge = shown_indices(matrix.shape[0]), EDGE
    columns = shown_indices(matrix.shape[1])
    body = _bracketed(matrix, rows, columns, digits)
    while width_of(body[0]) > width and edge >= 1:
        columns = shown_indices(matrix.shape[1], 2 * edge, edge)
        body, edge = _bracketed(matrix, rows, columns, digits), edge - 1
    across = max(width_of(body[0]), width_of(term.caption))
    body = [padded(line, across) for line in body]
    left = (across - width_of(term.caption)) // 2
    return [padded(" " * left + term.caption, across), *body]


def _bracketed(
    matrix: Array, rows: Sequence[int | None], columns: Sequence[int | None], digits: int
) -> list[str]:
    """Write a matrix in brackets; its numbers have the same form in all columns."""
    kept = [k for k in columns if k is not None]
    numbers = [None if i is None else matrix[i, k] for i in rows for k in kept]
    texts = aligned(numbers, digits)
    cells = [texts[k : k + len(kept)] for k in range(0, len(texts), len(kept))]
    gap = columns.index(None) if None in columns else None
    lines = []
    for row in cells:
        parts = row if gap is None else [*row[:gap], ELLIPSIS, *row[gap:]]
        lines.append("  ".join(parts))
    return [
        f"{left}{line}{right}"
        for line, (left, right) in zip(lines, _brackets(len(lines)), strict=True)
    ]


def _brackets(height: int) -> list[tuple[str, str]]:
    if height == 1:
        return [("[", "]")]
    return [("⎡", "⎤"), *[("⎢", "⎥")] * (height - 2), ("⎣", "⎦")]


def _joined(row: Sequence[tuple[str, list[str]]]) -> list[str]:
    """Join blocks, their middles in one line, where the operators stand."""
    height = max(len(block) - 1 for _, block in row)
    middle = 1 + (height - 1) // 2
    lines = [""] * (1 + height)
    for before, block in row:
        above = middle - 1 - (len(block) - 2) // 2
        across = width_of(block[0])
        for k in range(1 + height):
            inside = 0 <= k - above < len(block)
            lines[k] += (before if k == middle else " " * len(before)) + (
                block[k - above] if inside else " " * across
            )
    return [line.rstrip() for line in lines]


def table(
    names: Sequence[str] | None, columns: Sequence[tuple[str, Iterable[Any]]], digits: int
) -> list[str]:
    """Lay out vectors of one length as the columns of a table.

    Parameters
    ----------
    names : sequence of str or None
        The names of the rows; None for numbers from 1.
    columns : sequence of (str, vector)
        The symbol of each column, and its numbers.
    digits : int
        The number of decimal places.
    """
    vectors = [np.asarray(list(values)) for _, values in columns]
    rows = shown_indices(len(vectors[0]))
    labels = [_name(names, k) for k in rows]
    across = max(map(width_of, labels))
    cells = [[padded(label, across, right=names is None) for label in labels]]
    heads = [" " * across]
    for (head, _), vector in zip(columns, vectors, strict=True):
        texts = aligned([None if k is None else vector[k] for k in rows], digits)
        across = max(width_of(head), len(texts[0]))
        cells.append([padded(text, across, right=True) for text in texts])
        heads.append(padded(head, across, right=True))
    lines = ["  ".join(heads), *("  ".join(parts) for parts in zip(*cells, strict=True))]
    return [line.rstrip() for line in lines]


def _name(names: Sequence[str] | None, k: int | None) -> str:
    if k is None:
        return ELLIPSIS
    return str(k + 1) if names is None else shortened_to(names[k], LONGEST_NAME)


def beside(left: Sequence[str], right: Sequence[str]) -> list[str]:
    """Join two tables."""
    across = max(map(width_of, left))
    height = max(len(left), len(right))
    pairs = zip(*([*part, *[""] * (height - len(part))] for part in (left, right)), strict=True)
    return [f"{padded(one, across)}      {other}".rstrip() for one, other in pairs]
