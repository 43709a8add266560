"""The main tables: gpubp beside the fastest contender of each library, and the ratios between them.

A library takes part with several contenders, such as PyTorch with one thread and with all. At each point
the one with the lowest median counts, and the tables name it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from .contenders import CONTENDERS
from .results import Mean, Point, Results
from .series import WORKS, amount, labels, lead, series, title
from .table import Table
from .tasks import ARCHITECTURES

__all__ = ["fastest", "main_tables", "means_table", "small_table", "steps_in_calls"]

OURS = {"cpu": ("gpubp-numpy", "gpubp-numpy-fit"), "gpu": ("gpubp-cupy",)}
"""The contenders that ratios are taken to, on each device."""


def fastest(point: Point, names: Sequence[str]) -> str | None:
    """Find the contender with the lowest median; None if none has results."""
    taken = {name: spread.median for name in names if (spread := point.spread(name)) is not None}
    return min(taken, key=taken.__getitem__, default=None)


def main_tables(results: Results) -> Iterator[Table]:
    """Make a table for each group of points and each device on which gpubp and a peer ran."""
    for points in series(results):
        for device in OURS:
            table = _main(results, points, device)
            if table.rows:
                yield table


def means_table(results: Results) -> Table:
    """Make the table of geometric means of the ratios to each library's fastest contender."""
    table = Table(
        "times as long as gpubp, each library's fastest contender: geometric mean of the ratios"
        " (least ratio; how many points)",
        ["", "library", *WORKS, "all", "how often which was the fastest"],
    )
    for device in OURS:
        peers = _libraries(results, device)
        for own in _ours(results, device):
            for library, names in peers.items():
                ratios = [(p.work, _ratio(p, names, own)) for p in results.points]
                means = [Mean.of(r for w, r in ratios if w == work) for work in WORKS]
                means.append(Mean.of(r for _, r in ratios))
                if not means[-1].count:
                    continue
                cells = [
                    f"{m.value:.2f} ({m.least:.2f}; {m.count})" if m.count else "" for m in means
                ]
                counts = Counter(
                    fastest(p, names) for p in results.points if _ratio(p, names, own) is not None
                )
                often = ", ".join(f"{_setting(n or '')} {k}" for n, k in counts.most_common())
                table.rows.append([own, library, *cells, often if len(names) > 1 else ""])
    return table


def small_table(results: Results) -> Table:
    """Make the one table of a run of the small networks: a step of each, at its own batch size."""
    ours, peers = _ours(results, "cpu"), _libraries(results, "cpu")
    alone = {"JAX": peers.pop("JAX", [])}  # jit and scan have a column each
    table = Table(
        "gpubp bench --small: Adam's training step in float32",
        [
            *("network", "hidden", "rows", *_titles(ours), *peers),
            *(f"{library} {_setting(name)}" for library, names in alone.items() for name in names),
            *_ratio_titles(ours, {**peers, **alone}),
        ],
    )
    for point in results.points:
        shown = ARCHITECTURES[point.architecture]
        taken = [_time(point, name) for name in ours]
        taken += [_time_of_fastest(point, names) for names in peers.values()]
        taken += [_time(point, name) for names in alone.values() for name in names]
        ratios = [_pair(point, names, ours) for names in (*peers.values(), *alone.values())]
        sizes = "-".join(map(str, shown.sizes))
        row = [sizes, shown.hidden, str(point.batch_size), *taken, *ratios]
        table.rows.append(row)
        table.notes += _errors(point, point.architecture)
    means = []
    for names in (*peers.values(), *alone.values()):
        found = [Mean.of(_ratio(p, names, own) for p in results.points) for own in ours]
        means.append(" / ".join(f"{mean.value:.2f}" for mean in found if mean.count))
    if table.rows:
        blank = len(table.header) - len(means) - 1
        table.rows.append(["geometric mean", *[""] * blank, *means])
    for entrant in results.entrants:
        wanted = entrant.name in results.settings.get("contenders", ())
        if entrant.absent and wanted:
            table.notes.append(f"{entrant.name} is absent: {entrant.absent}")
    table.notes += _explained(ours)
    return table


