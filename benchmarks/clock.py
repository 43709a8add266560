"""The clock of a run with a time limit: it decides which contenders there is still time to measure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from .contenders import CONTENDERS
from .floor import FLOORS
from .results import Point
from .settings import Settings
from .tasks import ARCHITECTURES
from .worker import Worker

__all__ = ["Clock"]


class Clock:
    """Decides what there is still time for; it starts when it is made.

    Parameters
    ----------
    settings : Settings
        The settings of the run, with its grid, budget and patience.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._began = settings, time.monotonic()
        self._left = settings.grid()
        self._spent: dict[str, list[float]] = {}  # by architecture, with all contenders
        self._measuring: tuple[str, float] | None = None

    def workers(self, points: Sequence[Point], workers: Sequence[Worker]) -> Sequence[Worker]:
        """Choose who measures the next points of the grid.

        Parameters
        ----------
        points : sequence of Point
            The kinds of work at one point of the grid. Each notes what is left out.
        workers : sequence of Worker
            All workers of the run.

        Returns
        -------
        sequence of Worker
            The workers that measure.
        """
        settings, now = self._settings, time.monotonic()
        if self._measuring is not None:
            before, began = self._measuring
            self._spent.setdefault(before, []).append(now - began)
        expected, self._left, self._measuring = self._expected(), self._left[1:], None
        if not points:
            return []
        architecture, rows = ARCHITECTURES[points[0].architecture], points[0].batch_size
        taking = list(workers)
        peers = True
        if settings.budget is not None:
            left = settings.budget - (now - self._began)
            if left <= 0:
                for point in points:
                    point.skipped = f"the {settings.budget:.0f} seconds of --budget are spent"
                return []
            if rows in settings.batch_sizes[2:] and expected > left:
                peers, taking = False, [w for w in taking if w.name.startswith(("gpubp", "floor"))]
                self._note(points, "measured without peers: the time of --budget is short")
        work = 3 * rows * architecture.parameters
        if work > settings.short_work:
            short = [name for name, kind in CONTENDERS.items() if kind.for_short_work]
            taking = [w for w in taking if w.name not in short]
        if work > settings.cpu_work:
            kinds: dict[str, Any] = {**CONTENDERS, **FLOORS}
            taking = [w for w in taking if kinds[w.name].device != "cpu"]
            self._note(points, "measured without the CPU, which would take too long")
        if peers:
            self._measuring = architecture.name, now
        return taking

    def patience(self) -> float | None:
        """Compute the seconds to wait for an answer: with a budget, little more than what is left of it."""
        patience, budget = self._settings.patience, self._settings.budget
        if budget is None or patience is None:
            return patience
        return min(patience, max(0.0, budget - (time.monotonic() - self._began)) + 10.0)

    def _expected(self) -> float:
        """Estimate the seconds of the points that are left, from the measured points."""
        usual = {name: sum(spent) / len(spent) for name, spent in self._spent.items()}
        return sum(usual.get(architecture, 0.0) for architecture, _, _ in self._left)

    def _note(self, points: Sequence[Point], note: str) -> None:
        for point in points:
            point.notes.append(note)
