"""A process for each contender, so that their thread pools, allocators and compilers stay apart.

The processes take turns: one measures while the others wait for a message. The threads of OpenMP and BLAS
spin for a while after each call. So a turn ends only when the process's threads sleep. Otherwise the next
contender would measure beside spinning threads. The report says how much CPU each process used between its
turns.
"""

from __future__ import annotations

import atexit
import gc
import math
import multiprocessing
import os
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from . import agreement, memory
from .contenders import CONTENDERS, AbsentError, Contender, Predictor
from .floor import FLOORS, Floor
from .processes import holding_interrupts, kill_with_descendants, own_group
from .tasks import ARCHITECTURES, EPOCH_ROWS, OPTIMIZERS

__all__ = ["ContenderError", "Session", "Turn", "Worker"]

SAMPLE_SECONDS = 0.01
"""Steps shorter than this are timed several in a row, with one wait at the end, as in a training loop.

A contender whose call makes several steps makes as many as take about this long. So the samples of all are
equally long: on a shared machine, a long sample is disturbed more often than a short one."""


class ContenderError(RuntimeError):
    """A contender failed; the message says how."""


class Turn(NamedTuple):
    """What a turn measured.

    Attributes
    ----------
    seconds : float
        The seconds of a call, or of each step of a call of several, as the median of the turn.
    wall : float
        Seconds that the turn took.
    others : float
        Core seconds that other processes used during the turn.
    idle_cpu : float
        Core seconds that this process used since its last turn.
    idle_wall : float
        Seconds since its last turn.
    steps : int
        The steps of a call.
    """

    seconds: float
    wall: float
    others: float
    idle_cpu: float
    idle_wall: float
    steps: int = 1


class Session:
    """What a contender's process does: each message calls one method."""

    def __init__(self, name: str) -> None:
        self._contender: Predictor | Floor = (CONTENDERS.get(name) or FLOORS[name])()
        self._call_seconds: dict[str, float] = {}
        self._steps = 0
        self._slept_at: tuple[float, float] | None = None

    def open(self) -> str:
        """Import the library, and say what the contender runs on."""
        return self._contender.open()

    def load(
        self, architecture: str, optimizer: str, batch_size: int, epoch: bool, check: bool = True
    ) -> Any:
        """Load what is to be measured.

        Parameters
        ----------
        architecture, optimizer : str
            The names of the architecture and the optimizer.
        batch_size : int
            Rows of the batch.
        epoch : bool
            Whether epochs are measured too.
        check : bool
            Whether to observe the contender's outcome first.

        Returns
        -------
        Outcome or None
            The observed outcome; None for a floor, and without `check`.
        """
        contender, chosen = self._contender, ARCHITECTURES[architecture]
        self._call_seconds, self._steps = {}, 0
        if isinstance(contender, Floor):
            contender.load(chosen, batch_size)
            return None
        outcome = None
        if check:
            rows = chosen.checked_rows(batch_size)
            outcome = agreement.observe(contender, chosen, optimizer, rows)
        contender.load(chosen, OPTIMIZERS[optimizer], chosen.batch(batch_size))
        if epoch and isinstance(contender, Contender) and "epoch" in contender.works:
            contender.load_epoch(chosen.batch(EPOCH_ROWS))
        gc.collect()
        return outcome

    def turn(self, work: str, seconds: float) -> Turn:
        """Call without timing for `seconds`, then measure calls for `seconds`, at least one."""
        idle = 0.0, 0.0
        if self._slept_at is not None:
            cpu, wall = self._slept_at
            idle = time.process_time() - cpu, time.perf_counter() - wall
        contender = self._contender
        threading = contender.threading() if isinstance(contender, Floor) else nullcontext()
        cpu, wall, everyone = time.process_time(), time.perf_counter(), machine_cpu_seconds()
        with threading:
            call, steps = self._call(work)
            result = self._measure(work, call, seconds) / steps
        others = machine_cpu_seconds() - everyone - (time.process_time() - cpu)
        wall = time.perf_counter() - wall
        fall_asleep(1.0 if contender.device == "cpu" else 0.1)
        self._slept_at = time.process_time(), time.perf_counter()
        return Turn(result, wall, max(0.0, others), *idle, steps)

    def _call(self, work: str) -> tuple[Callable[[], Any], int]:
        """Return what is timed, and the steps that one call makes."""
        contender = self._contender
        if work == "step" and isinstance(contender, Contender) and contender.steps_at_once > 1:
            self._steps = self._steps or _fitting_steps(contender)
            return partial(contender.steps, self._steps), self._steps
        return getattr(contender, work), 1

    def _measure(self, work: str, call: Callable[[], Any], seconds: float) -> float:
        synchronize = self._contender.synchronize

        def timed(times: int) -> float:
            began = time.perf_counter()
            for _ in range(times):
                call()
            synchronize()
            return (time.perf_counter() - began) / times

        if work not in self._call_seconds:
            timed(1)
            self._call_seconds[work] = timed(1)
        # The caches are cold, and threads that slept need a while to spread over the cores.
        ends = time.perf_counter() + seconds
        while time.perf_counter() + self._call_seconds[work] < ends:
            timed(1)
        # Only steps are timed several in a row: a user waits for each prediction, and an epoch is long.
        times = max(1, round(SAMPLE_SECONDS / self._call_seconds[work])) if work == "step" else 1
        gc.disable()
        try:
            ends = time.perf_counter() + seconds
            samples = [timed(times)]
            while time.perf_counter() < ends:
                samples.append(timed(times))
        finally:
            gc.enable()
        self._call_seconds[work] = statistics.median(samples)
        return self._call_seconds[work]

    def memory(self, architecture: str, optimizer: str, batch_size: int) -> dict[str, int | None]:
        """Measure the peak memory of a step, in a process that has done nothing else."""
        assert isinstance(self._contender, Contender)
        return memory.peak(
            self._contender, ARCHITECTURES[architecture], OPTIMIZERS[optimizer], batch_size
        )


