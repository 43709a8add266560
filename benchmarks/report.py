"""The report: main tables, every contender's times and ratios, absent contenders, errors."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from .best import main_tables, means_table, small_table, steps_in_calls
from .compare import Change, Comparison
from .parts_report import first_calls, has_peak, peak_lines, percent, share_of_peak
from .results import Entrant, Point, Results
from .series import WORKS, amount, labels, lead, series, title
from .table import Table, noise

__all__ = ["comparison_tables", "origin", "tables"]


def tables(results: Results) -> list[Table]:
    """Make all tables of the report; a run of the small networks has one."""
    if not results.settings.get("batch_sizes", True):
        table = small_table(results)
        table.notes = [*_notes(results), *table.notes]
        return [table]
    report = [_head(results), *main_tables(results), means_table(results)]
    report += [_work(results, points) for points in series(results)]
    report += [_ratios(results), _memory(results), first_calls(results)]
    return [table for table in report if table.rows or table.notes]


def _head(results: Results) -> Table:
    table = Table("gpubp bench", ["contender", "runs on", "CPU between turns"])
    if results.first_calls:  # their processes have no turns
        table.header.pop()
    for entrant in results.entrants:
        if entrant.absent:
            row = [entrant.name, f"absent: {entrant.absent}", ""]
        else:
            row = [entrant.name, entrant.detail, f"{100 * entrant.idle_share:.1f} % of a core"]
        table.rows.append(row[: len(table.header)])
    table.notes = _notes(results)
    return table


def _notes(results: Results) -> list[str]:
    """Say where and how the results were measured."""
    machine = results.machine
    notes = origin(machine, results.versions, results.commit, results.date)
    notes += peak_lines(results)
    for again in results.settings.get("repeated", []):
        notes.append(
            f"{again['points']} points measured again at commit {again['commit']}, {again['date']}"
        )
    others, busy = machine.get("others_share", 0.0), results.settings.get("busy", 0)
    notes.append(
        f"other processes used {100 * others:.0f} % of a core while contenders measured"
        + (f"; {busy} of them kept cores busy for this run" if busy else "")
        + (": repeat the run on a quieter machine" if others > 0.1 and not busy else "")
    )
    return notes + steps_in_calls(results)


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
    """Make the table of all contenders at a group of points: a row for each point."""
    named = {name for point in points for name in (*point.rounds, *point.errors)}
    entrants = [e for e in results.present() if e.name in named]
    ours = [e for e in entrants if e.is_ours]
    at_peak = [e for e in ours if e.device == "cpu" and has_peak(results)]
    at_peak = at_peak if points[0].work == "step" else []
    table = Table(f"{title(points)}, every contender")
    table.header = [*labels(points), *(e.name for e in entrants), "floor"]
    table.header += [f"{e.name}: share of floor" for e in ours]
    table.header += [f"{e.name}: share of peak" for e in at_peak]
    for point in points:
        first = lead(point)
        if point.skipped:
            table.notes.append(f"{labels(points)[-1]} {first[-1]} skipped: {point.skipped}")
            continue
        cells = [_cell(point, e) for e in entrants]
        floors = [point.floor(device) for device in dict.fromkeys(e.device for e in entrants)]
        cells.append(" / ".join(amount(point, f) for f in floors if f is not None))
        shares = [point.share_of_floor(e) for e in ours]
        cells += ["" if s is None else f"{100 * s:.0f} %" for s in shares]
        cells += [percent(share_of_peak(results, point, e)) for e in at_peak]
        table.rows.append([*first, *cells])
        table.notes += [f"{' '.join(first)}: {note}" for note in point.notes]
        table.notes += [
            f"ERROR {name}, {' '.join(first)}: {why}" for name, why in point.errors.items()
        ]
    return table


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
    return f"{mark}{amount(point, taken.median)} {noise(taken)}"


def _ratios(results: Results) -> Table:
    """Make the table of ratios: how many times as long as gpubp each peer takes, as a geometric mean."""
    table = Table(
        "times as long as gpubp, every contender: geometric mean of the ratios"
        " (least ratio; how many points)",
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
            if any(cells):
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
