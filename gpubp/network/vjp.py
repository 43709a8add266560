"""Vector-Jacobian products with captured backward passes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import as_array, home_of, move
from ..backends import Array, Backend, Rows, SparseRows
from ..backprop import vjp
from ..data_validation import check_finite, check_fits
from ..layers import Layout, widths
from ..memory import allocated
from ..problem import Problem
from ..signals import uninterrupted
from ..workspace import Workspace
from .captured_passes import CapturedPasses
from .results import Vjp

__all__ = ["BackwardPasses", "as_result", "check_output_gradient"]


@dataclass
class Captured:
    """The captured forward and backward pass for batches of one size.

    Attributes
    ----------
    rows : Rows
        The rows that the pass reads; y is the output gradient.
    gradient : array of shape (size,)
        The array that the pass writes the gradient of all parameters to.
    input_gradient : array of shape (rows, n_in), or None
        The array that the pass writes the gradient of x to; None if x is sparse.
    replay : callable
        A function without arguments that replays the pass.
    """

    rows: Rows
    gradient: Array
    input_gradient: Array | None
    replay: Callable[[], None]


class BackwardPasses(CapturedPasses[Captured]):
    """Computes gradients from output gradients. Several threads may call it; they take turns.

    Parameters
    ----------
    problem : Problem
        The layers and their backend.
    layout : Layout
        The places of their parameters.
    """

    def __init__(self, problem: Problem, layout: Layout) -> None:
        super().__init__(problem)
        self._layout = layout

    def __call__(
        self, x: Array | SparseRows, output_gradient: Array, step: int | None = None
    ) -> tuple[Array, Array | None]:
        """Return new arrays: the gradient of all parameters, and that of x or None.

        Parameters
        ----------
        x : array of shape (rows, n_in), or SparseRows
            The rows, on the backend.
        output_gradient : array of shape (rows, n_out)
            The gradient of the outputs, on the backend.
        step : int, optional
            The number that chooses the dropout masks, if the problem has dropout.
        """
        precision, kernels = self._problem.precision, self._problem.backend.kernels
        if precision is None or not precision.scaled:
            return self._pull(x, output_gradient, kernels, step)
        # δ is stored in float16. The gradients are linear in the output gradient, so it is scaled by a
        # power of two into the range of float16, and less if δ of other layers is too large there.
        with np.errstate(all="ignore"):
            exponent = math.frexp(float(abs(output_gradient).max()))[1]
            for headroom in (0, 6, 12):
                shift = headroom + exponent
                results = self._pull(x, output_gradient * 2.0**-shift, kernels, step)
                if bool(self._problem.backend.xp.isfinite(results[0]).all()):
                    break
            gradient, inputs = (None if a is None else a * 2.0**shift for a in results)
        return gradient, inputs

    def _pull(
        self, x: Array | SparseRows, output_gradient: Array, kernels: int, step: int | None
    ) -> tuple[Array, Array | None]:
        with self._lock:
            form = len(x), isinstance(x, SparseRows)
            captured = self._pass_for(*form, kernels, self._capture)
            self._set_step(step)
            return self._replay(captured, x, output_gradient)

    @staticmethod
    @uninterrupted
    def _replay(
        captured: Captured, x: Array | SparseRows, output_gradient: Array
    ) -> tuple[Array, Array | None]:
        captured.rows.x, captured.rows.y = x, output_gradient
        try:
            captured.replay()
        finally:
            captured.rows.x = captured.rows.y = None
        inputs = captured.input_gradient
        return captured.gradient.copy(), None if inputs is None else inputs.copy()

    def _capture(self, count: int, sparse: bool) -> Captured:
        problem, rows, layout = self._problem, Rows(None), self._layout
        backend, dtype = problem.backend, problem.layers[0].weights.dtype
        sizes = widths(problem.layers)

        def new(what: str, *shape: int) -> Any:
            return allocated(
                lambda: backend.empty(shape, dtype),
                f"{what}, of a network of sizes {sizes},",
                math.prod(shape) * dtype.itemsize,
                backend,
            )

        inputs = None if sparse else new(f"the input gradient of {count} rows", count, sizes[0])
        into = {} if inputs is None else {"input_gradient": inputs}
        workspace = Workspace(problem, count, "vjp", sparse=sparse, **into)
        gradients = [new("a gradient", layout.size) for _ in workspace.shards]
        views = [layout.views(gradient) for gradient in gradients]
        replay = backend.capture(lambda: vjp(problem, workspace, rows, gradients, views))
        return Captured(rows, gradients[0], inputs, replay)


def check_output_gradient(gradient: Any, rows: int, n_out: int, dtype: np.dtype[Any]) -> Array:
    """Check a gradient of a network's outputs.

    Parameters
    ----------
    gradient : array_like of shape (rows, n_out), or (n_out,) for one row
        The gradient.
    rows : int
        The number of rows of x.
    n_out : int
        Width of the output layer.
    dtype : dtype
        The network's dtype, which the values must fit.

    Returns
    -------
    array of shape (rows, n_out)
        The gradient, on its device.

    Raises
    ------
    ValueError
        If the shape is wrong, or the gradient contains NaN, infinity or numbers too large for `dtype`.
    """
    name = "output_gradient"
    with home_of(gradient).use():
        array = as_array(name, gradient)
        if rows == 1 and array.shape == (n_out,):
            array = array[None, :]
        if array.shape != (rows, n_out):
            expected = f"expected ({rows}, {n_out}), the outputs' shape"
            raise ValueError(f"{name} has shape {array.shape}, {expected}")
        check_finite(name, array)
        check_fits(name, array, dtype)
    return array


def as_result(
    gradient: Array, input_gradient: Array | None, layout: Layout, home: Backend, ndim: int
) -> Vjp:
    """Make the result for an x of `ndim` dimensions on the device of `home`."""
    views = layout.views(gradient)
    if input_gradient is not None:
        input_gradient = move(input_gradient, home)
        input_gradient = input_gradient[0] if ndim == 1 else input_gradient
    return Vjp(
        gradient=gradient,
        weight_gradients=[weights for weights, _ in views],
        bias_gradients=[biases for _, biases in views],
        input_gradient=input_gradient,
    )
