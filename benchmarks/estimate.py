"""How long a run will take: the seconds of each of its stages, from the settings and measured costs.

A stage is what a run does from one line of its progress to the next. The costs were measured on two cores
of an Intel Xeon. A run corrects what is left by the time that its stages have taken.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from itertools import pairwise

from .contenders import CONTENDERS, Predictor, has_gpu
from .estimators.session import CONTENDERS as ESTIMATORS
from .estimators.session import MATMULS, SHORTEST_TURN, Contender
from .estimators.suite import EstimatorSettings
from .estimators.tasks import DATA, Task
from .first_call import NETWORKS, SECONDS, Kind, kinds_of
from .floor import FLOORS
from .machine import available_bytes, cores
from .rounds import DISTURBED, RETAKES
from .settings import Settings
from .tasks import ARCHITECTURES, EPOCH_ROWS
from .worker import machine_cpu_seconds

__all__ = ["cores_of_others", "estimator_stages", "first_call_stages", "stages"]

MULTIPLY_ADDS = 4e10
"""Multiply-adds that a core does in a second of a training step."""
PEAK = 1.5
"""Seconds to measure the arithmetic peak."""
IMPORT, IMPORT_COMPILER = 0.5, 1.5
"""Seconds of a core to start a contender's process."""
LOAD, FIRST_COMPILE, COMPILE = 0.15, 15.0, 1.5
"""Seconds to load and check a contender at a point; the first and the later ones of what compiles."""
SLEEP = 0.08
"""Seconds after a turn, until its threads sleep."""
MEMORY = 4.0
"""Seconds of a contender's process that measures peak memory."""

FITS = {"gpubp": 6e10, "scikit-learn": 2e10, MATMULS: 6e10}
"""Multiply-adds a second of estimators in float32."""
SPARSE_FIT, SEARCH, SCORES = 1.2, 1.1, 4.0
"""Seconds of a fit of sparse rows, of a search, and of the scores of 442 rows."""

MODULES = {"scikit-learn": "sklearn", "gpubp-cupy": "cupy"}
"""The modules of contenders whose names do not begin with their module's."""


def stages(settings: Settings, others: float = 0.0) -> list[float]:
    """Estimate the stages of `run_suite`.

    Parameters
    ----------
    settings : Settings
        The settings of the run.
    others : float, default 0
        The cores that other processes want; see `cores_of_others`. They slow the run down, and turns that
        they disturb are repeated.

    Returns
    -------
    list of float
        The seconds before the first line of the progress, and after each line.
    """
    kinds = [CONTENDERS[name] for name in settings.contenders if _is_here(CONTENDERS[name])]
    devices = {kind.device for kind in kinds}
    floors = [k for n, k in FLOORS.items() if n in settings.floors and k.device in devices]
    starts = [IMPORT_COMPILER if "compile" in kind.name else IMPORT for kind in kinds]
    others += settings.busy
    slower = _slower(others)
    starting = slower * (sum(starts) + IMPORT * len(floors)) * 2 / min(2, cores())
    retakes = RETAKES if settings.retakes is None else settings.retakes
    found, compiled = [PEAK, starting], False
    for name, rows, optimizer in settings.grid():
        architecture = ARCHITECTURES[name]
        step = 3.0 * rows * architecture.parameters
        taking = [
            kind
            for kind in kinds
            if not (step > settings.short_work and kind.for_short_work)
            and not (step > settings.cpu_work and kind.device == "cpu")
            and architecture.hidden in kind.activations
        ]
        training = sum("step" in kind.works for kind in taking) + len(floors)
        if architecture.step_bytes(rows) * training > 0.9 * available_bytes():
            found.append(0.0)  # `rounds.measure` skips it
            continue
        seconds = slower * sum(LOAD + 6 * _call(step, kind.device) for kind in taking)
        if any("compile" in kind.name for kind in taking):
            seconds += slower * (COMPILE if compiled else FIRST_COMPILE)
            compiled = True
        for work in settings.works_at(rows, optimizer):
            size = step * {"step": 1.0, "predict": 1 / 3, "epoch": EPOCH_ROWS / rows}[work]
            turns = [_turn(settings, size, kind.device) for kind in taking if work in kind.works]
            if work != "epoch":
                turns += [_turn(settings, size, floor.device) for floor in floors]
            if others > DISTURBED:
                turns = [(1 + retakes) * turn for turn in turns]
            limits = settings.rounds, settings.least_rounds, settings.point_seconds
            seconds += _rounds(sum(turns), *limits)
        found.append(seconds)
    if settings.budget is not None:
        found = _within(settings.budget, found)
    found.append(PEAK)
    if settings.memory:
        measured = [k for k in kinds if "step" in k.works and not k.for_short_work]
        grid = [point for point in settings.grid() if point[2] == settings.optimizers[0]]
        for name, rows, _ in grid:
            step = _call(3 * rows * ARCHITECTURES[name].parameters, "cpu")
            found.append(slower * (MEMORY + 10 * step) * len(measured))
    return found