def steps_in_calls(results: Results) -> list[str]:
    """Say of which contenders one call made several steps, and how many."""
    found: dict[str, list[int]] = {}
    for point in results.points:
        for name, steps in point.steps_in_call.items():
            found.setdefault(name, []).append(steps)
    if not found:
        return []
    counts = (
        f"{name} {min(steps)}" + (f" to {max(steps)}" if len(set(steps)) > 1 else "")
        for name, steps in found.items()
    )
    return [f"steps of one timed call, whose time is divided by them: {', '.join(counts)}"]


def _main(results: Results, points: Sequence[Point], device: str) -> Table:
    """Make the main table of a group of points on a device; empty without a peer."""
    measured = {name for point in points for name in (*point.rounds, *point.errors)}
    ours = [name for name in _ours(results, device) if name in measured]
    peers = {
        library: [name for name in names if name in measured]
        for library, names in _libraries(results, device).items()
    }
    peers = {library: names for library, names in peers.items() if names}
    if not ours or not peers:
        return Table("")
    table = Table(title(points) + (" on the GPU" if device == "gpu" else ""))
    table.header = [*labels(points), *_titles(ours), *peers, "floor", *_ratio_titles(ours, peers)]
    for point in points:
        if not any(point.rounds.get(name) for name in ours):
            continue
        floor = point.floor(device)
        cells = [_time(point, name) for name in ours]
        cells += [_time_of_fastest(point, names) for names in peers.values()]
        cells.append("" if floor is None else amount(point, floor))
        cells += [_pair(point, names, ours) for names in peers.values()]
        table.rows.append([*lead(point), *cells])
    table.notes += _explained(ours)
    return table


def _ours(results: Results, device: str) -> list[str]:
    present = {entrant.name for entrant in results.present(device)}
    return [name for name in OURS[device] if name in present]


def _libraries(results: Results, device: str) -> dict[str, list[str]]:
    """List the contenders of each library that ran on a device."""
    found: dict[str, list[str]] = {}
    for entrant in results.present(device):
        kind = CONTENDERS.get(entrant.name)
        if kind is not None and not entrant.is_ours:
            found.setdefault(kind.library, []).append(entrant.name)
    return found


def _setting(name: str) -> str:
    kind = CONTENDERS.get(name)
    return kind.setting if kind is not None else name


def _titles(ours: Sequence[str]) -> list[str]:
    return [" ".join(filter(None, ("gpubp", _setting(name)))) for name in ours]


def _ratio_titles(ours: Sequence[str], peers: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"{library} ÷ gpubp" for library in peers] if ours else []


def _explained(ours: Sequence[str]) -> list[str]:
    """Say what the two ratios of a cell are."""
    if len(ours) < 2:
        return []
    return ["÷ gpubp: to a step called from Python / to a step within fit"]


def _ratio(point: Point, names: Sequence[str], own: str) -> float | None:
    """Divide the time of the fastest of these contenders by ours; None without results."""
    best = fastest(point, names)
    return None if best is None else point.ratio(best, own)


def _pair(point: Point, names: Sequence[str], ours: Sequence[str]) -> str:
    ratios = [_ratio(point, names, own) for own in ours]
    return " / ".join("–" if ratio is None else f"{ratio:.2f}" for ratio in ratios)


def _time(point: Point, name: str) -> str:
    if name in point.errors:
        return "ERROR"
    spread = point.spread(name)
    if spread is None:
        return ""
    mark = "*" if name == fastest(point, [n for n in point.rounds if n in CONTENDERS]) else ""
    return f"{mark}{amount(point, spread.median)}"


def _time_of_fastest(point: Point, names: Sequence[str]) -> str:
    best = fastest(point, names)
    if best is None:
        return "ERROR" if any(name in point.errors for name in names) else ""
    shown = _time(point, best)
    if len(names) == 1:
        return shown
    mark = "*" if shown.startswith("*") else ""
    return (
        f"{mark}{_setting(best)} {shown.removeprefix('*')}"  # numbers end a cell, below each other
    )


def _errors(point: Point, where: str) -> list[str]:
    return [f"ERROR {name}, {where}: {why}" for name, why in point.errors.items()]
