"""A training step over the width of its layers: what is measured, and its picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .contenders import CONTENDERS, Contender
from .pictures import COLORS
from .results import Entrant, Point, Results
from .settings import Settings
from .tasks import width_of

__all__ = ["WIDTHS", "draw_widths", "width_settings"]

WIDTHS = (4, 8, 16, 24, 32, 45, 46, 48, 64, 96, 128, 192, 256)
"""45, 46 and 48 are there because of reports that PyTorch's step takes much longer from 46 units on."""
ROWS = 32
FILE = "width-step.png"
COMMAND = "gpubp bench --widths"


def width_settings() -> Settings:
    """Make settings for the picture: Adam's steps on 32 rows, by every contender on the CPU that trains."""
    reason = "compiles for longer than --widths has time; --contenders runs it"
    trains = [k.name for k in CONTENDERS.values() if k.device == "cpu" and issubclass(k, Contender)]
    return Settings(
        tuple(f"width-{width}" for width in WIDTHS),
        batch_sizes=(ROWS,),
        optimizers=("adam",),
        contenders=tuple(trains),
        works=("step",),
        rounds=5,
        turn_seconds=0.03,
        point_seconds=4.0,
        left_out=tuple((name, reason) for name in trains if "compile" in name),
        retakes=0,
        budget=170.0,
    )


def draw_widths(results: Results, folder: Path) -> list[Path]:
    """Draw the time of a step over the width, with a line for each contender and the bare matmuls.

    Parameters
    ----------
    results : Results
        The results of a run.
    folder : Path
        The folder for the picture; it is made if it does not exist.

    Returns
    -------
    list of Path
        The file written; none if fewer than two widths were measured.
    """
    points = [
        p for p in results.points if width_of(p.architecture) and p.work == "step" and p.rounds
    ]
    if len(points) < 2:
        return []
    from matplotlib.figure import Figure  # noqa: PLC0415

    points.sort(key=_width)
    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(9.4, 5.8), layout="constrained")
    axes = figure.subplots()
    ends = [end for entrant in results.present() if (end := _line(axes, entrant, points))]
    floors = [(_width(p), 1e6 * floor) for p in points if (floor := p.floor("cpu"))]
    if floors:
        axes.plot(*zip(*floors, strict=True), color="#555555", lw=1.1, ls=(0, (4, 2)))
        ends.append((floors[-1][1], "bare matmuls", "#555555", False))
    _scales(axes, points)
    axes.set_xlim(0.87 * _width(points[0]), 1.02 * _width(points[-1]))
    _labels(axes, ends, _width(points[-1]))
    first = points[0]
    title = "Time of a training step over the width of the layers"
    axes.set_title(title, loc="left", pad=36, fontsize=12.5, fontweight="bold")
    axes.text(
        *(0, 1.02),
        f"network N-N-N-N with relu, {first.batch_size} rows, {first.optimizer.capitalize()}, float32;"
        f" medians, and bands between the quartiles\n{results.machine['processor']}",
        transform=axes.transAxes,
        fontsize=9,
        color="#555555",
    )
    path = folder / FILE
    figure.savefig(path, dpi=150)
    return [path]


def _width(point: Point) -> int:
    width = width_of(point.architecture)
    assert width is not None
    return width


End = tuple[float, str, str, bool]
"""Where a line ends, in microseconds, its label and colour, and whether it is gpubp's."""


def _line(axes: Any, entrant: Entrant, points: Sequence[Point]) -> End | None:
    """Draw a line through a contender's medians and a band between the quartiles."""
    taken = [(_width(p), s) for p in points if (s := p.spread(entrant.name)) is not None]
    if not taken:
        return None
    widths, spreads = zip(*taken, strict=True)
    color, dashes = _style(entrant.name)
    ours = entrant.is_ours
    medians = [1e6 * s.median for s in spreads]
    axes.plot(
        widths,
        medians,
        marker="o",
        ms=4.5 if ours else 3,
        lw=2.6 if ours else 1.5,
        ls=dashes,
        color=color,
        zorder=3 if ours else 2,
    )
    low, high = [1e6 * s.low for s in spreads], [1e6 * s.high for s in spreads]
    axes.fill_between(widths, low, high, color=color, alpha=0.13, lw=0)
    return medians[-1], entrant.name, color, ours


def _style(name: str) -> tuple[str, Any]:
    """Choose a colour and a line: one thread, and a variant without a colour of its own, have dots."""
    known = max((known for known in COLORS if name.startswith(known)), key=len, default="")
    has_dots = name != known or name.endswith("-1-thread")
    return COLORS.get(known, "#111111"), (0, (1, 1.2)) if has_dots else "-"


def _scales(axes: Any, points: Sequence[Point]) -> None:
    """Make both axes logarithmic, and name the widths that have room for a label."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator  # noqa: PLC0415

    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    widths = [_width(p) for p in points]
    axes.set_xticks(widths, _width_labels(widths))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(_time))
    axes.grid(alpha=0.25, which="major", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    axes.set_xlabel("N, units in each layer", fontsize=10)
    axes.set_ylabel("time of a step (less is better)", fontsize=10)


def _width_labels(widths: Sequence[int]) -> list[str]:
    """Label the widths; of some that are too near each other for that, the middle one has a range."""
    groups: list[list[int]] = []
    for width in widths:
        if groups and width / groups[-1][-1] < 1.1:
            groups[-1].append(width)
        else:
            groups.append([width])
    labels = []
    for group in groups:
        middle = len(group) // 2
        named = f"{group[0]}–{group[-1]}" if len(group) > 1 else str(group[0])
        labels += [named if k == middle else "" for k in range(len(group))]
    return labels


def _time(microseconds: float, _: int) -> str:
    return f"{microseconds:g} µs" if microseconds < 1000 else f"{microseconds / 1000:g} ms"


def _labels(axes: Any, ends: Sequence[End], last: int) -> None:
    """Write each line's name right of its end, moved up or down where names would overlap."""
    low, high = (math.log(bound) for bound in axes.get_ylim())
    ordered = sorted(ends)
    least = 0.043 * (high - low)  # between two names
    places = [math.log(end[0]) for end in ordered]
    for _ in range(200):  # push neighbours apart until no two overlap
        for k in range(len(places) - 1):
            short = least - (places[k + 1] - places[k])
            if short > 1e-9:
                places[k] -= short / 2
                places[k + 1] += short / 2
    for (end, name, color, ours), place in zip(ordered, places, strict=True):
        height = math.exp(place)
        axes.plot((1.04 * last, 1.14 * last), (end, height), color=color, lw=0.8, clip_on=False)
        weight = "bold" if ours else "normal"
        axes.text(
            1.17 * last, height, name, color=color, fontsize=10, fontweight=weight, va="center"
        )
