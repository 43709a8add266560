"""The report: a table for each architecture and kind of work, ratios, absent contenders, errors.

If rich is installed, it prints the tables; otherwise they are plain text.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .compare import Change, Comparison
from .results import Entrant, Point, Results, Spread
from .tasks import ARCHITECTURES

__all__ = [
    "Table",
    "comparison_tables",
    "duration",
    "markdown",
    "noise",
    "origin",
    "share_of_peak",
    "show",
    "tables",
]

WORKS = {
    "step": "training step",
    "predict": "prediction",
    "epoch": "whole epoch, thousand rows a second",
}


@dataclass
class Table:
    """A table of text.

    Attributes
    ----------
    title : str
        The line above the table.
    header : list of str
        Titles of the columns.
    rows : list of list of str
        A cell for each column. The fastest time of a row begins with "*".
    notes : list of str
        Lines under the table.
    """

    title: str
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def tables(results: Results) -> list[Table]:
    """Make all tables of the report."""
    report = [_head(results)]
    names = dict.fromkeys(point.architecture for point in results.points)
    for name in names:
        for work in WORKS:
            points = [p for p in results.points if (p.architecture, p.work) == (name, work)]
            if points:
                report.append(_work(results, points))
    report += [t for t in (_ratios(results), _memory(results)) if t.rows]
    return report


def _head(results: Results) -> Table:
    machine = results.machine
    table = Table("gpubp bench", ["contender", "runs on", "CPU between turns"])
    for entrant in results.entrants:
        if entrant.absent:
            table.rows.append([entrant.name, f"absent: {entrant.absent}", ""])
        else:
            table.rows.append(
                [entrant.name, entrant.detail, f"{100 * entrant.idle_share:.1f} % of a core"]
            )
    table.notes = origin(machine, results.versions, results.commit, results.date)
    table.notes += _peak_lines(results)
    for again in results.settings.get("repeated", []):
        table.notes.append(
            f"{again['points']} points measured again at commit {again['commit']}, {again['date']}"
        )
    others = machine.get("others_share", 0.0)
    table.notes.append(
        f"other processes used {100 * others:.0f} % of a core while contenders measured"
        + (": repeat the run on a quieter machine" if others > 0.1 else "")
    )
    return table


def _peak_lines(results: Results) -> list[str]:
    """Say how fast the CPU multiplies and adds in registers, if it was measured."""
    peak = results.peak
    if peak is None:
        return []
    if peak.absent:
        return [f"peak absent: {peak.absent}"]
    shown = [
        f"{one / 1e9:.0f} on one thread and {peak.all_threads[dtype] / 1e9:.0f} on {peak.threads}"
        f" in {dtype}"
        for dtype, one in peak.one_thread.items()
    ]
    return [f"peak, multiply-adds in registers, GFLOP/s: {'; '.join(shown)}"]


def origin(
    machine: Mapping[str, Any], versions: Mapping[str, str], commit: str, date: str
) -> list[str]:
    """Say where a run's results come from."""
    packages = ", ".join(f"{name} {v}" for name, v in versions.items())
    environment = " ".join(
        f"{k}={shlex.quote(v)}" for k, v in machine.get("environment", {}).items()
    )
    return [
        f"{machine['processor']}; {machine['cores']} cores usable; {machine['system']}",
        f"Python {machine['python']}, {packages}",
        f"commit {commit or 'unknown'}, {date}",
        *([f"run with {environment}"] if environment else []),
    ]


