"""Steps on CUDA: one shard, and a graph where all that the step does can be captured."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any

from ...kernels.typing import Array, Bound
from ..base import Steps
from .cublas import Cublas
from .graphs import CapturedStep, Recording

__all__ = ["CupySteps"]


class CupySteps(Steps):
    """Steps on CUDA.

    Parameters
    ----------
    library : ctypes library
        cuBLAS.
    graphs : bool
        Whether steps become CUDA graphs where they can, else lists of launches.
    """

    xp: Any

    def __init__(self, library: Any, graphs: bool) -> None:
        self.overlaps = self._graphs = graphs
        self._recording, self._cublas = Recording(), Cublas(self.xp, library)

    def plan(self, rows: int, widths: Sequence[int], limit: int | None) -> list[list[slice]]:
        """One shard and, unless a limit asks for more, one block: the device has parallelism of its own."""
        count = 1 if limit is None else -(-rows // limit)
        edges = [rows * k // count for k in range(count + 1)]
        return [[slice(start, stop) for start, stop in pairwise(edges)]]

    def run_shards(self, functions: Sequence[Bound]) -> None:
        for function in functions:
            function()

    def beside(self) -> AbstractContextManager[None]:
        return self._recording.beside(self.xp)

    def meet(self) -> None:
        self._recording.meet(self.xp)

    def capture(self, step: Bound) -> Bound:
        return CapturedStep(self.xp, self._recording, self._cublas.prepare, step, self._graphs)

    # What verbs use.

    def temporary(self, shape: Any, dtype: Any) -> Array:
        """Memory for one launch, which a graph that is being captured holds on to."""
        array = self.xp.empty(shape, dtype)
        if self._recording.held is not None:
            self._recording.held.append(array)
        return array

    def arrivals(self) -> Array:
        """Zeros for the blocks of a launch to count with, and to leave as zeros."""
        return self._recording.arrivals(self.xp)

    def _do(self, call: Bound) -> None:
        """Make a call, or write it down for a step's replays: all it uses is bound to it."""
        if self._recording.calls is None:
            call()
        else:
            self._recording.calls.append(call)
