"""The results of a run, and the arithmetic on them.

The JSON file holds one `Results`. Report, pictures and comparison need nothing else.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .json_files import read_results, write_json
from .parts import FirstCall, Peak

__all__ = [
    "Entrant",
    "Memory",
    "Point",
    "Results",
    "Spread",
    "geometric_mean",
    "ratio",
    "spread",
]

SCHEMA = 1
OURS = "gpubp"


@dataclass(frozen=True)
class Spread:
    """Median and quartiles.

    Attributes
    ----------
    low, median, high : float
        First quartile, median and third quartile.
    """

    low: float
    median: float
    high: float


@dataclass
class Entrant:
    """A contender, or a floor.

    Attributes
    ----------
    name : str
        The name in options, results and reports.
    device : str
        "cpu" or "gpu". A contender is compared with the floor of its own device.
    detail : str
        What it ran on.
    absent : str
        Why it is absent, or "".
    idle_share : float
        The share of a core that the process used between its turns.
    """

    name: str
    device: str
    detail: str = ""
    absent: str = ""
    idle_share: float = 0.0

    @property
    def is_floor(self) -> bool:
        """Whether these are bare matmuls."""
        return self.name.startswith("floor")

    @property
    def is_ours(self) -> bool:
        """Whether this is gpubp."""
        return self.name.startswith(OURS)


@dataclass
class Point:
    """One piece of work, measured on every contender.

    Attributes
    ----------
    architecture, optimizer : str
        The names of the architecture and the optimizer.
    batch_size : int
        Rows of a batch.
    work : str
        "step", "predict" or "epoch".
    rows : int
        Rows that one call works on.
    rounds : dict
        For each entrant, the seconds of a call: the median of each round.
    errors : dict
        For each contender that failed here, the reason.
    skipped : str
        Why nothing was measured, or "".
    notes : list of str
        What a reader of the figures must know.
    steps_in_call : dict
        For each contender whose call made several steps, how many; its seconds are those of one step.
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
    steps_in_call: dict[str, int] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, int, str]:
        """The fields that identify the point in another run."""
        return self.architecture, self.optimizer, self.batch_size, self.work

    def spread(self, name: str) -> Spread | None:
        """Compute median and quartiles over the rounds, in seconds of a call; None without results."""
        return spread(self.rounds[name]) if self.rounds.get(name) else None

    def floor(self, device: str) -> float | None:
        """Find the seconds of the bare matmuls on a device, by its fastest floor; None without one."""
        medians = [
            statistics.median(rounds)
            for name, rounds in self.rounds.items()
            if name.startswith("floor") and (name == "floor-gpu") == (device == "gpu") and rounds
        ]
        return min(medians, default=None)

    def share_of_floor(self, entrant: Entrant) -> float | None:
        """Divide the floor's time by the contender's: 1 if both take as long; None without results."""
        floor, taken = self.floor(entrant.device), self.spread(entrant.name)
        return None if floor is None or taken is None else floor / taken.median

    def ratio(self, name: str, ours: str) -> float | None:
        """Say how many times as long as `ours` the contender takes; None without results."""
        theirs, own = self.rounds.get(name), self.rounds.get(ours)
        return ratio(theirs, own) if theirs and own else None


