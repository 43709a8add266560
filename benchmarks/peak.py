"""The arithmetic peak of the CPU: how fast it multiplies and adds what is in its registers.

No step can be faster than its multiply-adds at the peak. `peak.cpp` has the loop. It is compiled like
gpubp's kernels, for the same processor, and runs on one thread and on as many as there are cores.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from importlib import resources

import numpy as np

from ..kernels.cpu import build, calls
from .contenders import AbsentError
from .machine import cores
from .parts import Peak
from .worker import ContenderError, Worker

__all__ = ["bind_loops", "measure_peak", "peak_in_a_process"]

DTYPES = ("float32", "float64")
CALL_SECONDS = 0.002
SAMPLES = 60
"""The fastest of so many calls counts: on a busy machine some of them have less than a core."""


def peak_in_a_process(earlier: Peak | None = None) -> Peak:
    """Measure the peak in a new process, as contenders are measured; say so if it is absent.

    Parameters
    ----------
    earlier : Peak or None
        An earlier measurement of the same run. The greater of every two figures counts.
    """
    try:
        with Worker("peak", _Session) as worker:
            found: Peak = worker.call("measure")
    except (AbsentError, ContenderError) as error:
        return Peak(absent=str(error))
    return found if earlier is None or earlier.absent else _greater(found, earlier)


class _Session:
    """What the process does; see `worker.Worker`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def measure(self) -> Peak:
        return measure_peak()


def measure_peak() -> Peak:
    """Measure the peak on one thread and on all.

    Raises
    ------
    AbsentError
        When the loop cannot be compiled.
    """
    threads = cores()
    return Peak(
        threads,
        one_thread={dtype: _flops(dtype, 1) for dtype in DTYPES},
        all_threads={dtype: _flops(dtype, threads) for dtype in DTYPES},
    )


def _greater(one: Peak, other: Peak) -> Peak:
    return Peak(
        one.threads,
        one_thread={k: max(v, other.one_thread[k]) for k, v in one.one_thread.items()},
        all_threads={k: max(v, other.all_threads[k]) for k, v in one.all_threads.items()},
    )


def _flops(dtype: str, threads: int) -> float:
    """Measure how many operations a second the threads do together; a multiply-add is two."""
    times, fewest = 10_000, 0.5 * CALL_SECONDS
    while (seconds := _seconds(bind_loops(dtype, threads, times)[0])) < fewest:
        times *= max(2, round(CALL_SECONDS / seconds))
    loops, _ = bind_loops(dtype, threads, times)
    seconds = min(_seconds(loops) for _ in range(SAMPLES))
    at_once = int(build.kernel("multiply_adds_at_once", np.dtype(dtype), _text())())
    return 2.0 * at_once * times * threads / seconds


def bind_loops(dtype: str, threads: int, times: int) -> tuple[Callable[[], None], np.ndarray]:
    """Bind a loop for each thread, of `times` turns.

    Returns
    -------
    run : callable
        A function that runs the loops at the same time.
    ends : array of shape (threads,)
        What the threads' chains have come to, on average; 1, because x becomes x / 4 + 3 / 4.

    Raises
    ------
    AbsentError
        When the loop cannot be compiled.
    """
    ends = np.zeros(threads, dtype)
    shards = []
    for thread in range(threads):
        arguments = times, 0.25, 0.75, ends[thread : thread + 1]
        loop = calls.bind("multiply_adds", ends.dtype, *arguments, text=_text())
        if loop is None:
            twins = build.base() is None
            raise AbsentError(build.explain() if twins else build.account(_text()))
        shards.append(calls.joined([loop]))
    together = calls.together(shards, threads) if threads > 1 else shards[0][0]
    assert together is not None  # every shard is one group of calls
    return together, ends


def _seconds(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


@cache
def _text() -> str:
    return (resources.files(__package__) / "peak.cpp").read_text(encoding="utf-8")