def _fitting_steps(contender: Contender) -> int:
    """Find how many steps take about SAMPLE_SECONDS in one call: a power of two."""
    count = 1
    while True:
        taken: list[float] = []
        while len(taken) < 2 or (len(taken) < 5 and sum(taken[1:]) < 5 * SAMPLE_SECONDS):
            began = time.perf_counter()  # the first call may compile, others may be disturbed
            contender.steps(count)
            contender.synchronize()
            taken.append(time.perf_counter() - began)
        missing = SAMPLE_SECONDS / min(taken)
        if missing <= 1.25 or count == contender.steps_at_once:
            return count
        count = min(count * 2 ** math.ceil(math.log2(missing)), contender.steps_at_once)


def machine_cpu_seconds() -> float:
    """Read the core seconds that all processes have used, in steps of 10 ms; 0 except on Linux."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    except OSError:
        return 0.0
    user, nice, system, _, _, irq, softirq, *_ = map(int, fields[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def fall_asleep(longest: float = 1.0) -> None:
    """Wait until no thread of this process computes or spins, or until `longest` seconds have passed.

    OpenBLAS's threads spin for 0.1 s. The kernel counts the time of a thread on another core at scheduler
    ticks, up to 10 ms apart. Two ticks are needed to tell sleeping from spinning.
    """
    deadline = time.perf_counter() + longest
    while time.perf_counter() < deadline:
        before = time.process_time()
        time.sleep(0.02)
        if time.process_time() - before < 0.002:
            return


def serve(connection: Connection, name: str, kind: Callable[[str], Any]) -> None:
    """Answer messages until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    own_group()
    session = kind(name)
    with suppress(EOFError, OSError):  # the other end is closed, or its process was killed
        while True:
            method, arguments = connection.recv()
            connection.send(_answer(session, method, arguments))


def _answer(session: Any, method: str, arguments: Sequence[Any]) -> tuple[str, Any]:
    try:
        return "result", getattr(session, method)(*arguments)
    except AbsentError as error:
        return "absent", str(error)
    except Exception as error:
        lines = f"{type(error).__name__}: {error}".splitlines()
        return "error", lines[0][:300]


_RUNNING: set[SpawnProcess] = set()


def _kill(process: SpawnProcess) -> None:
    if process in _RUNNING and process.pid is not None:
        kill_with_descendants(process.pid)


@atexit.register
def _kill_all() -> None:
    """Kill what a second Ctrl-C has left; multiprocessing would wait for it."""
    for process in _RUNNING:
        _kill(process)


class Worker:
    """A contender in a separate process; as a context manager, it ends the process.

    After an exception, such as Ctrl-C, the context kills the process and all that it has started.

    Parameters
    ----------
    name : str
        The contender or floor.
    kind : callable
        What makes the object, given the name, whose methods the messages call.
    starts_processes : bool
        Whether the process may start others. Then it ends only when it is closed.

    Attributes
    ----------
    name : str
        The contender or floor.
    """

    def __init__(
        self,
        name: str,
        kind: Callable[[str], Any] = Session,
        starts_processes: bool = False,
    ) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(
            target=serve, args=(other, name, kind), daemon=not starts_processes
        )
        with holding_interrupts():
            self._process.start()
            _RUNNING.add(self._process)
        other.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with holding_interrupts():
            if error is not None:
                _kill(self._process)
            self.close()

    def ask(self, method: str, *arguments: Any) -> None:
        """Send a message; `answer` waits for the reply."""
        try:
            self._connection.send((method, arguments))
        except OSError:
            raise self._died() from None

    def answer(self, seconds: float | None = None) -> Any:
        """Wait for the answer to the last message.

        Parameters
        ----------
        seconds : float or None
            How long to wait before the process is killed; None waits without limit.

        Returns
        -------
        Any
            What the method of `Session` returned.

        Raises
        ------
        AbsentError
            When the contender cannot run here.
        ContenderError
            When the method failed, the process died, or no answer came in time.
        """
        try:
            if not self._connection.poll(seconds):
                self._process.kill()
                raise ContenderError(f"gave no answer in {seconds:.0f} s, and was ended")
            kind, value = self._connection.recv()
        except (EOFError, OSError):
            raise self._died() from None
        if kind == "absent":
            raise AbsentError(value)
        if kind == "error":
            raise ContenderError(value)
        return value

    def call(self, method: str, *arguments: Any, seconds: float | None = None) -> Any:
        """Send a message and wait for its answer."""
        self.ask(method, *arguments)
        return self.answer(seconds)

    def close(self) -> None:
        """End the process if it still runs."""
        if self._connection.closed:
            return
        self._connection.close()
        self._process.join(2)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()
        _RUNNING.discard(self._process)
        self._process.close()

    def _died(self) -> ContenderError:
        self._process.join(2)
        return ContenderError(f"its process died (exit code {self._process.exitcode})")
