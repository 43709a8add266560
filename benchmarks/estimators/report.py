"""The report of the estimators' table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from ..report import origin
from ..results import geometric_mean, spread
from ..table import Table, duration, noise
from .results import EstimatorResults, Point
from .tasks import CANDIDATES, DATA, FOLDS, Task

__all__ = ["estimator_tables"]

LIBRARIES = ("gpubp", "scikit-learn")


def estimator_tables(results: EstimatorResults) -> list[Table]:
    """Make all tables of the report."""
    report, cores = [_head(results)], int(results.machine["cores"])
    for name in dict.fromkeys(point.task.data for point in results.points):
        points = [p for p in results.points if p.task.data == name and p.task.work != "search"]
        if points:
            report.append(_work(name, points, cores))
    searches = [p for p in results.points if p.task.work == "search"]
    if searches:
        report.append(_work("search", searches, cores))
    report += [t for t in (_means(results), _scores(results), _first(results)) if t.rows]
    return report


def _head(results: EstimatorResults) -> Table:
    table = Table("gpubp bench --estimators", ["contender", "runs on"])
    table.rows = [
        [e.name, f"absent: {e.absent}" if e.absent else e.detail] for e in results.entrants
    ]
    table.notes = origin(results.machine, results.versions, results.commit, results.date)
    others = results.machine.get("others_share", 0.0)
    table.notes.append(f"other processes used {100 * others:.0f} % of a core during the turns")
    for again in results.repeated:
        table.notes.append(
            f"{again['points']} points, scores and first calls measured at commit {again['commit']},"
            f" {again['date']}; others used {100 * again['others_share']:.0f} % of a core"
        )
    return table


def _work(name: str, points: Sequence[Point], cores: int) -> Table:
    """Make the table of a data set, or of the searches."""
    title = f"{name}, {DATA[name].about}" if name in DATA else _search_title(points[0])
    table = Table(
        title,
        [
            *("work", "layers", "dtype", *LIBRARIES),
            *("times as fast", "bare matmuls: times as fast", "core seconds: times as few"),
        ],
    )
    for point in points:
        task = point.task
        work = task.work if task.work == "search" else f"{task.work}, {task.solver}"
        layers = "" if task.work == "search" else _layers(task)
        cells = [_cell(point, library) for library in LIBRARIES]
        ratios = [_ratio(r) for r in (point.ratio(), point.bound(cores), point.core_ratio())]
        table.rows.append([work, layers, task.dtype, *cells, *ratios])
        table.notes += [
            f"ERROR {who}, {work} {layers} {task.dtype}: {why}" for who, why in point.errors.items()
        ]
    return table


def _search_title(point: Point) -> str:
    candidates = math.prod(map(len, CANDIDATES.values()))
    return f"GridSearchCV on {point.task.data}: {candidates} candidates, {FOLDS} folds"


def _cell(point: Point, library: str) -> str:
    """Show the library's fastest contender, and what it ran with if that is not its default."""
    best = point.best(library)
    if best is None:
        return "ERROR"
    taken = spread(point.rounds[best])
    peers = [point.best(other) for other in LIBRARIES]
    least = min(statistics.median(point.rounds[p]) for p in peers if p is not None)
    mark = "*" if taken.median == least else ""
    how = best.removeprefix(library).removeprefix("-").replace("-", " ")
    return f"{mark}{duration(taken.median)} {noise(taken)}" + (f" ({how})" if how else "")


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _means(results: EstimatorResults) -> Table:
    """Make the table of the ratios' means, for each kind of work and for all."""
    dtypes = "float32", "float64"
    table = Table(
        "times as fast as scikit-learn: geometric mean (least to greatest; how many points)",
        ["work", *dtypes],
    )
    kinds: dict[str, list[Point]] = {}
    for point in results.points:
        kinds.setdefault(_kind(point.task), []).append(point)
    for kind, points in {**kinds, "all": results.points}.items():
        cells = [_mean([p for p in points if p.task.dtype == dtype]) for dtype in dtypes]
        if any(cells):
            table.rows.append([kind, *cells])
    return table


def _kind(task: Task) -> str:
    """Say what kind of work a task is."""
    if task.work == "search":
        return "search"
    if not task.is_dense_fit:
        return "sparse rows"
    solvers = "lbfgs" if task.solver == "lbfgs" else "adam and sgd"
    return f"fit, {solvers}, {_layers(task)}"


def _layers(task: Task) -> str:
    return " ".join(map(str, task.hidden))


def _mean(points: Sequence[Point]) -> str:
    ratios = [ratio for p in points if (ratio := p.ratio()) is not None]
    if not ratios:
        return ""
    ends = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return f"{geometric_mean(ratios):.2f} ({ends}; {len(ratios)})"


def _scores(results: EstimatorResults) -> Table:
    """Make the table of scores: the mean over the seeds and the standard deviation."""
    table = Table(
        "scores on a quarter of the rows, mean and deviation over five seeds",
        ["data", "dtype", *LIBRARIES, "mean difference", "its standard error"],
    )
    for entry in results.scores:
        ours, theirs = (entry.found[library] for library in LIBRARIES)
        differences = [a - b for a, b in zip(ours, theirs, strict=True)]
        error = statistics.stdev(differences) / math.sqrt(len(differences))
        cells = [
            f"{statistics.mean(some):.4f} ± {statistics.stdev(some):.4f}" for some in (ours, theirs)
        ]
        shown = [f"{statistics.mean(differences):+.4f}", f"{error:.4f}"]
        table.rows.append([entry.data, entry.dtype, *cells, *shown])
    return table


def _first(results: EstimatorResults) -> Table:
    table = Table(
        "a new process: one epoch on the digits, in float32",
        ["library", "import", "first fit", "second fit"],
    )
    for call in results.first_calls:
        parts = call.imports, call.first, call.second
        table.rows.append([call.kind, *(duration(statistics.median(part)) for part in parts)])
    return table
