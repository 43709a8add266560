"""Run the contenders over the grid, in rounds, and collect what they measured."""

from __future__ import annotations

import datetime
import math
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any

import gpubp

from . import agreement
from .contenders import CONTENDERS, AbsentError, Contender, has_gpu
from .floor import FLOORS, Floor
from .results import Entrant, Memory, Point, Results
from .tasks import ARCHITECTURES, BATCH_SIZES, EPOCH_BATCH_SIZES, EPOCH_ROWS, OPTIMIZERS
from .worker import ContenderError, Turn, Worker

__all__ = ["Settings", "gpu", "quick", "run_suite"]

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
    floors : of which those of the contenders' devices are measured.
    retakes : how often a turn is taken again that other processes disturbed.
    check_peers_once : check others than gpubp at an architecture's first batch size alone.
    cpu_work : the most multiply-adds of a step that contenders on the CPU take part in.
    budget : seconds for everything, or None. Batch sizes are then gone through as they are given, every
        architecture at each; from the third on, where time is short, without peers, and then not at all.
    patience : seconds after which a contender that does not answer is ended, or None.
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
    floors: tuple[str, ...] = tuple(FLOORS)
    retakes: int | None = None
    check_peers_once: bool = False
    cpu_work: float = math.inf
    budget: float | None = None
    patience: float | None = None


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


def gpu() -> Settings:
    """Adam's steps on a GPU beside its peers, in two minutes: each point is measured for two seconds."""
    reason = "compiles for longer than --gpu has time; --contenders runs it"
    return Settings(
        ("narrow-6x64", "narrow", "classifier", "regression", "wide"),
        batch_sizes=(512, 2048, 32, 8192),
        optimizers=("adam",),
        contenders=(
            "gpubp-cupy", "gpubp-cupy-launched", "gpubp-numpy", "torch-cuda", "torch-cuda-graph",
            "torch-cuda-compile", "jax-cuda",
        ),
        works=("step",),
        rounds=5,
        turn_seconds=0.03,
        point_seconds=2.0,
        left_out=(("torch-cuda-compile", reason),),
        floors=("floor-gpu",),
        retakes=0,
        check_peers_once=True,
        cpu_work=3e10,
        budget=120.0,
        patience=90.0,
    )  # fmt: skip


def run_suite(
    settings: Settings,
    tell: Callable[[str], None] = lambda line: None,
    keep: Callable[[Results], None] = lambda results: None,
) -> Results:
    """Measure; `tell` is told where it is, `keep` given what there is after each point."""
    results = Results(
        machine=_machine(),
        versions=_versions(),
        commit=_commit(),
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        settings=asdict(settings),
    )
    with ExitStack() as stack:
        clock = Clock(settings)
        workers = _open(settings, results, stack, tell)
        usage, checked = Usage(), set[Any]()
        for architecture, batch_size, optimizer in _grid(settings):
            tell(f"{architecture}, batch {batch_size}, {optimizer}")
            works = _works(settings, batch_size, optimizer)
            points = [
                Point(architecture, optimizer, batch_size, w, _rows(w, batch_size)) for w in works
            ]
            results.points += points
            taking = clock.workers(points, workers)
            if taking:
                patient = replace(settings, patience=clock.patience())
                _measure(patient, points, taking, usage, checked)
            keep(results)
        order = [(a, b, o) for a in settings.architectures
                 for b in sorted(settings.batch_sizes) for o in settings.optimizers]  # fmt: skip
        results.points.sort(key=lambda p: order.index((p.architecture, p.batch_size, p.optimizer)))
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
        elif name in FLOORS and name not in settings.floors:
            entrant.absent = "not among the floors of this run"
        elif name in FLOORS and kind.device not in devices:
            entrant.absent = f"no contender on the {kind.device} among --contenders"
        else:
            started.append((entrant, stack.enter_context(Worker(name))))
    for _, worker in started:
        worker.ask("open")
    workers = []
    for entrant, worker in started:
        try:
            entrant.detail = worker.answer(settings.patience)
            workers.append(worker)
        except (AbsentError, ContenderError) as error:
            entrant.absent = str(error)
            worker.close()
    return workers


