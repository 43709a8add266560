"""Predict with captured forward passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..backends import Array, Rows, SparseRows
from ..backprop import predict
from ..layers import widths
from ..memory import allocated
from ..problem import Problem
from ..signals import uninterrupted
from ..workspace import Workspace
from .captured_passes import CapturedPasses

__all__ = ["Predictor"]

ROWS_AT_ONCE = 16384
"""The most rows of a forward pass; the limit keeps the buffers small."""


@dataclass
class Captured:
    """The captured forward pass for batches of one size.

    Attributes
    ----------
    rows : Rows
        The rows that the pass reads.
    outputs : array of shape (rows, n_out)
        The array that the pass writes the outputs to.
    replay : callable
        A function without arguments that replays the pass.
    found : int64 array of shape (shards, 1), or None
        Not 0 after a pass whose x is not finite or does not fit the network's dtype; None if a pass does
        not check that.
    """

    rows: Rows
    outputs: Array
    replay: Callable[[], None]
    found: Array | None


class Predictor(CapturedPasses[Captured]):
    """Computes outputs with captured passes. Several threads may call it; they take turns.

    Parameters
    ----------
    problem : Problem
        The layers and their backend.
    checks : bool
        Whether passes check dense rows as they read them, which saves a pass over x.

    Attributes
    ----------
    checks : bool
        The parameter.
    captured : dict of Captured
        The forward passes of the latest batches, by their size and whether x was sparse.
    """

    def __init__(self, problem: Problem, checks: bool) -> None:
        super().__init__(problem)
        self.checks = checks

    def __call__(
        self, x: Array | SparseRows, check: Callable[[], object], step: int | None = None
    ) -> Array:
        """Return a new array of outputs, (rows, n_out).

        Parameters
        ----------
        x : array of shape (rows, n_in), or SparseRows
            The rows, on the backend. Sparse rows have been checked, and dense ones unless `checks` is true.
        check : callable
            A function that raises an error if a value is wrong. It is called if a pass has found one.
        step : int, optional
            The number that chooses the dropout masks, if the problem has dropout. All rows are then one
            batch.
        """
        count, kernels = len(x), self._problem.backend.kernels
        if count <= ROWS_AT_ONCE or step is not None:
            return self._predict(x, check, kernels, step)
        outputs = self._outputs(count)
        for start in range(0, count, ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            outputs[part] = self._predict(x[part], check, kernels)
        return outputs

    def _predict(
        self,
        x: Array | SparseRows,
        check: Callable[[], object],
        kernels: int,
        step: int | None = None,
    ) -> Array:
        form = len(x), isinstance(x, SparseRows)
        with self._lock:
            captured = self._pass_for(*form, kernels, self._capture)
            self._set_step(step)
            outputs = self._replay(captured, x)
            if captured.found is None or not captured.found.any():
                return outputs
            captured.found.fill(0)
        check()
        return outputs  # the values have changed since

    @staticmethod
    @uninterrupted
    def _replay(captured: Captured, x: Array | SparseRows) -> Array:
        captured.rows.x = x
        try:
            captured.replay()
        finally:
            captured.rows.x = None
        return captured.outputs.copy()

    def _capture(self, count: int, sparse: bool) -> Captured:
        problem, rows, outputs = self._problem, Rows(None), self._outputs(count)
        checks = self.checks and not sparse
        workspace = Workspace(problem, count, "predict", outputs=outputs, sparse=sparse)
        found = problem.backend.zeros((len(workspace.shards), 1), np.int64) if checks else None
        replay = problem.backend.capture(lambda: predict(problem, workspace, rows, found))
        return Captured(rows, outputs, replay, found)

    def _outputs(self, count: int) -> Array:
        backend, sizes = self._problem.backend, widths(self._problem.layers)
        dtype = self._problem.layers[-1].weights.dtype
        return allocated(
            lambda: backend.empty((count, sizes[-1]), dtype),
            f"the output of {count} rows, of a network of sizes {sizes},",
            count * sizes[-1] * dtype.itemsize,
            backend,
        )