@dataclass
class Memory:
    """Peak memory of a step; see memory.py.

    Attributes
    ----------
    architecture, optimizer, contender : str
        The names of the architecture, the optimizer and the contender.
    batch_size : int
        Rows of the batch.
    step_bytes : int
        Growth of the process, from before the network was loaded to the peak of a step.
    process_bytes : int
        Size of the whole process at that peak.
    device_bytes : int or None
        Growth of the device memory held; None on the CPU.
    error : str
        Why nothing was measured, or "".
    """

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
    """A whole run.

    Attributes
    ----------
    machine : dict
        Processor, cores, memory, operating system, Python.
    versions : dict
        The version of each installed package that matters.
    commit : str
        The checkout's commit, with "+" if it has changes; "" outside a checkout.
    date : str
        When the run began, in ISO format.
    settings : dict
        The fields of `Settings`, and as "repeated" the points that were measured again.
    entrants : list of Entrant
        Contenders and floors, absent ones too.
    points : list of Point
        What was measured.
    memory : list of Memory
        Peak memory, if it was measured.
    peak : Peak or None
        The CPU's arithmetic peak, if it was measured.
    first_calls : list of FirstCall
        What new processes waited for, if it was measured.
    """

    machine: dict[str, Any]
    versions: dict[str, str]
    commit: str
    date: str
    settings: dict[str, Any]
    entrants: list[Entrant] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    peak: Peak | None = None
    first_calls: list[FirstCall] = field(default_factory=list)

    def entrant(self, name: str) -> Entrant | None:
        """Find the entrant with this name; None without one."""
        return next((e for e in self.entrants if e.name == name), None)

    def present(self, device: str | None = None) -> list[Entrant]:
        """List the contenders that ran, without floors."""
        return [
            e
            for e in self.entrants
            if not e.absent and not e.is_floor and device in (None, e.device)
        ]

    def geometric_mean(self, name: str, ours: str, work: str | None = None) -> Mean:
        """Average the ratios of a contender to one of ours over all points that have both."""
        return Mean.of(p.ratio(name, ours) for p in self.points if work in (None, p.work))

    def repeat(self, newer: Results) -> None:
        """Replace points by those of a newer run on the same machine, and note which."""
        found = {point.key: point for point in newer.points if point.rounds}
        keys = [point.key for point in self.points if point.key in found]
        self.points = [found.get(point.key, point) for point in self.points]
        note = {"date": newer.date, "commit": newer.commit, "points": len(keys)}
        self.settings["repeated"] = [*self.settings.get("repeated", []), note]

    def counted(self) -> str:
        """Say how many results there are."""
        found = (
            (len(self.points), "point", "points"),
            (len(self.memory), "figure of memory", "figures of memory"),
            (len(self.first_calls), "first call", "first calls"),
        )
        told = [f"{count} {one if count == 1 else many}" for count, one, many in found if count]
        return " and ".join(told) or "no results"

    def save(self, path: Path) -> None:
        """Write JSON; after a failure the file is as it was before."""
        write_json(path, {"schema": SCHEMA, **asdict(self)})

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what `save` wrote; the errors are those of `read_results`."""
        return read_results(path, SCHEMA, "gpubp bench", cls._converted)

    @classmethod
    def _converted(cls, read: dict[str, Any]) -> Results:
        read["entrants"] = [Entrant(**e) for e in read["entrants"]]
        read["points"] = [Point(**p) for p in read["points"]]
        read["memory"] = [Memory(**m) for m in read["memory"]]
        read["peak"] = Peak(**read["peak"]) if read.get("peak") else None
        read["first_calls"] = [FirstCall(**f) for f in read.get("first_calls", [])]
        return cls(**read)


@dataclass(frozen=True)
class Mean:
    """A geometric mean of ratios.

    Attributes
    ----------
    value, least : float
        The mean, and the smallest ratio; NaN without ratios.
    count : int
        Number of ratios.
    """

    value: float
    least: float
    count: int

    @classmethod
    def of(cls, found: Iterable[float | None]) -> Mean:
        """Average the ratios that there are."""
        ratios = [ratio for ratio in found if ratio is not None]
        return cls(geometric_mean(ratios), min(ratios, default=math.nan), len(ratios))


def spread(values: Sequence[float]) -> Spread:
    """Compute median and quartiles, by interpolation between values."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(low, median, high)


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """Compute the median of the rounds' ratios; within a round, the machine was the same for both."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=False))


def geometric_mean(values: Iterable[float]) -> float:
    """Compute the geometric mean; NaN without values."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan
