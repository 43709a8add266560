"""What a run measured, and the arithmetic on it.

`Results` is what the JSON file holds; report, pictures and comparison are made from it alone.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Entrant", "Memory", "Point", "Results", "Spread", "geometric_mean", "ratio", "spread"]

SCHEMA = 1
OURS = "gpubp"


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    low: float
    median: float
    high: float


@dataclass
class Entrant:
    """A contender, or a floor.

    Attributes
    ----------
    device : "cpu" or "gpu"; what is compared with what.
    detail : what it ran on.
    absent : why it is absent, or "".
    idle_share : the share of a core that it used while it was not its turn.
    """

    name: str
    device: str
    detail: str = ""
    absent: str = ""
    idle_share: float = 0.0

    @property
    def is_floor(self) -> bool:
        return self.name.startswith("floor")

    @property
    def is_ours(self) -> bool:
        return self.name.startswith(OURS)


@dataclass
class Point:
    """One piece of work, measured on every contender.

    Attributes
    ----------
    work : "step", "predict" or "epoch".
    rows : how many a call goes over.
    rounds : for each entrant the seconds of a call, one median for each round.
    errors : for each contender that has no results here, why.
    skipped : why nothing was measured, or "".
    notes : what else is to be known.
    """

    architecture: str
    optimizer: str
    batch_size: int
    work: str
    rows: int
    rounds: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    skipped: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str, int, str]:
        return self.architecture, self.optimizer, self.batch_size, self.work

    def spread(self, name: str) -> Spread | None:
        """Seconds of a call, over the rounds; None without results."""
        return spread(self.rounds[name]) if self.rounds.get(name) else None

    def floor(self, device: str) -> float | None:
        """Seconds of the bare matmuls: the fastest floor of the device."""
        medians = [
            statistics.median(rounds)
            for name, rounds in self.rounds.items()
            if name.startswith("floor") and (name == "floor-gpu") == (device == "gpu") and rounds
        ]
        return min(medians, default=None)

    def share_of_floor(self, entrant: Entrant) -> float | None:
        """1 where the contender takes no longer than the bare matmuls."""
        floor, taken = self.floor(entrant.device), self.spread(entrant.name)
        return None if floor is None or taken is None else floor / taken.median

    def ratio(self, name: str, ours: str) -> float | None:
        """How many times as long as `ours` the contender takes."""
        theirs, own = self.rounds.get(name), self.rounds.get(ours)
        return ratio(theirs, own) if theirs and own else None


@dataclass
class Memory:
    """Peak bytes of a step; see memory.py."""

    architecture: str
    optimizer: str
    batch_size: int
    contender: str
    step_bytes: int = 0
    process_bytes: int = 0
    device_bytes: int | None = None
    error: str = ""


@dataclass
class Results:
    """A whole run."""

    machine: dict[str, Any]
    versions: dict[str, str]
    commit: str
    date: str
    settings: dict[str, Any]
    entrants: list[Entrant] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)

    def entrant(self, name: str) -> Entrant | None:
        """The one of that name."""
        return next((e for e in self.entrants if e.name == name), None)

    def present(self, device: str | None = None) -> list[Entrant]:
        """The contenders, without floors, that ran."""
        return [
            e
            for e in self.entrants
            if not e.absent and not e.is_floor and device in (None, e.device)
        ]

    def geometric_mean(self, name: str, ours: str, work: str | None = None) -> Mean:
        """Of the ratios of a contender to one of ours, over all points that have both."""
        found = [p.ratio(name, ours) for p in self.points if work in (None, p.work)]
        ratios = [r for r in found if r is not None]
        return Mean(geometric_mean(ratios), min(ratios, default=math.nan), len(ratios))

    def repeat(self, newer: Results) -> None:
        """Replace the points that a newer run on the same machine measured again, and say so."""
        found = {point.key: point for point in newer.points if point.rounds}
        keys = [point.key for point in self.points if point.key in found]
        self.points = [found.get(point.key, point) for point in self.points]
        note = {"date": newer.date, "commit": newer.commit, "points": len(keys)}
        self.settings["repeated"] = [*self.settings.get("repeated", []), note]

    def save(self, path: Path) -> None:
        """Write JSON, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"schema": SCHEMA, **asdict(self)}, file, indent=1)
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what `save` wrote.

        Raises
        ------
        FileNotFoundError : there is no such file.
        ValueError : the file is something else.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(
                f"there is no file {path}, expected results that gpubp bench wrote"
            )
        try:
            with open(path, encoding="utf-8") as file:
                read = json.load(file)
            if read.pop("schema") != SCHEMA:
                raise ValueError("another schema")
            read["entrants"] = [Entrant(**e) for e in read["entrants"]]
            read["points"] = [Point(**p) for p in read["points"]]
            read["memory"] = [Memory(**m) for m in read["memory"]]
            return cls(**read)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path} holds no results of gpubp bench ({error})") from None


@dataclass(frozen=True)
class Mean:
    """A geometric mean of so many ratios, and the least of them."""

    value: float
    least: float
    count: int


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles; of few values, by interpolation."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(low, median, high)


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """The median of the ratios round by round: both of a round had the same machine."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=False))


def geometric_mean(values: Iterable[float]) -> float:
    """NaN of nothing."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan
