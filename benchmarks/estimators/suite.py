"""Run the estimators' table, and collect what it measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ..contenders.base import AbsentError
from ..machine import circumstances
from ..processes import holding_interrupts
from ..results import Entrant
from ..rounds import turns
from ..worker import ContenderError, Worker
from .first_call import first_calls
from .results import EstimatorResults, Point, Scores
from .session import CONTENDERS, MATMULS, MatmulSession, Outcome, Session
from .tasks import DATA, Task, quick_tasks, tasks

__all__ = ["EstimatorSettings", "run_estimators"]

SLOWER = 1.5
"""A contender whose trial takes this many times as long as its library's fastest does not take part."""

TOLERANCE = {"float32": 0.02, "float64": 1e-4}
"""How far the losses of the two libraries may differ, relative to scikit-learn's."""
LBFGS_TOLERANCE = 0.5
"""The same for lbfgs in float32: its line searches multiply differences in rounding, so after many
iterations the two are at other places, with losses of the same size."""


@dataclass(frozen=True)
class EstimatorSettings:
    """What to measure, and for how long.

    Attributes
    ----------
    tasks : sequence of Task
        The pieces of work.
    rounds, least_rounds : int
        The most rounds of a task, and the fewest; after those it ends once its seconds are spent.
    task_seconds : float
        Seconds that a task is measured.
    scored : tuple of str
        The data sets whose scores of several seeds are compared.
    processes : int
        The new processes of each kind whose first calls are measured.
    """

    tasks: Sequence[Task]
    rounds: int = 5
    least_rounds: int = 3
    task_seconds: float = 3.0
    scored: tuple[str, ...] = ()
    processes: int = 3

    @classmethod
    def whole(cls) -> EstimatorSettings:
        """Make the settings of a whole run."""
        return cls(tasks(), scored=tuple(d.name for d in DATA.values() if d.is_scored))

    @classmethod
    def quick(cls) -> EstimatorSettings:
        """Make the settings of a run of a minute."""
        return cls(quick_tasks(), rounds=3, task_seconds=2.0, scored=("diabetes",), processes=1)


def run_estimators(
    settings: EstimatorSettings,
    tell: Callable[[str], None] = lambda line: None,
    keep: Callable[[EstimatorResults], None] = lambda results: None,
) -> EstimatorResults:
    """Measure all tasks, then scores and first calls.

    Parameters
    ----------
    settings : EstimatorSettings
        What to measure.
    tell : callable
        A function that is called with a line of text on the run's progress.
    keep : callable
        A function that is called with the results so far after each task, and after each set of scores.

    Returns
    -------
    EstimatorResults
        The results of the run.
    """
    results = EstimatorResults(**circumstances())
    others, wall = 0.0, 0.0
    with ExitStack() as stack:
        tell("starting the contenders")
        workers = _open(results, stack)
        for task in settings.tasks:
            layers = "" if task.work == "search" else f", {task.hidden}"
            tell(f"{task.data}: {task.work}, {task.solver}{layers}, {task.dtype}")
            point = Point(task)
            by_others, in_all = _measure(settings, point, workers)
            results.points.append(point)
            others, wall = others + by_others, wall + in_all
            results.machine["others_share"] = others / wall if wall else 0.0
            keep(results)
        for name in settings.scored:
            tell(f"{name}: scores")
            results.scores += [_scores(name, dtype, workers) for dtype in TOLERANCE]
            keep(results)
    tell("first calls")
    results.first_calls = list(first_calls(settings.processes))
    return results


def _open(results: EstimatorResults, stack: ExitStack) -> list[Worker]:
    """Start a worker for every contender; the results note why one is absent."""
    workers = []
    for name, contender in CONTENDERS.items():
        kind = MatmulSession if contender.library == MATMULS else Session
        with holding_interrupts():  # no worker may run that the stack does not end
            worker = stack.enter_context(Worker(name, kind, contender.processes != 1))
        entrant = Entrant(name, "cpu")
        results.entrants.append(entrant)
        try:
            entrant.detail = worker.call("open")
            workers.append(worker)
        except (AbsentError, ContenderError) as error:
            entrant.absent = str(error)
    return workers