def _work(results: Results, points: Sequence[Point]) -> Table:
    """Make the table of an architecture and a kind of work: a row for each batch size."""
    first = points[0]
    shown = ARCHITECTURES.get(first.architecture, first.architecture)
    entrants = results.present()
    ours = [e for e in entrants if e.is_ours]
    table = Table(f"{shown}: {WORKS[first.work]}")
    labels = ["batch"] if first.work == "predict" else ["optimizer", "batch"]
    table.header = [*labels, *(e.name for e in entrants), "floor"]
    table.header += [f"{e.name}: share of floor" for e in ours]
    at_peak = [e for e in ours if e.device == "cpu" and first.work == "step" and _has_peak(results)]
    table.header += [f"{e.name}: share of peak" for e in at_peak]
    for point in points:
        lead = [f"{point.batch_size}"]
        if first.work != "predict":
            lead.insert(0, point.optimizer)
        if point.skipped:
            table.notes.append(f"batch {point.batch_size} skipped: {point.skipped}")
            continue
        cells = [_cell(point, e) for e in entrants]
        floors = [point.floor(device) for device in dict.fromkeys(e.device for e in entrants)]
        floor = " / ".join(_amount(point, f) for f in floors if f is not None)
        shares = [point.share_of_floor(e) for e in ours]
        shares += [share_of_peak(results, point, e) for e in at_peak]
        table.rows.append(
            [*lead, *cells, floor, *("" if s is None else f"{100 * s:.0f} %" for s in shares)]
        )
        table.notes += [f"{' '.join(lead)}: {note}" for note in point.notes]
        table.notes += [
            f"ERROR {name}, {' '.join(lead)}: {why}" for name, why in point.errors.items()
        ]
    return table


def _has_peak(results: Results) -> bool:
    return results.peak is not None and not results.peak.absent


def share_of_peak(results: Results, point: Point, entrant: Entrant) -> float | None:
    """Divide the time of a step's multiply-adds at the peak by the contender's; None without results."""
    architecture, taken = ARCHITECTURES.get(point.architecture), point.spread(entrant.name)
    if results.peak is None or architecture is None or taken is None:
        return None
    return results.peak.share(architecture.step_multiply_adds(point.batch_size), taken.median)


def _cell(point: Point, entrant: Entrant) -> str:
    if entrant.name in point.errors:
        return "ERROR"
    taken = point.spread(entrant.name)
    if taken is None:
        return ""
    best = min(
        s.median
        for name in point.rounds
        if not name.startswith("floor") and (s := point.spread(name)) is not None
    )
    mark = "*" if taken.median == best else ""
    return f"{mark}{_amount(point, taken.median)} {noise(taken)}"


def _amount(point: Point, seconds: float) -> str:
    if point.work == "epoch":
        return _figures(point.rows / seconds / 1000)
    return duration(seconds)


def noise(taken: Spread) -> str:
    """Show half the interquartile range, relative to the median."""
    return f"±{100 * (taken.high - taken.low) / 2 / taken.median:.0f}%"


