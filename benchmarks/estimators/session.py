"""What the process of one contender does in the estimators' table, and the contenders.

A contender is a library with some threads or processes. One more is no library: the bare matmuls of a fit,
on one thread.
"""

from __future__ import annotations

import atexit
import gc
import multiprocessing.util
import time
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

import gpubp

from ..contenders.base import import_library
from ..floor import bind_matmuls
from ..machine import cores
from ..worker import fall_asleep, machine_cpu_seconds
from .tasks import CANDIDATES, DATA, FOLDS, SEEDS, Task

__all__ = ["CONTENDERS", "MATMULS", "Contender", "MatmulSession", "Outcome", "Session", "Turn"]

MATMULS = "matmuls"
SHORTEST_TURN = 0.05
"""Faster work is repeated within a turn until this many seconds have passed."""
TRIAL_ROWS = 2000
BATCH_ROWS = 200
"""The rows of a batch by default, in both libraries."""
SEARCH_EPOCHS = 5


@dataclass(frozen=True)
class Contender:
    """A library, and how many threads and processes it gets.

    Attributes
    ----------
    name : str
        The name in results and reports.
    library : str
        "gpubp", "scikit-learn" or "matmuls".
    threads : int or None
        The threads of BLAS, which are also gpubp's; None leaves the library's default, all cores.
    processes : int
        What a search gets as n_jobs; fits and predictions have no processes.
    """

    name: str
    library: str
    threads: int | None = None
    processes: int = 1


CONTENDERS: Mapping[str, Contender] = {
    contender.name: contender
    for library in ("gpubp", "scikit-learn")
    for contender in (
        Contender(library, library),
        Contender(f"{library}-1-thread", library, threads=1),
        Contender(f"{library}-processes", library, processes=-1),
    )
} | {MATMULS: Contender(MATMULS, MATMULS, threads=1)}


class Outcome(NamedTuple):
    """What a fit came to, to be compared between libraries.

    Attributes
    ----------
    iterations : int
        Epochs, or lbfgs's iterations; in a search the number of candidates.
    loss : float
        The last loss; in a search, the best candidate's score.
    """

    iterations: int
    loss: float


class Turn(NamedTuple):
    """What a turn measured.

    Attributes
    ----------
    seconds : float
        The seconds of one piece of work.
    cores : float
        The core seconds that this process spent on it.
    wall : float
        Seconds that the turn took.
    others : float
        Core seconds that other processes used during the turn.
    """

    seconds: float
    cores: float
    wall: float
    others: float