def _measure(
    settings: EstimatorSettings, point: Point, workers: Sequence[Worker]
) -> tuple[float, float]:
    """Measure a task in rounds; return others' core seconds during turns, and the turns' seconds."""
    taking = _loaded(point, _chosen(point, workers))
    others, wall = 0.0, 0.0
    limits = settings.rounds, settings.least_rounds, settings.task_seconds
    for _, worker in turns(taking, point.errors, *limits):
        try:
            turn = worker.call("turn")
        except ContenderError as error:
            point.errors[worker.name] = str(error)
            point.rounds.pop(worker.name, None)
            continue
        point.rounds.setdefault(worker.name, []).append(turn.seconds)
        point.cores.setdefault(worker.name, []).append(turn.cores)
        if CONTENDERS[worker.name].processes == 1:
            others, wall = others + turn.others, wall + turn.wall
    return others, wall


def _chosen(point: Point, workers: Sequence[Worker]) -> list[Worker]:
    """Choose the workers whose trial is not much slower than the fastest of their library.

    On a busy machine, BLAS with as many threads as cores can take ten times as long as with one. What
    searches with several processes has no trial, nor have the bare matmuls.
    """
    chosen = []
    for worker in workers:
        contender = CONTENDERS[worker.name]
        if contender.library == MATMULS:
            if point.task.is_dense_fit:
                chosen.append(worker)
        elif contender.processes != 1 and point.task.work == "search":
            chosen.append(worker)
        elif contender.processes == 1:
            try:
                point.trials[worker.name] = worker.call("trial", point.task)
            except ContenderError as error:
                point.errors[worker.name] = str(error)
    for worker in workers:
        library = CONTENDERS[worker.name].library
        own = [s for name, s in point.trials.items() if CONTENDERS[name].library == library]
        if worker.name in point.trials and point.trials[worker.name] <= SLOWER * min(own):
            chosen.append(worker)
    return chosen


def _loaded(point: Point, workers: Sequence[Worker]) -> list[Worker]:
    """Return the workers whose fit comes to the same as scikit-learn's; the errors name the others."""
    outcomes: dict[str, Outcome] = {}
    for worker in workers:
        try:
            outcome = worker.call("load", point.task)
            if outcome is not None:
                outcomes[worker.name] = outcome
        except ContenderError as error:
            point.errors[worker.name] = str(error)
    theirs = [o for name, o in outcomes.items() if CONTENDERS[name].library == "scikit-learn"]
    for name, outcome in outcomes.items():
        if theirs and (difference := _difference(outcome, theirs[0], point.task)):
            point.errors[name] = difference
    return [worker for worker in workers if worker.name not in point.errors]


def _difference(outcome: Outcome, expected: Outcome, task: Task) -> str:
    tolerance = TOLERANCE[task.dtype]
    if (task.solver, task.dtype) == ("lbfgs", "float32"):
        tolerance = LBFGS_TOLERANCE
    if outcome.iterations != expected.iterations:
        return f"took {outcome.iterations} iterations, scikit-learn {expected.iterations}"
    if abs(outcome.loss - expected.loss) > tolerance * abs(expected.loss):
        return f"came to {outcome.loss:.6g}, scikit-learn to {expected.loss:.6g}"
    return ""


def _scores(name: str, dtype: str, workers: Sequence[Worker]) -> Scores:
    """Score each library on one thread: the scores do not depend on it, and the machine may be busy."""
    found = Scores(name, dtype)
    for worker in workers:
        contender = CONTENDERS[worker.name]
        if contender.threads == 1 and contender.library != MATMULS:
            found.found[contender.library] = worker.call("scores", name, dtype)
    return found
