"""The time of one call of a backend, for the benchmarks that look inside a step.

On the CPU a call is captured, and the host's clock times many replays. On CUDA, COPIES calls become one
graph, and events time its launches. The figure then excludes Python and the launch of a kernel: it is the
cost of a kernel within a step's graph. A call that cannot be captured is launched by itself; the figure
says so.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..backends import Backend
from ..kernels import PRECISIONS
from ..kernels.typing import Array

__all__ = ["COPIES", "Limits", "Taken", "Timer", "random_array"]

Call = Callable[[], None]

COPIES = 50
"""The calls in a graph; fewer if they would take longer than GRAPH_SECONDS."""

GRAPH_SECONDS, ROUND_SECONDS = 5e-3, 2e-3


class Taken(NamedTuple):
    """How long a call took.

    Attributes
    ----------
    seconds : float
        The median of the rounds.
    how : str
        How it was timed: "graph", "launched" (on CUDA, one by one) or "replayed" (on the CPU).
    why : str
        Why there is no graph, or "".
    """

    seconds: float
    how: str
    why: str = ""


class Limits(NamedTuple):
    """What a device can do at most.

    Attributes
    ----------
    bandwidth : float
        Bytes a second, read and written, of a copy far larger than any cache.
    rate : float
        Multiply-adds a second of a large matmul of random numbers.
    node, launch : float
        The seconds of a kernel that does nothing, in a graph and launched from Python; 0 on the CPU.
    """

    bandwidth: float
    rate: float
    node: float
    launch: float

    def floor(self, moved: float, work: float) -> float:
        """Compute the least time of a call that moves these bytes and makes these multiply-adds."""
        return max(moved / self.bandwidth, work / self.rate)


class Timer:
    """Times calls on a backend.

    Parameters
    ----------
    backend : Backend
        The backend whose calls are timed.
    rounds : int
        The number of rounds; a figure is their median.

    Attributes
    ----------
    backend : Backend
        The backend whose calls are timed.
    on_cuda : bool
        Whether the backend computes on CUDA.
    """

    def __init__(self, backend: Backend, rounds: int = 7) -> None:
        self.backend, self._rounds = backend, rounds
        self.on_cuda = backend.name.startswith("cupy")

    def call(self, call: Call) -> Taken:
        """Time a call, which must be repeatable."""
        if not self.on_cuda:
            return Taken(self.by_clock(self.backend.capture(call)), "replayed")
        call()  # compiles its kernels
        once = self._between_events(call, 1)
        copies = max(1, min(COPIES, int(GRAPH_SECONDS / once)))

        def several() -> None:
            for _ in range(copies):
                call()

        why = "not captured"
        try:
            captured = self.backend.capture(several)
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                captured()  # runs it
                captured()  # captures it
            graphs = getattr(captured, "captured", 0)
            why = f"{told[-1].message}" if told else why
        except Exception as error:  # CUDA refuses some calls in a capture; they can still be timed
            graphs, why = 0, f"{type(error).__name__}: {error}".splitlines()[0][:200]
        if not graphs:
            return Taken(self.by_events(call), "launched", why)
        return Taken(self.by_events(captured) / copies, "graph")

    def by_events(self, call: Call, most: int = 1000) -> float:
        """Time at most `most` calls in a row between two events; return the seconds of one."""
        call()
        once = self._between_events(call, 1)
        count = max(1, min(most, int(ROUND_SECONDS / once)))
        return statistics.median(self._between_events(call, count) for _ in range(self._rounds))

    def _between_events(self, call: Call, count: int) -> float:
        cuda: Any = self.backend.xp.cuda
        with self.backend.use():
            start, end = cuda.Event(), cuda.Event()
            start.record()
            for _ in range(count):
                call()
            end.record()
            end.synchronize()
            return max(1e-9, float(cuda.get_elapsed_time(start, end)) * 1e-3 / count)

    def by_clock(self, call: Call, longest: float = 0.02) -> float:
        """Time calls in a row by the host's clock, with one wait at the end; return the seconds of one."""
        synchronize = self.backend.synchronize
        call()
        call()
        synchronize()
        start = time.perf_counter()
        call()
        synchronize()
        count = max(1, min(1000, int(longest / (time.perf_counter() - start + 1e-9))))
        times = []
        for _ in range(self._rounds):
            start = time.perf_counter()
            for _ in range(count):
                call()
            synchronize()
            times.append((time.perf_counter() - start) / count)
        return statistics.median(times)

    def limits(self, precision: str | None = None, n: int | None = None) -> Limits:
        """Measure what the device can do at most.

        Parameters
        ----------
        precision : str or None
            The precision of the matmul's operands; None is float32.
        n : int or None
            Rows and columns of the matmul. The copy has n² numbers, at most 2**25 (128 MiB).
        """
        backend, xp = self.backend, self.backend.xp
        n = n or (8192 if self.on_cuda else 2048)
        source = random_array(backend, min(2**25, n**2))
        target = xp.zeros_like(source)
        copied = self.call(lambda: backend.convert(source, target)).seconds
        if self.on_cuda:
            copied = min(copied, self.by_events(lambda: xp.copyto(target, source)))
        chosen = PRECISIONS[precision] if precision else None
        a, b = random_array(backend, n, n), random_array(backend, n, n)
        if chosen:
            wide = a, b
            a, b = (backend.operands((n, n), chosen) for _ in wide)
            for given, operand in zip(wide, (a, b), strict=True):
                backend.convert(given, operand)
                backend.round(operand, chosen)
        out = xp.empty((n, n), np.float32)
        multiplied = self.call(lambda: backend.matmul(a, b, out, precision=chosen)).seconds
        node, launch = self._nothing() if self.on_cuda else (0.0, 0.0)
        return Limits(2 * source.nbytes / copied, n**3 / multiplied, node, launch)

    def _nothing(self) -> tuple[float, float]:
        """Time a kernel that does nothing; return its seconds in a graph and launched."""
        text = 'extern "C" __global__ void nothing(double* where) {}'
        kernel, where = self.backend.xp.RawKernel(text, "nothing"), self.backend.xp.empty(1)

        def nothing() -> None:
            kernel((1,), (32,), (where,))

        return self.call(nothing).seconds, self.by_events(nothing)


def random_array(backend: Backend, *shape: int) -> Array:
    """Draw normal float32 numbers; large arrays repeat a million of them."""
    size = int(np.prod(shape))
    drawn = np.random.default_rng(0).standard_normal(min(size, 2**20), np.float32)
    return backend.asarray(np.resize(drawn, size).reshape(shape))