def _grid(settings: Settings) -> list[tuple[str, int, str]]:
    """Architecture, batch size and optimizer of every point, in order."""
    if settings.budget is None:
        return list(product(settings.architectures, settings.batch_sizes, settings.optimizers))
    sizes_first = product(settings.batch_sizes, settings.architectures, settings.optimizers)
    return [(architecture, size, optimizer) for size, architecture, optimizer in sizes_first]


class Clock:
    """What there is still time for."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._began = settings, time.monotonic()
        self._left = _grid(settings)
        self._spent: dict[str, list[float]] = {}  # for each architecture, with all contenders
        self._measuring: tuple[str, float] | None = None

    def workers(self, points: Sequence[Point], workers: Sequence[Worker]) -> Sequence[Worker]:
        """Those that measure these points, the next ones; who is left out is noted there."""
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
        if 3 * rows * architecture.parameters > settings.cpu_work:
            kinds: dict[str, Any] = {**CONTENDERS, **FLOORS}
            taking = [w for w in taking if kinds[w.name].device != "cpu"]
            self._note(points, "measured without the CPU, which would take too long")
        if peers:
            self._measuring = architecture.name, now
        return taking

    def patience(self) -> float | None:
        """The seconds to wait for an answer: with a budget, little longer than that lasts."""
        patience, budget = self._settings.patience, self._settings.budget
        if budget is None or patience is None:
            return patience
        return min(patience, max(0.0, budget - (time.monotonic() - self._began)) + 10.0)

    def _expected(self) -> float:
        """Seconds of the points left, each as its architecture's were so far."""
        usual = {name: sum(spent) / len(spent) for name, spent in self._spent.items()}
        return sum(usual.get(architecture, 0.0) for architecture, _, _ in self._left)

    def _note(self, points: Sequence[Point], note: str) -> None:
        for point in points:
            point.notes.append(note)


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
    checked: set[Any],
) -> None:
    """Load and check every contender, then measure the points in rounds."""
    first = points[0]
    needed = ARCHITECTURES[first.architecture].step_bytes(first.batch_size) * len(workers)
    if needed > 0.9 * _available_bytes():
        for point in points:
            point.skipped = f"needs about {needed / 2**30:.0f} GiB of memory for all contenders"
        return
    ready = _load(settings, points, workers, checked)
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
                    turn = _undisturbed(settings, worker, point.work)
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


def _undisturbed(settings: Settings, worker: Worker, work: str) -> Turn:
    """A turn; taken again, a few times, where other processes had much of the machine meanwhile."""
    turns: list[Turn] = []
    retakes = RETAKES if settings.retakes is None else settings.retakes
    for _ in range(retakes + 1):
        turns.append(worker.call("turn", work, settings.turn_seconds, seconds=settings.patience))
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


def _load(
    settings: Settings, points: Sequence[Point], workers: Sequence[Worker], checked: set[Any]
) -> list[Worker]:
    """The workers that agree with the reference; the others are named in the points' errors."""
    first = points[0]
    architecture = ARCHITECTURES[first.architecture]
    task = first.architecture, first.optimizer, first.batch_size
    rows = architecture.checked_rows(first.batch_size)
    epoch = any(point.work == "epoch" for point in points)
    ready = []
    together = settings.budget is not None  # with memory and cores for it
    for worker in workers if together else ():
        _ask_to_load(settings, worker, task, epoch, checked)
    for worker in workers:
        try:
            if not together:
                _ask_to_load(settings, worker, task, epoch, checked)
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
                point.errors[worker.name] = error
        else:
            ready.append(worker)
    return ready


def _ask_to_load(
    settings: Settings,
    worker: Worker,
    task: tuple[str, str, int],
    epoch: bool,
    checked: set[Any],
) -> None:
    once = settings.check_peers_once and not worker.name.startswith("gpubp")
    with suppress(ContenderError):  # which the answer tells too
        worker.ask("load", *task, epoch, not (once and (worker.name, *task[:2]) in checked))


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
