"""Run the contenders over the grid, in rounds, and collect what they measured."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import gpubp

from . import agreement
from .contenders import CONTENDERS, AbsentError, Contender, has_gpu
from .floor import FLOORS, Floor
from .results import Entrant, Memory, Point, Results
from .tasks import ARCHITECTURES, BATCH_SIZES, EPOCH_BATCH_SIZES, EPOCH_ROWS, OPTIMIZERS
from .worker import ContenderError, Turn, Worker

__all__ = ["Settings", "quick", "run_suite"]

WORKS = ("step", "predict", "epoch")
PACKAGES = (
    "gpubp",
    "numpy",
    "scipy",
    "torch",
    "jax",
    "jaxlib",
    "scikit-learn",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "nvmath-python",
)


RETAKES = 2
DISTURBED = 0.25
"""The share of a core from which other processes' work makes a turn be taken again."""


@dataclass(frozen=True)
class Settings:
    """What to measure, and how long.

    Attributes
    ----------
    rounds : at most; a point ends after `least_rounds` once its `point_seconds` are spent.
    turn_seconds : how long a contender measures in each round.
    left_out : contenders, and why they are not run.
    """

    architectures: tuple[str, ...]
    batch_sizes: tuple[int, ...] = BATCH_SIZES
    optimizers: tuple[str, ...] = tuple(OPTIMIZERS)
    contenders: tuple[str, ...] = tuple(CONTENDERS)
    works: tuple[str, ...] = WORKS
    rounds: int = 7
    least_rounds: int = 3
    turn_seconds: float = 0.1
    point_seconds: float = 8.0
    memory: bool = False
    left_out: tuple[tuple[str, str], ...] = ()


def default_architectures() -> tuple[str, ...]:
    """Those made for GPUs only where there is one."""
    return tuple(a.name for a in ARCHITECTURES.values() if has_gpu() or not a.for_gpu)


def quick() -> Settings:
    """Under a minute: two networks and batch sizes, one optimizer, few rounds, nothing slow to compile."""
    reason = "compiles for longer than --quick may take; --contenders runs it"
    slow = [name for name in CONTENDERS if name.endswith("-compile")]
    return Settings(
        ("classifier", "narrow"),
        batch_sizes=(32, 2048),
        optimizers=("sgd",),
        works=("step", "predict"),
        rounds=3,
        turn_seconds=0.05,
        point_seconds=1.5,
        left_out=tuple((name, reason) for name in slow),
    )


def run_suite(settings: Settings, tell: Callable[[str], None] = lambda line: None) -> Results:
    """Measure; `tell` is told where it is."""
    results = Results(
        machine=_machine(),
        versions=_versions(),
        commit=_commit(),
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        settings=asdict(settings),
    )
    with ExitStack() as stack:
        workers = _open(settings, results, stack, tell)
        usage = Usage()
        for architecture in settings.architectures:
            for batch_size in settings.batch_sizes:
                for optimizer in settings.optimizers:
                    tell(f"{architecture}, batch {batch_size}, {optimizer}")
                    works = _works(settings, batch_size, optimizer)
                    points = [
                        Point(architecture, optimizer, batch_size, w, _rows(w, batch_size))
                        for w in works
                    ]
                    results.points += points
                    _measure(settings, points, workers, usage)
        for entrant in results.entrants:
            entrant.idle_share = usage.share(entrant.name)
        results.machine["others_share"] = usage.share("others")
    if settings.memory:
        results.memory = list(_memory(settings, results, tell))
    return results


def _open(
    settings: Settings, results: Results, stack: ExitStack, tell: Callable[[str], None]
) -> list[Worker]:
    """A worker for every contender and floor that can run; the reason for each that cannot."""
    tell("starting the contenders")
    left_out = dict(settings.left_out)
    started = []
    kinds: dict[str, type[Contender] | type[Floor]] = {**CONTENDERS, **FLOORS}
    devices = {CONTENDERS[name].device for name in settings.contenders}
    for name, kind in kinds.items():
        entrant = Entrant(name, kind.device)
        results.entrants.append(entrant)
        if kind.device == "gpu" and not has_gpu():
            entrant.absent = "no NVIDIA GPU here"
        elif name in CONTENDERS and name not in settings.contenders:
            entrant.absent = left_out.get(name, "not among --contenders")
        elif name in FLOORS and kind.device not in devices:
            entrant.absent = f"no contender on the {kind.device} among --contenders"
        else:
            started.append((entrant, stack.enter_context(Worker(name))))
    for _, worker in started:
        worker.ask("open")
    workers = []
    for entrant, worker in started:
        try:
            entrant.detail = worker.answer()
            workers.append(worker)
        except (AbsentError, ContenderError) as error:
            entrant.absent = str(error)
            worker.close()
    return workers


def _works(settings: Settings, batch_size: int, optimizer: str) -> list[str]:
    """A prediction has no optimizer: it is measured once."""
    works = ["step"] if "step" in settings.works else []
    if "predict" in settings.works and optimizer == settings.optimizers[0]:
        works.append("predict")
    if "epoch" in settings.works and batch_size in EPOCH_BATCH_SIZES:
        works.append("epoch")
    return works


