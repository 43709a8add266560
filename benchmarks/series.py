"""Which points share a table, the title of that table, and the first cells of its rows."""

from __future__ import annotations

from collections.abc import Sequence

from .results import Point, Results
from .table import duration, figures
from .tasks import find_architecture, width_of

__all__ = ["WORKS", "amount", "labels", "lead", "series", "title"]

WORKS = {
    "step": "training step",
    "predict": "prediction",
    "epoch": "whole epoch, thousand rows a second",
}


def series(results: Results) -> list[list[Point]]:
    """Group the points: those of an architecture and a kind of work, and those of all widths."""
    groups: dict[tuple[str, str], list[Point]] = {}
    for point in results.points:
        name = "width" if width_of(point.architecture) else point.architecture
        groups.setdefault((name, point.work), []).append(point)
    names = dict.fromkeys(name for name, _ in groups)
    return [groups[name, work] for name in names for work in WORKS if (name, work) in groups]


def title(points: Sequence[Point]) -> str:
    """Name the network and the kind of work of a group of points."""
    first = points[0]
    shown = str(find_architecture(first.architecture) or first.architecture)
    if width_of(first.architecture):
        shown = f"networks N-N-N-N, {first.optimizer}, {first.batch_size} rows"
    return f"{shown}: {WORKS[first.work]}"


def labels(points: Sequence[Point]) -> list[str]:
    """Name what distinguishes the points of a group; `lead` has the values."""
    first = points[0]
    if width_of(first.architecture):
        return ["N"]
    return ["batch"] if first.work == "predict" else ["optimizer", "batch"]


def lead(point: Point) -> list[str]:
    """Make the first cells of a point's row."""
    values = {
        "N": str(width_of(point.architecture)),
        "batch": str(point.batch_size),
        "optimizer": point.optimizer,
    }
    return [values[label] for label in labels([point])]


def amount(point: Point, seconds: float) -> str:
    """Show a time, or for an epoch how many thousand rows a second it is."""
    if point.work == "epoch":
        return figures(point.rows / seconds / 1000)
    return duration(seconds)
