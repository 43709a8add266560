"""Run the contenders over the grid, and collect what they measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace

from .busy import busy_processes
from .clock import Clock
from .contenders import CONTENDERS, AbsentError, Predictor, has_gpu
from .floor import FLOORS, Floor
from .machine import circumstances
from .peak import peak_in_a_process
from .processes import holding_interrupts
from .results import Entrant, Memory, Point, Results
from .rounds import Checked, Usage, measure
from .settings import Settings
from .tasks import EPOCH_ROWS
from .worker import ContenderError, Worker

__all__ = ["run_suite"]


def run_suite(
    settings: Settings,
    tell: Callable[[str], None] = lambda line: None,
    keep: Callable[[Results], None] = lambda results: None,
) -> Results:
    """Measure the whole grid.

    Parameters
    ----------
    settings : Settings
        What to measure.
    tell : callable
        A function that is called with a line of text on the run's progress.
    keep : callable
        A function that is called after each point with the results so far.

    Returns
    -------
    Results
        The results of the run.
    """
    results = Results(
        **circumstances(),
        settings=asdict(settings),
    )
    with ExitStack() as stack:
        clock = Clock(settings)
        results.peak = peak_in_a_process()
        workers = _open(settings, results, stack, tell)
        stack.enter_context(busy_processes(settings.busy))
        usage, checked = Usage(), Checked()
        for architecture, batch_size, optimizer in settings.grid():
            tell(f"{architecture}, batch {batch_size}, {optimizer}")
            points = [
                Point(architecture, optimizer, batch_size, work, _rows(work, batch_size))
                for work in settings.works_at(batch_size, optimizer)
            ]
            taking = clock.workers(points, workers)
            if taking:
                patient = replace(settings, patience=clock.patience())
                measure(patient, points, taking, usage, checked)
            _add(results, points, settings, usage)
            keep(results)
    tell("the peak, again")
    results.peak = peak_in_a_process(results.peak)
    for found in _memory(settings, results, tell) if settings.memory else ():
        results.memory.append(found)
        keep(results)
    return results


def _add(results: Results, points: Sequence[Point], settings: Settings, usage: Usage) -> None:
    """Add what was measured at one point of the grid, so that the results are those of a whole run."""
    networks, optimizers = settings.architectures, settings.optimizers
    results.points += points
    results.points.sort(
        key=lambda point: (
            networks.index(point.architecture),
            point.batch_size,
            optimizers.index(point.optimizer),
        )
    )
    for entrant in results.entrants:
        entrant.idle_share = usage.share(entrant.name)
    results.machine["others_share"] = usage.share("others")


def _open(
    settings: Settings, results: Results, stack: ExitStack, tell: Callable[[str], None]
) -> list[Worker]:
    """Start a worker for every contender and floor; the results note why one is absent."""
    tell("starting the contenders")
    left_out = dict(settings.left_out)
    started = []
    kinds: dict[str, type[Predictor] | type[Floor]] = {**CONTENDERS, **FLOORS}
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
            with holding_interrupts():  # no worker may run that the stack does not end
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


def _rows(work: str, batch_size: int) -> int:
    return EPOCH_ROWS if work == "epoch" else batch_size


def _memory(settings: Settings, results: Results, tell: Callable[[str], None]) -> Iterator[Memory]:
    """Measure peak memory, one contender after another, each in a fresh process."""
    present = []
    for entrant in results.present():
        kind = CONTENDERS[entrant.name]
        if "step" in kind.works and not kind.for_short_work:
            present.append(entrant.name)
    optimizer = settings.optimizers[0]
    for architecture, batch_size, chosen in settings.grid():
        if chosen != optimizer:
            continue
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