def first_call_stages(contenders: Sequence[str], rounds: int, others: float = 0.0) -> list[float]:
    """Estimate the stages of `run_first_calls`, as in `stages`."""
    here = [name for name in contenders if _is_here(CONTENDERS[name])]
    kinds = [kind for _ in NETWORKS for kind in kinds_of(here)]
    kinds.sort(key=lambda kind: "compile" in kind.contender)
    found = [0.5]
    for _ in range(rounds):
        for kind in kinds:
            seconds = _new_process(kind) * _slower(others)
            if sum(found) + seconds <= SECONDS:
                found.append(seconds)
    return found


def estimator_stages(settings: EstimatorSettings, others: float = 0.0) -> list[float]:
    """Estimate the stages of `run_estimators`, as in `stages`."""
    slower = _slower(others)
    found = [0.1, slower * 1.4 * len(ESTIMATORS)]
    limits = settings.rounds, settings.least_rounds, settings.task_seconds
    for task in settings.tasks:
        fits = [slower * _fit(task, contender) for contender in ESTIMATORS.values()]
        turns = [max(SHORTEST_TURN, seconds) + SLEEP for seconds in fits if seconds]
        found.append(0.5 + sum(fits) + _rounds(sum(turns), *limits))
    found += [slower * SCORES * DATA[name].shape[0] / 442 for name in settings.scored]
    found.append(slower * (5.0 + 9.0 * settings.processes))
    return found


def cores_of_others(seconds: float = 0.5) -> float:
    """Measure for a moment how many cores other processes use or wait for; 0 except on Linux."""
    began, everyone, own = time.perf_counter(), machine_cpu_seconds(), time.process_time()
    time.sleep(seconds)
    used = machine_cpu_seconds() - everyone - (time.process_time() - own)
    others = max(0.0, used / (time.perf_counter() - began))
    # Only on a machine without a free core do processes wait; else the load is that of the past minute.
    return max(others, os.getloadavg()[0]) if others > 0.8 * cores() else others


def _slower(others: float) -> float:
    """Estimate how many times as long work takes beside others that use so many cores."""
    return 1 + 0.6 * others / cores()


def _is_here(kind: type[Predictor]) -> bool:
    """Tell whether a contender's device and library are here, without importing the library."""
    name = next((m for n, m in MODULES.items() if kind.name.startswith(n)), kind.name.split("-")[0])
    return find_spec(name) is not None and (kind.device == "cpu" or has_gpu())


def _call(multiply_adds: float, device: str) -> float:
    return multiply_adds / (MULTIPLY_ADDS * (cores() if device == "cpu" else 1000))


def _turn(settings: Settings, multiply_adds: float, device: str) -> float:
    return 2 * max(settings.turn_seconds, _call(multiply_adds, device)) + SLEEP


def _rounds(seconds: float, rounds: int, least_rounds: int, longest: float) -> float:
    """Compute the seconds of rounds that take so long each: see `rounds.turns`."""
    if not seconds:
        return 0.0
    return seconds * min(rounds, max(least_rounds, math.ceil(longest / seconds)))


def _within(budget: float, found: Iterable[float]) -> list[float]:
    """Cut the stages off where the budget is spent."""
    cut, left = [], budget
    for seconds in found:
        cut.append(min(seconds, left))
        left -= cut[-1]
    return cut


def _new_process(kind: Kind) -> float:
    """Estimate a new process that makes first calls."""
    if "compile" in kind.contender:
        return 20.0 if kind.stored == "nothing stored" else 8.5
    if kind.contender.startswith("gpubp"):
        return 5.0 if kind.stored == "nothing stored" else 0.7
    return 3.3 if kind.contender.startswith("torch") else 1.8


def _fit(task: Task, contender: Contender) -> float:
    """Estimate the work of a task for a contender; 0 for one that does not take part."""
    if contender.processes != 1 or (contender.library == MATMULS and not task.is_dense_fit):
        return 0.0 if task.work != "search" else SEARCH
    if task.work == "search":
        return SEARCH
    if not task.is_dense_fit:
        return SPARSE_FIT if task.work == "fit" else 0.0
    rows, columns = DATA[task.data].shape
    widths = (columns, *task.hidden, 1)
    weights = sum(n * m for n, m in pairwise(widths))
    multiply_adds = 3 * rows * weights * task.parameters()["max_iter"]
    rate = FITS[contender.library] / (2 if task.dtype == "float64" else 1)
    return 0.03 + float(multiply_adds) / rate