class Session:
    """What a contender's process does: each message calls one method."""

    def __init__(self, name: str) -> None:
        self._contender = CONTENDERS[name]
        self._threads = ExitStack()

    def open(self) -> str:
        """Import the library, and say what the contender runs on."""
        contender = self._contender
        module = import_library("sklearn.neural_network", "scikit-learn")
        self._module = gpubp if contender.library == "gpubp" else module
        if contender.threads is not None:
            self._threads.enter_context(threadpool_limits(contender.threads))
        warnings.simplefilter("ignore")  # max_iter is too small on purpose
        threads = contender.threads or cores()
        shown = f"{threads} thread{'s' if threads > 1 else ''}"
        if contender.processes != 1:
            # A child of multiprocessing ends without atexit's functions, by which joblib ends its own.
            multiprocessing.util.Finalize(None, atexit._run_exitfuncs, exitpriority=0)
            shown = f"searches with n_jobs={contender.processes}"
        return f"CPU, {shown}"

    def trial(self, task: Task) -> float:
        """Time one epoch, or iteration of lbfgs, on a few rows, after an untimed one."""
        x, y = DATA[task.data].in_dtype(task.dtype)
        x, y = x[:TRIAL_ROWS], y[:TRIAL_ROWS]
        once = {**task.parameters(), "max_iter": 1}
        seconds = 0.0
        for _ in range(2):
            began = time.perf_counter()
            self._estimator(task, once).fit(x, y)
            seconds = time.perf_counter() - began
        fall_asleep()
        return seconds

    def load(self, task: Task) -> Outcome | None:
        """Make the data, and do the work once without timing; only bare matmuls have no outcome."""
        self._task = task
        self._x, self._y = DATA[task.data].in_dtype(task.dtype)
        self._fitted = self._work()
        gc.collect()
        fall_asleep()
        if task.work == "search":
            searched = self._fitted
            return Outcome(len(searched.cv_results_["params"]), float(searched.best_score_))
        return Outcome(int(self._fitted.n_iter_), float(self._fitted.loss_))

    def turn(self) -> Turn:
        """Measure the loaded work: once, or several times if it is short."""
        everyone, used, began = machine_cpu_seconds(), time.process_time(), time.perf_counter()
        times = 0
        gc.disable()
        try:
            while times == 0 or time.perf_counter() - began < SHORTEST_TURN:
                if self._task.work == "predict":
                    self._fitted.predict(self._x)
                else:
                    self._work()
                times += 1
        finally:
            gc.enable()
        wall, used = time.perf_counter() - began, time.process_time() - used
        others = machine_cpu_seconds() - everyone - used
        fall_asleep()
        return Turn(wall / times, used / times, wall, max(0.0, others))

    def scores(self, name: str, dtype: str) -> list[float]:
        """Score estimators of several seeds on rows that they have not seen, after 200 epochs of Adam."""
        x, y = DATA[name].in_dtype(dtype)
        found = []
        for seed in range(SEEDS):
            order = np.random.default_rng(seed).permutation(len(y))
            train, test = order[len(y) // 4 :], order[: len(y) // 4]
            task = Task(name, "fit", "adam", (100,), dtype)
            estimator = self._estimator(task, {"max_iter": 200, "random_state": seed})
            found.append(float(estimator.fit(x[train], y[train]).score(x[test], y[test])))
        return found

    def _estimator(self, task: Task, parameters: Mapping[str, Any]) -> Any:
        kind = "MLPClassifier" if DATA[task.data].is_classification else "MLPRegressor"
        ours = {"dtype": None} if self._contender.library == "gpubp" else {}
        return getattr(self._module, kind)(**parameters, **ours)

    def _work(self) -> Any:
        estimator = self._estimator(self._task, self._task.parameters())
        if self._task.work == "search":
            from sklearn.model_selection import GridSearchCV  # noqa: PLC0415

            jobs = self._contender.processes
            estimator.set_params(max_iter=SEARCH_EPOCHS)
            estimator = GridSearchCV(
                estimator, dict(CANDIDATES), cv=FOLDS, n_jobs=jobs, refit=False
            )
        return estimator.fit(self._x, self._y)


class MatmulSession(Session):
    """What the process of the bare matmuls does: the products of a fit of dense rows, without the fit."""

    def open(self) -> str:
        """Say what the matmuls run on."""
        return f"{super().open()}: the bare matmuls of a fit of dense rows"

    def load(self, task: Task) -> None:
        """Bind the matmuls of whole batches and of the last one, and compute those of a fit once.

        An iteration of lbfgs computes the gradient of all rows at least once.
        """
        self._task = task
        x, y = DATA[task.data].in_dtype(task.dtype)
        epochs, rows = int(task.parameters()["max_iter"]), len(y)
        classes = len(set(y)) if DATA[task.data].is_classification else 1
        sizes = (x.shape[1], *task.hidden, 1 if classes == 2 else classes)
        stride = rows if task.solver == "lbfgs" else min(BATCH_ROWS, rows)
        backend = gpubp.get_backend("numpy")
        self._matmuls = []
        for often, size in ((rows // stride, stride), (1, rows % stride)):
            if size:
                forward, backward = bind_matmuls(backend, sizes, size, task.dtype)
                self._matmuls.append((epochs * often, forward + backward))
        self._work()
        fall_asleep()

    def _work(self) -> None:
        for often, calls in self._matmuls:
            for _ in range(often):
                for call in calls:
                    call()
