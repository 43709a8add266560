"""Several runs of a captured step as one CUDA graph, and so as one launch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from ..base import Array
from .graphs import CapturedStep

__all__ = ["RepeatedStep"]


class RepeatedStep(CapturedStep):
    """Several runs of a captured step, one after another.

    Where the step has a graph, its runs become one graph, which uses the same memory for products. The
    kernels are then compiled, and the addresses of the rows are known. Everywhere else, the step is called
    several times.

    Parameters
    ----------
    single : CapturedStep
        The step.
    times : int
        The number of runs.
    steps : callable
        The verbs of so many runs.
    """

    def __init__(self, single: CapturedStep, times: int, steps: Callable[[], None]) -> None:
        super().__init__(single._cupy, single._recording, single._prepare, steps)
        self._single, self._times = single, times

    def __call__(self) -> None:
        if self._recording.is_busy:
            self._step()
            return
        graph = self._graph()
        if graph is not None:
            graph.launch()
            return
        for _ in range(self._times):
            self._single()

    def _graph(self) -> Any:
        """Return the graph for the rows as they are; None if there is none."""
        single = self._single
        if single._sources is None:
            return None
        key = single._key()
        if key not in self._graphs:
            if key not in single._graphs or key in self._refused or not self._may_capture(key):
                return None
            self._capture(key)
        return self._graphs[key][0] if key in self._graphs else None

    def _record(self) -> tuple[Any, list[Array]]:
        self._memories = list(self._single._memories)
        return super()._record()

    def _warn(self, error: Exception) -> None:
        warnings.warn(
            f"{self._times} steps cannot be captured in one CUDA graph ({error}): they are launched one"
            " by one, which gives the same result more slowly",
            RuntimeWarning,
            stacklevel=5,
        )
