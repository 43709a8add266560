"""The CuPy backend: the kernels' CUDA text through CuPy, matmuls through cuBLAS.

Until `make gpu-check` has passed on a GPU and its report is committed, `PROVEN` is False, and this
backend runs only where it is asked for by name. Its kernels' text and this file are run on the host
compiler by the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any

import numpy as np

from ..kernels import Activation, Cost, Shared, Update, layers, softmax, sums
from ..kernels import rows as rows_kernels
from ..kernels.dropout import dropout_cuda
from ..kernels.updates import update_cuda
from .base import Array, Backend, Rows

__all__ = ["PROVEN", "CupyBackend"]

PROVEN = False
"""Whether the whole suite has passed on a GPU; `backend="auto"` takes CuPy only then."""


class CupyBackend(Backend):
    """The verbs on device number `device`, through `cupy`, the module or a stand-in for it."""

    name = "cupy"

    def __init__(self, cupy: Any, device: int = 0) -> None:
        self.xp = cupy
        self._device = cupy.cuda.Device(device)
        if device:
            self.name = f"cupy:{device}"

    @property
    def device(self) -> str:
        properties = self.xp.cuda.runtime.getDeviceProperties(self._device.id)
        return f"{properties['name'].decode()}, CuPy {self.xp.__version__}"

    def use(self) -> AbstractContextManager[Any]:
        return self._device  # type: ignore[no-any-return]

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        with self.use():
            array = self.xp.ascontiguousarray(self.xp.asarray(values, dtype))
            # gather would have to widen it for every batch
            return array.astype(np.float32) if array.dtype == np.float16 else array

    def to_numpy(self, array: Array) -> Any:
        return self.xp.asnumpy(array)

    def owns(self, array: Any) -> bool:
        return isinstance(array, self.xp.ndarray) and array.device == self._device

    # How a step is laid out: one lane and, unless asked otherwise, one block; the device has its own lanes.

    def plan(self, rows: int, widths: Sequence[int], limit: int | None) -> list[list[slice]]:
        count = 1 if limit is None else -(-rows // limit)
        edges = [rows * k // count for k in range(count + 1)]
        return [[slice(start, stop) for start, stop in pairwise(edges)]]

    def lanes(self, functions: Sequence[Callable[[], None]]) -> None:
        for function in functions:
            function()

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        return step

    def synchronize(self) -> None:
        with self.use():
            self.xp.cuda.get_current_stream().synchronize()

    # Verbs.

    def gather(
        self,
        rows: Rows,
        field: str,
        clock: Array,
        first: int,
        out: Array,
        scale: float = 1.0,
        shift: float = 0.0,
    ) -> None:
        rows_kernels.gather_cuda(self.xp, rows, field, clock, first, out, scale, shift)

    def one_hot(self, labels: Array, out: Array, low: float, high: float) -> None:
        rows_kernels.one_hot_cuda(self.xp, labels, out, low, high)

    def normalize(self, weights: Array) -> None:
        total = self.xp.sum(weights, dtype=np.float64)
        rows_kernels.normalize_cuda(self.xp)(total, weights)

    def matmul(
        self,
        a: Array,
        b: Array,
        out: Array,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        alpha: float = 1.0,
        beta: float = 0.0,
    ) -> None:
        self.xp.cublas.gemm(
            "T" if transpose_a else "N",
            "T" if transpose_b else "N",
            a,
            b,
            out=out,
            alpha=alpha,
            beta=beta,
        )

    def bias_activate(
        self, activation: Activation, z: Array, biases: Array | None, a: Array
    ) -> None:
        own = activation.function is not None and not activation.cuda
        if not activation.rowwise and not own:
            layers.bias_activate_cuda(self.xp, activation, z, biases, a)
            return
        if biases is not None:
            self.xp.add(z, biases, out=z)
        if activation.rowwise:
            softmax.softmax_cuda(self.xp, z, a)
        else:
            assert activation.function is not None
            a[...] = activation.function(self.xp, z)

    def dropout(
        self, x: Array, out: Array, clock: Array, seed: int, layer: int, first: int, rate: float
    ) -> None:
        dropout_cuda(self.xp, x, out, clock, seed, layer, first, rate)

    def output_delta(
        self,
        cost: Cost,
        activation: Activation,
        z: Array,
        a: Array,
        y: Array,
        scale: Array,
        delta: Array | None,
        costs: Array | None,
    ) -> None:
        canonical = cost.canonical == activation.name
        if canonical and activation.rowwise:
            softmax.softmax_cross_entropy_cuda(self.xp, z, y, scale, delta, costs)
            return
        if costs is not None:
            if cost.function is not None and not cost.cuda:
                self.xp.sum(cost.function(self.xp, a, y), axis=1, out=costs)
            else:
                softmax.row_costs_cuda(self.xp, cost, canonical, z, a, y, costs)
        if delta is not None:
            self._output_delta(cost, activation, z, a, y, scale, delta)
            if activation.rowwise:
                softmax.softmax_jacobian_cuda(self.xp, a, delta)

    def _output_delta(
        self,
        cost: Cost,
        activation: Activation,
        z: Array,
        a: Array,
        y: Array,
        scale: Array,
        delta: Array,
    ) -> None:
        v = a if activation.reads == "a" else z
        own_cost = cost.function_derivative is not None and not cost.cuda_derivative
        own_activation = activation.function is not None and not activation.cuda_derivative
        if not own_cost and not own_activation:
            layers.output_delta_cuda(self.xp, cost, activation, a, y, scale, v, delta)
            return
        if own_cost:
            assert cost.function_derivative is not None
            self.xp.multiply(cost.function_derivative(self.xp, a, y), scale[:, None], out=delta)
        else:
            layers.output_delta_cuda(self.xp, cost, _UNIT_DERIVATIVE, a, y, scale, v, delta)
        if not activation.rowwise:
            self.multiply_by_derivative(activation, v, delta)

    def multiply_by_derivative(self, activation: Activation, v: Array, delta: Array) -> None:
        if activation.function_derivative is not None and not activation.cuda_derivative:
            self.xp.multiply(delta, activation.function_derivative(self.xp, v), out=delta)
        elif activation.name != "identity":
            layers.multiply_by_derivative_cuda(self.xp, activation)(v, delta)

    def column_sums(self, values: Array, out: Array, beta: float = 0.0) -> None:
        chunks = -(-len(values) // sums.CHUNK_ROWS)
        partial = self.xp.empty((chunks, values.shape[1]), np.float64) if chunks > 1 else None
        sums.column_sums_cuda(self.xp, values, out, beta, partial)

    def weighted_sum(
        self, values: Array, weights: Array | None, out: Array, clock: Array | None = None
    ) -> None:
        slot = None if clock is None else clock[1:]
        sums.weighted_sum_cuda(self.xp, values, weights, out, slot, add=clock is not None)

    def log_sum_exp(self, z: Array, out: Array) -> None:
        softmax.log_sum_exp_cuda(self.xp, z, out)

    def add(self, values: Array, out: Array) -> None:
        self.xp.add(out, values, out=out)

    def update(
        self,
        update: Update,
        hyperparameters: Mapping[str, float],
        shared: Shared,
        theta: Array,
        gradient: Array,
        others: Sequence[Array],
        state: tuple[Array, ...],
        n_weights: int,
        table: Array,
        clock: Array,
        squared_norm: Array,
    ) -> None:
        for other in others:
            self.add(other, gradient)
        update_cuda(
            self.xp,
            update,
            hyperparameters,
            shared,
            theta,
            gradient,
            state,
            n_weights,
            table,
            clock,
            squared_norm,
        )

    def advance(self, clock: Array) -> None:
        self.xp.add(clock, 1, out=clock)


# With this in an activation's place, output_delta_cuda gives scale ∂C/∂a alone.
_UNIT_DERIVATIVE = Activation(
    name="unit_derivative", formula="", reads="a", cuda_derivative="return T(1);"
)
