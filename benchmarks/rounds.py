"""One point of the grid: load and check every contender, then measure in rounds."""

from __future__ import annotations

import time
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress

from . import agreement
from .contenders import CONTENDERS
from .floor import FLOORS
from .machine import available_bytes
from .results import Point
from .settings import Settings
from .tasks import ARCHITECTURES, EPOCH_ROWS
from .worker import ContenderError, Turn, Worker

__all__ = ["Checked", "Usage", "measure", "turns"]

RETAKES = 2
DISTURBED = 0.25
"""If other processes use more than this share of a core during a turn, the turn is repeated."""

Checked = set[tuple[str, str, str]]
"""The contender, architecture and optimizer of each check that was passed."""


def measure(
    settings: Settings,
    points: Sequence[Point],
    workers: Sequence[Worker],
    usage: Usage,
    checked: Checked,
) -> None:
    """Load and check every contender, then measure the points in rounds.

    Parameters
    ----------
    settings : Settings
        The settings of the run.
    points : sequence of Point
        The kinds of work at one point of the grid; they get the results.
    workers : sequence of Worker
        The workers that measure.
    usage : Usage
        The use of the CPU between and beside turns; this point's use is added.
    checked : set
        The checks passed so far; those of this point are added.
    """
    first = points[0]
    training = [w for w in workers if w.name in FLOORS or "step" in CONTENDERS[w.name].works]
    needed = ARCHITECTURES[first.architecture].step_bytes(first.batch_size) * len(training)
    if needed > 0.9 * available_bytes():
        for point in points:
            point.skipped = f"needs about {needed / 2**30:.0f} GiB of memory for all contenders"
        return
    ready = _load(settings, points, workers, checked)
    for point in points:
        # The floor of an epoch is computed from its steps below.
        taking = [
            w
            for w in ready
            if _takes_part(w.name, point) and (point.work != "epoch" or w.name not in FLOORS)
        ]
        limits = settings.rounds, settings.least_rounds, settings.point_seconds
        for number, worker in turns(taking, point.errors, *limits):
            try:
                turn = _undisturbed(settings, worker, point.work)
            except ContenderError as error:
                point.errors[worker.name] = str(error)
                point.rounds.pop(worker.name, None)
                continue
            point.rounds.setdefault(worker.name, []).append(turn.seconds)
            if turn.steps > 1:
                point.steps_in_call[worker.name] = turn.steps
            usage.add("others", turn.others, turn.wall)
            if number:  # before the first round, the process was loading
                usage.add(worker.name, turn.idle_cpu, turn.idle_wall)
    steps = {point.work: point for point in points}
    if "epoch" in steps and "step" in steps:
        for name in FLOORS:
            if rounds := steps["step"].rounds.get(name):
                count = EPOCH_ROWS / first.batch_size
                steps["epoch"].rounds[name] = [count * seconds for seconds in rounds]


def turns(
    workers: Sequence[Worker],
    failed: Container[str],
    rounds: int,
    least_rounds: int,
    seconds: float,
) -> Iterator[tuple[int, Worker]]:
    """Yield the round and the worker of each turn; every round begins with another worker.

    Parameters
    ----------
    workers : sequence of Worker
        The workers that take part.
    failed : container of str
        The names of those that have failed, which get no more turns; it may grow meanwhile.
    rounds, least_rounds : int
        The most rounds, and the fewest.
    seconds : float
        No round begins after the fewest rounds and this many seconds.
    """
    began = time.perf_counter()
    for number in range(rounds):
        if number >= least_rounds and time.perf_counter() - began > seconds:
            break
        shift = number % len(workers) if workers else 0
        for worker in [*workers[shift:], *workers[:shift]]:
            if worker.name not in failed:
                yield number, worker


def _undisturbed(settings: Settings, worker: Worker, work: str) -> Turn:
    """Measure a turn, and repeat it a few times if other processes used much of the machine."""
    turns: list[Turn] = []
    retakes = RETAKES if settings.retakes is None else settings.retakes
    for _ in range(retakes + 1):
        turns.append(worker.call("turn", work, settings.turn_seconds, seconds=settings.patience))
        if turns[-1].others <= DISTURBED * turns[-1].wall:
            break
    return min(turns, key=lambda turn: turn.others / turn.wall)


class Usage:
    """Adds up core seconds and seconds, under names."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, float]] = {}

    def add(self, name: str, cpu: float, wall: float) -> None:
        """Add core seconds and seconds to a name."""
        earlier = self._sums.get(name, (0.0, 0.0))
        self._sums[name] = earlier[0] + cpu, earlier[1] + wall

    def share(self, name: str) -> float:
        """Compute the share of a core under a name."""
        cpu, wall = self._sums.get(name, (0.0, 0.0))
        return cpu / wall if wall else 0.0


def _load(
    settings: Settings, points: Sequence[Point], workers: Sequence[Worker], checked: Checked
) -> list[Worker]:
    """Return the workers that agree with the reference; the points' errors name the others."""
    first = points[0]
    architecture = ARCHITECTURES[first.architecture]
    task = first.architecture, first.optimizer, first.batch_size
    rows = architecture.checked_rows(first.batch_size)
    epoch = any(point.work == "epoch" for point in points)
    workers = [w for w in workers if any(_takes_part(w.name, point) for point in points)]
    ready = []
    for worker in workers:  # all load at the same time: compilers are slow
        _ask_to_load(settings, worker, task, epoch, checked)
    for worker in workers:
        try:
            outcome, error = worker.answer(settings.patience), ""
            if outcome is not None:
                expected = agreement.reference(architecture, first.optimizer, rows)
                error = agreement.difference(outcome, expected)
                if not error:
                    checked.add((worker.name, *task[:2]))
        except ContenderError as failure:
            error = str(failure)
        if error:
            for point in points:
                if _takes_part(worker.name, point):
                    point.errors[worker.name] = error
        else:
            ready.append(worker)
    return ready


def _takes_part(name: str, point: Point) -> bool:
    """Tell whether a contender does this kind of work, and its library has the network's activation."""
    kind = CONTENDERS.get(name)
    hidden = ARCHITECTURES[point.architecture].hidden
    return kind is None or (point.work in kind.works and hidden in kind.activations)


def _ask_to_load(
    settings: Settings,
    worker: Worker,
    task: tuple[str, str, int],
    epoch: bool,
    checked: Checked,
) -> None:
    once = settings.check_peers_once and not worker.name.startswith("gpubp")
    with suppress(ContenderError):  # the answer raises it again
        worker.ask("load", *task, epoch, not (once and (worker.name, *task[:2]) in checked))
