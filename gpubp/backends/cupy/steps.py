"""Steps on CUDA: a step has one shard, and becomes a graph if CUDA can capture it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any

from ...kernels.cuda.launch import FORMS
from ...kernels.custom import check_choice
from ...kernels.typing import Array, Bound
from ..base import RowLayout, Steps
from . import cublaslt
from .cublas import Cublas
from .epilogues import Epilogues
from .graphs import CapturedStep
from .recording import Recording
from .repeated import RepeatedStep

__all__ = ["CupySteps"]

STEPS_AT_ONCE = 16
"""The training steps of one graph, if launches are fused."""


class CupySteps(Steps):
    """Steps on CUDA.

    Parameters
    ----------
    library : ctypes library
        cuBLAS.
    graphs : bool
        Whether steps become CUDA graphs if CUDA can capture them. Otherwise they become lists of launches.
    fused : bool
        Whether steps use the fused launches that have not run on a GPU yet.
    form : str
        One of `kernels.cuda.launch.FORMS`: how the verbs after a product are launched.
    """

    xp: Any

    def __init__(self, library: Any, graphs: bool, fused: bool = False, form: str = "rows") -> None:
        check_choice("form", form, FORMS)
        self._graphs, self._fused, self._form = graphs, fused, form
        self.overlaps = graphs or fused  # fused, a product may join a later launch, in lists too
        self.updates_beside = fused and graphs
        self.steps_at_once = STEPS_AT_ONCE if fused and graphs else 1
        self._recording, self._cublas = Recording(), Cublas(self.xp, library)
        self._epilogues = None
        if fused:
            library = cublaslt.load_library()
            self._epilogues = Epilogues(self.xp, library, self._recording, self)

    def plan(
        self,
        rows: int,
        widths: Sequence[int],
        limit: int | None,
        layout: RowLayout = "rows",
        trains: bool = True,
    ) -> list[list[slice]]:
        """One shard, and one block unless `limit` needs more: a kernel uses the whole device."""
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

    def repeat(self, captured: Bound, times: int, steps: Bound) -> Bound:
        if isinstance(captured, CapturedStep) and self._graphs and self._fused:
            return RepeatedStep(captured, times, steps)
        return super().repeat(captured, times, steps)

    # For verbs.

    def temporary(self, shape: Any, dtype: Any) -> Array:
        """Return memory for one launch. A graph that is being captured holds a reference to it."""
        array = self.xp.empty(shape, dtype)
        if self._recording.held is not None:
            self._recording.held.append(array)
        return array

    def arrivals(self) -> Array:
        """Return zeros with which the blocks of a launch count; the launch leaves them as zeros."""
        return self._recording.arrivals(self.xp)

    def _do(self, call: Bound) -> None:
        """Make a call, or record it for a step's replays; it is bound to all its arguments."""
        if self._recording.calls is None:
            call()
        else:
            self._recording.calls.append(call)
