"""What the report says of the arithmetic peak and of first calls."""

from __future__ import annotations

import statistics

from .results import Entrant, Point, Results
from .table import Table, duration
from .tasks import find_architecture

__all__ = ["first_calls", "has_peak", "peak_lines", "percent", "share_of_peak"]


def peak_lines(results: Results) -> list[str]:
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


def has_peak(results: Results) -> bool:
    """Tell whether the peak was measured."""
    return results.peak is not None and not results.peak.absent


def share_of_peak(results: Results, point: Point, entrant: Entrant) -> float | None:
    """Divide the time of a step's multiply-adds at the peak by the contender's; None without results."""
    architecture, taken = find_architecture(point.architecture), point.spread(entrant.name)
    if results.peak is None or architecture is None or taken is None:
        return None
    return results.peak.share(architecture.step_multiply_adds(point.batch_size), taken.median)


def percent(share: float | None) -> str:
    """Show a share with two digits or more; "" for None."""
    if share is None:
        return ""
    return f"{100 * share:.{0 if share >= 0.0995 else 1 if share >= 0.00995 else 2}f} %"


def first_calls(results: Results) -> Table:
    """Make the table of first calls: medians over the processes of each kind."""
    table = Table(
        "a new process: imports, and from there to the end of the first training step",
        [
            "new process of",
            "network",
            *("imports", "first step", "together", "second step", "processes"),
        ],
    )
    for call in results.first_calls:
        shown = str(find_architecture(call.network) or call.network)
        if call.failed:
            table.rows.append([call.kind, shown, *["ERROR"] * 4, "0"])
            table.notes.append(f"ERROR {call.kind}, {call.network}: {call.failed}")
            continue
        if not call.first:
            table.notes.append(f"{call.kind}, {call.network}: left out, because the time was short")
            continue
        both = [a + b for a, b in zip(call.imports, call.first, strict=True)]
        parts = call.imports, call.first, both, call.second
        cells = [duration(statistics.median(part)) for part in parts]
        table.rows.append([call.kind, shown, *cells, str(len(both))])
    return table
