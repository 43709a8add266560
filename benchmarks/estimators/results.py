"""The results of the estimators' table, and the arithmetic on them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..json_files import read_results, write_json
from ..parts import FirstCall
from ..results import Entrant, ratio
from .session import CONTENDERS, MATMULS
from .tasks import Task

__all__ = ["EstimatorResults", "Point", "Scores"]

SCHEMA = "estimators-1"


@dataclass
class Point:
    """One task, measured on every contender that takes part.

    Attributes
    ----------
    task : Task
        The piece of work.
    rounds : dict
        For each contender, the seconds of each round.
    cores : dict
        For each contender, the core seconds of its process in each round.
    trials : dict
        For each contender, the seconds of its trial, from which it was decided whether it takes part.
    errors : dict
        For each contender that failed here, the reason.
    """

    task: Task
    rounds: dict[str, list[float]] = field(default_factory=dict)
    cores: dict[str, list[float]] = field(default_factory=dict)
    trials: dict[str, float] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def best(self, library: str) -> str | None:
        """Find the library's contender with the lowest median; None without one."""
        own = [name for name in self.rounds if CONTENDERS[name].library == library]
        return min(own, key=lambda name: statistics.median(self.rounds[name]), default=None)

    def ratio(self) -> float | None:
        """Say how many times as long as gpubp scikit-learn takes, each at its best."""
        return self._ratio(self.rounds)

    def core_ratio(self) -> float | None:
        """Say how many times as many core seconds scikit-learn takes; None for searches.

        The processes that a search starts are not counted, so it has no figure.
        """
        return None if self.task.work == "search" else self._ratio(self.cores)

    def bound(self, cores: int) -> float | None:
        """Say the ratio of a gpubp whose fits are their matmuls alone, spread over all cores without loss.

        None where the bare matmuls were not measured.
        """
        theirs = self.best("scikit-learn")
        if theirs is None or MATMULS not in self.rounds:
            return None
        return cores * ratio(self.rounds[theirs], self.rounds[MATMULS])

    def _ratio(self, measured: Mapping[str, list[float]]) -> float | None:
        theirs, ours = self.best("scikit-learn"), self.best("gpubp")
        if theirs is None or ours is None:
            return None
        return ratio(measured[theirs], measured[ours])


@dataclass
class Scores:
    """Scores on rows held out, one for each seed: accuracy or R².

    Attributes
    ----------
    data, dtype : str
        The data set and the dtype of X.
    found : dict
        The scores of each library.
    """

    data: str
    dtype: str
    found: dict[str, list[float]] = field(default_factory=dict)


@dataclass
class EstimatorResults:
    """A whole run.

    Attributes
    ----------
    machine, versions, commit, date
        As in `benchmarks.results.Results`.
    entrants : list of Entrant
        The contenders.
    points : list of Point
        What was measured.
    scores : list of Scores
        The scores of several seeds.
    first_calls : list of FirstCall
        The first calls of new processes.
    repeated : list of dict
        The later runs that replaced or added points.
    """

    machine: dict[str, Any]
    versions: dict[str, str]
    commit: str
    date: str
    entrants: list[Entrant] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    scores: list[Scores] = field(default_factory=list)
    first_calls: list[FirstCall] = field(default_factory=list)
    repeated: list[dict[str, Any]] = field(default_factory=list)

    def repeat(self, newer: EstimatorResults) -> None:
        """Replace, or add, what a newer run on the same machine has measured, and note it."""
        found = {point.task: point for point in newer.points}
        kept = [found.pop(point.task, point) for point in self.points]
        note = {"date": newer.date, "commit": newer.commit, "points": len(newer.points)}
        note["others_share"] = newer.machine.get("others_share", 0.0)
        self.points, self.repeated = kept + list(found.values()), [*self.repeated, note]
        again = {(scores.data, scores.dtype) for scores in newer.scores}
        self.scores = [s for s in self.scores if (s.data, s.dtype) not in again] + newer.scores
        self.first_calls = newer.first_calls or self.first_calls

    def counted(self) -> str:
        """Say how many results there are."""
        points = f"{len(self.points)} point{'s' if len(self.points) != 1 else ''}"
        return f"{points} and {len(self.scores)} sets of scores" if self.scores else points

    def save(self, path: Path) -> None:
        """Write JSON; after a failure the file is as it was before."""
        write_json(path, {"schema": SCHEMA, **asdict(self)})

    @classmethod
    def load(cls, path: Path) -> EstimatorResults:
        """Read what `save` wrote; the errors are those of `read_results`."""
        return read_results(path, SCHEMA, "gpubp bench --estimators", cls._converted)

    @classmethod
    def _converted(cls, read: dict[str, Any]) -> EstimatorResults:
        for point in read["points"]:
            task = point["task"]
            point["task"] = Task(**{**task, "hidden": tuple(task["hidden"])})
        read["entrants"] = [Entrant(**e) for e in read["entrants"]]
        read["points"] = [Point(**p) for p in read["points"]]
        read["scores"] = [Scores(**s) for s in read["scores"]]
        read["first_calls"] = [FirstCall(**f) for f in read["first_calls"]]
        return cls(**read)