def _rows(work: str, batch_size: int) -> int:
    return EPOCH_ROWS if work == "epoch" else batch_size


def _measure(
    settings: Settings,
    points: Sequence[Point],
    workers: Sequence[Worker],
    usage: Usage,
) -> None:
    """Load and check every contender, then measure the points in rounds."""
    if not points:
        return
    first = points[0]
    needed = ARCHITECTURES[first.architecture].step_bytes(first.batch_size) * len(workers)
    if needed > 0.9 * _available_bytes():
        for point in points:
            point.skipped = f"needs about {needed / 2**30:.0f} GiB of memory for all contenders"
        return
    ready = _load(points, workers)
    for point in points:
        # An epoch's floor is that of its steps.
        taking = [w for w in ready if point.work != "epoch" or w.name not in FLOORS]
        began = time.perf_counter()
        for number in range(settings.rounds):
            spent = time.perf_counter() - began
            if number >= settings.least_rounds and spent > settings.point_seconds:
                break
            shift = number % len(taking) if taking else 0
            for worker in [*taking[shift:], *taking[:shift]]:
                if worker.name in point.errors:
                    continue
                try:
                    turn = _undisturbed(worker, point.work, settings.turn_seconds)
                except ContenderError as error:
                    point.errors[worker.name] = str(error)
                    point.rounds.pop(worker.name, None)
                    continue
                point.rounds.setdefault(worker.name, []).append(turn.seconds)
                usage.add("others", turn.others, turn.wall)
                if number:  # before the first round the process was loading
                    usage.add(worker.name, turn.idle_cpu, turn.idle_wall)
    steps = {point.work: point for point in points}
    if "epoch" in steps and "step" in steps:
        for name in FLOORS:
            if rounds := steps["step"].rounds.get(name):
                count = EPOCH_ROWS / first.batch_size
                steps["epoch"].rounds[name] = [count * seconds for seconds in rounds]


def _undisturbed(worker: Worker, work: str, seconds: float) -> Turn:
    """A turn; taken again, a few times, where other processes had much of the machine meanwhile."""
    turns: list[Turn] = []
    for _ in range(RETAKES + 1):
        turns.append(worker.call("turn", work, seconds))
        if turns[-1].others <= DISTURBED * turns[-1].wall:
            break
    return min(turns, key=lambda turn: turn.others / turn.wall)


class Usage:
    """Core seconds by seconds, summed up."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, float]] = {}

    def add(self, name: str, cpu: float, wall: float) -> None:
        """Add to a sum."""
        earlier = self._sums.get(name, (0.0, 0.0))
        self._sums[name] = earlier[0] + cpu, earlier[1] + wall

    def share(self, name: str) -> float:
        """Of a core."""
        cpu, wall = self._sums.get(name, (0.0, 0.0))
        return cpu / wall if wall else 0.0


def _load(points: Sequence[Point], workers: Sequence[Worker]) -> list[Worker]:
    """The workers that agree with the reference; the others are named in the points' errors."""
    first = points[0]
    task = first.architecture, first.optimizer, first.batch_size
    expected = agreement.reference(ARCHITECTURES[first.architecture], *task[1:])
    epoch = any(point.work == "epoch" for point in points)
    ready = []
    for worker in workers:
        try:
            outcome = worker.call("load", *task, epoch)
            error = "" if outcome is None else agreement.difference(outcome, expected)
        except ContenderError as failure:
            error = str(failure)
        if error:
            for point in points:
                point.errors[worker.name] = error
        else:
            ready.append(worker)
    return ready


def _memory(settings: Settings, results: Results, tell: Callable[[str], None]) -> Iterator[Memory]:
    """Each in a fresh process, one after another."""
    present = [entrant.name for entrant in results.present()]
    optimizer = settings.optimizers[0]
    for architecture in settings.architectures:
        for batch_size in settings.batch_sizes:
            tell(f"memory: {architecture}, batch {batch_size}, {optimizer}")
            for name in present:
                found = Memory(architecture, optimizer, batch_size, name)
                try:
                    with Worker(name) as worker:
                        worker.call("open")
                        measured = worker.call("memory", architecture, optimizer, batch_size)
                    for key, value in measured.items():
                        setattr(found, key, value)
                except (AbsentError, ContenderError) as error:
                    found.error = str(error)
                yield found


def _machine() -> dict[str, Any]:
    return {
        "processor": gpubp.get_backend("numpy").device,
        "cores": _cores(),
        "memory_bytes": _sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _cores() -> int:
    affinity: Any = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _sysconf(pages: str) -> int:
    try:
        return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0


def _available_bytes() -> float:
    return _sysconf("SC_AVPHYS_PAGES") or float("inf")


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def _commit() -> str:
    """The commit of the checkout that gpubp is imported from, "+" where it has changes; "" elsewhere."""
    here = Path(gpubp.__file__).parent

    def git(*arguments: str) -> str:
        run = subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True
        )
        return run.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""