def duration(seconds: float) -> str:
    """Show a time with three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= 0.9995 * size:
            return f"{_figures(seconds / size)} {unit}"
    return f"{_figures(seconds * 1e6)} µs"


def _figures(value: float) -> str:
    """Show three significant digits, never in powers of ten."""
    rounded = float(f"{value:.2e}")
    digits = 2 - math.floor(math.log10(rounded)) if value > 0 else 0
    return f"{value:.{min(max(digits, 0), 3)}f}"


def _ratios(results: Results) -> Table:
    """Make the table of ratios: how many times as long as gpubp each peer takes, as a geometric mean."""
    table = Table(
        "times as long as gpubp: geometric mean of the ratios (least ratio; how many points)",
        ["", "peer", *WORKS, "all"],
    )
    entrants = results.present()
    for own in (e for e in entrants if e.is_ours):
        for peer in entrants:
            if peer is own:
                continue
            works: list[str | None] = [*WORKS, None]
            means = [results.geometric_mean(peer.name, own.name, work) for work in works]
            cells = [f"{m.value:.2f} ({m.least:.2f}; {m.count})" if m.count else "" for m in means]
            table.rows.append([own.name, peer.name, *cells])
    return table


def _memory(results: Results) -> Table:
    names = list(dict.fromkeys(m.contender for m in results.memory))
    table = Table(
        "peak memory of a training step, MiB, libraries excluded (in brackets: the whole process)",
        ["architecture", "optimizer", "batch", *names],
    )
    found = {(m.architecture, m.optimizer, m.batch_size, m.contender): m for m in results.memory}
    for key in dict.fromkeys(key[:3] for key in found):
        cells = []
        for name in names:
            entry = found.get((*key, name))
            if entry is None or entry.error:
                cells.append("ERROR" if entry else "")
                if entry:
                    table.notes.append(f"ERROR {name}, {key[0]}, batch {key[2]}: {entry.error}")
                continue
            used, whole = entry.step_bytes / 2**20, entry.process_bytes / 2**20
            device = entry.device_bytes
            on_device = "" if device is None else f" + {device / 2**20:.0f} on the device"
            cells.append(f"{used:.1f} ({whole:.0f}){on_device}")
        table.rows.append([key[0], key[1], str(key[2]), *cells])
    return table


def comparison_tables(comparison: Comparison, path: str) -> list[Table]:
    """Make the tables of what changed since the results in `path`."""

    def table(title: str, changes: Sequence[Change]) -> Table:
        rows = [
            [
                c.name,
                c.point.architecture,
                c.point.work,
                c.point.optimizer,
                str(c.point.batch_size),
                f"{c.factor:.2f}",
            ]
            for c in changes
        ]
        header = ["contender", "architecture", "work", "optimizer", "batch", "times as long"]
        return Table(title, header, rows)

    slower = table(f"slower than in {path}", comparison.slower)
    faster = table(f"faster than in {path}", comparison.faster)
    both = Table(f"against {path}")
    both.notes = [
        f"{len(comparison.slower)} of {comparison.compared} results of gpubp are slower beyond the noise,"
        f" {len(comparison.faster)} are faster",
        *(f"no longer measured: {line}" for line in comparison.missing),
    ]
    if not math.isnan(comparison.machine):
        both.notes.append(
            f"everything else takes {comparison.machine:.2f} times as long as then: the machine's part"
        )
    return [t for t in (slower, faster) if t.rows] + [both]


def show(report: Sequence[Table], write: Callable[[str], None] = print) -> None:
    """Print the tables, with rich if it is installed."""
    try:
        from rich.console import Console  # noqa: PLC0415
    except ImportError:
        for table in report:
            write(plain(table))
        return
    console = Console()
    # A wide table that a pager can scroll is better than one that is squeezed into the screen.
    console.width = max(console.width, 100 if console.is_terminal else 160)
    for table in report:
        console.print(_rich(table))
        for line in table.notes:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        console.print()


def _rich(table: Table) -> Any:
    from rich import box, text  # noqa: PLC0415
    from rich import table as rich_table  # noqa: PLC0415

    title = text.Text(table.title, style="bold")
    if not table.header:
        return title
    drawn = rich_table.Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    words = table.header[0] == "contender"
    for k, name in enumerate(table.header):
        drawn.add_column(name, justify="left" if words or k == 0 else "right")
    for row in table.rows:
        cells = []
        for cell in row:
            style = "green" if cell.startswith("*") else "red" if cell == "ERROR" else ""
            cells.append(text.Text(cell.removeprefix("*"), style=f"bold {style}" if style else ""))
        drawn.add_row(*cells)
    return drawn


def plain(table: Table) -> str:
    """Lay out the table with spaces; * marks the fastest time."""
    lines = [table.title]
    if table.header:
        body = [table.header, *table.rows]
        widths = [max(len(row[k]) for row in body) for k in range(len(table.header))]
        for row in body:
            cells = [cell.ljust(w) for cell, w in zip(row, widths, strict=True)]
            lines.append("  ".join(cells).rstrip())
    return "\n".join([*lines, *table.notes, ""])


def markdown(table: Table) -> str:
    """Write the table in Markdown; the fastest time is bold."""
    lines = [f"**{table.title}**", ""]
    if table.header:
        lines.append(f"| {' | '.join(table.header)} |")
        lines.append(f"|{'---|' * len(table.header)}")
        for row in table.rows:
            cells = [f"**{cell[1:]}**" if cell.startswith("*") else cell for cell in row]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    for note in table.notes:
        lines += [f"- {note}"]
    return "\n".join([*lines, ""] if table.notes else lines)
