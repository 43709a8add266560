"""The CuPy backend: the kernels' CUDA text through CuPy, matmuls through cuBLAS.

The whole suite has passed on a GPU (docs/gpu.md says on which). Where there is none, the tests run the
kernels' text and this file on CuPy with emulated devices.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from ...kernels import Activation, Cost, Precision, Update, UpdateOptions, layers, softmax, sums
from ...kernels import rows as rows_kernels
from ...kernels.dropout import dropout_cuda
from ...kernels.matmul import (
    is_small,
    layer_backward_cuda,
    layer_forward_cuda,
    layer_gradients_cuda,
    matmul_cuda,
)
from ...kernels.precision import convert_cuda
from ...kernels.scaling import adapt_loss_scale_cuda, multiply_cuda
from ...kernels.updates import update_cuda
from ..base import Array, Backend, Rows
from . import cublas
from .cublas import Cublas
from .feed import PinnedFeed
from .graphs import CapturedStep, Recording

__all__ = ["PROVEN", "CupyBackend", "open_cupy"]

PROVEN = True
"""Whether the whole suite has passed on a GPU; `backend="auto"` takes CuPy only then."""


def open_cupy(device: int = 0, graphs: bool = True) -> CupyBackend:
    """The backend with the CuPy that is installed; `graphs` lets steps become CUDA graphs.

    Raises
    ------
    ImportError : CuPy or cuBLAS does not load.
    """
    return CupyBackend(importlib.import_module("cupy"), cublas.load_library(), device, graphs)


class CupyBackend(Backend):
    """The verbs on device number `device`, through `cupy` and cuBLAS's `library`.

    With `graphs`, steps become CUDA graphs where all they do can be captured; without, lists of launches.
    """

    name = "cupy"

    def __init__(self, cupy: Any, library: Any, device: int = 0, graphs: bool = True) -> None:
        self.xp, self._graphs, self._recording = cupy, graphs, Recording()
        self.overlaps = graphs
        self._device, self._cublas = cupy.cuda.Device(device), Cublas(cupy, library)
        if device:
            self.name = f"cupy:{device}"

    @property
    def device(self) -> str:
        properties = self.xp.cuda.runtime.getDeviceProperties(self._device.id)
        return f"{properties['name'].decode()}, CuPy {self.xp.__version__}"

    def use(self) -> AbstractContextManager[Any]:
        return self._device  # type: ignore[no-any-return]

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        if getattr(values, "dtype", None) == np.longdouble:
            values = values.astype(np.float64)
        with self.use():
            array = self.xp.ascontiguousarray(self.xp.asarray(values, dtype))
            # gather would have to widen it for every batch
            return array.astype(np.float32) if array.dtype == np.float16 else array

    def to_numpy(self, array: Array) -> Any:
        return self.xp.asnumpy(array)

    def owns(self, array: Any) -> bool:
        return isinstance(array, self.xp.ndarray) and array.device == self._device

    def feed(self) -> Callable[[str, Any], Array]:
        with self.use():
            return PinnedFeed(self.xp)

    # How a step is laid out: one shard and, unless asked otherwise, one block.

    def plan(self, rows: int, widths: Sequence[int], limit: int | None) -> list[list[slice]]:
        count = 1 if limit is None else -(-rows // limit)
        edges = [rows * k // count for k in range(count + 1)]
        return [[slice(start, stop) for start, stop in pairwise(edges)]]

    def run_shards(self, functions: Sequence[Callable[[], None]]) -> None:
        for function in functions:
            function()

    def beside(self) -> AbstractContextManager[None]:
        return self._recording.beside(self.xp)

    def meet(self) -> None:
        self._recording.meet(self.xp)

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        return CapturedStep(self.xp, self._recording, self._cublas.prepare, step, self._graphs)

    def empty(self, shape: Any, dtype: Any) -> Array:
        """Scratch memory, which a graph that is being captured holds on to."""
        array = self.xp.empty(shape, dtype)
        if self._recording.held is not None:
            self._recording.held.append(array)
        return array

    def arrivals(self) -> Array:
        """Zeros for a product in parts to count with, and to leave as zeros."""
        return self._recording.arrivals(self.xp)

    def _do(self, call: Callable[[], None]) -> None:
        """Make a call, or write it down for a step's replays: all it uses is bound to it."""
        if self._recording.calls is None:
            call()
        else:
            self._recording.calls.append(call)

    def synchronize(self) -> None:
        with self.use():
            self.xp.cuda.get_current_stream().synchronize()

    # Verbs.

    def gather(
        self,
        rows: Rows,
        field: str,
        counters: Array,
        first: int,
        out: Array,
        scale: float = 1.0,
        shift: float = 0.0,
    ) -> None:
        self._recording.reads(rows, field)
        if getattr(rows, field).dtype == np.float16:
            self._recording.refuse("float16 rows are widened whole first")
        self._do(rows_kernels.gather_cuda(self.xp, rows, field, counters, first, out, scale, shift))

    def one_hot(self, labels: Array, out: Array, low: float, high: float) -> None:
        self._do(rows_kernels.one_hot_cuda(self.xp, labels, out, low, high))

    def normalize(self, weights: Array) -> None:
        total = self.empty(1, np.float64)
        self._do(sums.weighted_sum_cuda(self.xp, weights, None, total, None, False, self))
        self._do(rows_kernels.normalize_cuda(self.xp, total, weights))

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
        precision: Precision | None = None,
    ) -> None:
        options = transpose_a, transpose_b, alpha, beta
        if _is_small(a, out, precision):
            self._do(matmul_cuda(self.xp, a, b, out, *options, self))
        else:
            workspace = self._recording.workspace_for_cublas()
            tf32 = _is_tf32(precision)
            self._do(self._cublas.bind(a, b, out, *options, tf32=tf32, workspace=workspace))

    def operands(self, shape: tuple[int, ...], precision: Precision) -> Array:
        return self.xp.empty(shape, precision.storage)

    def round(self, values: Array, precision: Precision) -> None:
        """Storing has rounded bfloat16 and float16; tf32 is rounded where it is multiplied."""

    def convert(self, values: Array, out: Array) -> None:
        self._do(convert_cuda(self.xp, values, out))

    def bias_activate(
        self,
        activation: Activation,
        z: Array,
        biases: Array | None,
        a: Array,
        keep_z: bool = True,
    ) -> None:
        if not activation.rowwise and not _is_custom(activation):
            self._do(layers.bias_activate_cuda(self.xp, activation, z, biases, a, keep_z))
            return
        if biases is not None:
            self._do(partial(self.xp.add, z, biases, out=z))
        if activation.rowwise:
            self._do(softmax.softmax_cuda(self.xp, z, a))
        else:
            assert activation.function is not None
            self._recording.refuse(_CUSTOM)
            self._store(activation.function(self.xp, z), a)

    def layer_forward(
        self,
        activation: Activation,
        x: Array,
        weights: Array,
        biases: Array | None,
        z: Array,
        a: Array,
        precision: Precision | None = None,
        keep_z: bool = True,
    ) -> None:
        apart = activation.rowwise or _is_custom(activation)
        if apart or not _is_small(x, z, precision):
            super().layer_forward(activation, x, weights, biases, z, a, precision, keep_z)
        else:
            kept = z if keep_z and a is not z else None
            layer = x, weights, biases, kept, a
            self._do(layer_forward_cuda(self.xp, activation, *layer, self))

    def layer_backward(
        self,
        activation: Activation,
        delta: Array,
        weights: Array,
        v: Array,
        product: Array,
        out: Array,
        precision: Precision | None = None,
    ) -> None:
        if _has_custom_derivative(activation) or not _is_small(delta, out, precision):
            super().layer_backward(activation, delta, weights, v, product, out, precision)
        else:
            self._do(layer_backward_cuda(self.xp, activation, delta, weights, v, out, self))

    def layer_gradients(
        self,
        delta: Array,
        a: Array,
        weights: Array,
        biases: Array | None,
        beta: float,
        precision: Precision | None = None,
    ) -> None:
        if _is_small(delta, weights, precision):
            self._do(layer_gradients_cuda(self.xp, delta, a, weights, biases, beta, self))
        else:
            super().layer_gradients(delta, a, weights, biases, beta, precision)

    def dropout(
        self, x: Array, out: Array, counters: Array, seed: int, layer: int, first: int, rate: float
    ) -> None:
        self._do(dropout_cuda(self.xp, x, out, counters, seed, layer, first, rate))

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
            self._do(softmax.softmax_cross_entropy_cuda(self.xp, z, y, scale, delta, costs))
            return
        if costs is not None:
            if cost.function is not None and not cost.cuda:
                self._recording.refuse(_CUSTOM)
                self.xp.sum(cost.function(self.xp, a, y), axis=1, out=costs)
            else:
                self._do(softmax.row_costs_cuda(self.xp, cost, canonical, z, a, y, costs))
        if delta is not None:
            self._output_delta(cost, activation, z, a, y, scale, delta)
            if activation.rowwise:
                self._do(softmax.softmax_jacobian_cuda(self.xp, a, delta))

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
        custom_cost = cost.function_derivative is not None and not cost.cuda_derivative
        custom_activation = activation.function is not None and not activation.cuda_derivative
        if not custom_cost and not custom_activation:
            arrays = a, y, scale, v, delta
            self._do(layers.output_delta_cuda(self.xp, cost, activation, *arrays))
            return
        if custom_cost:
            assert cost.function_derivative is not None
            self._recording.refuse(_CUSTOM)
            self.xp.multiply(cost.function_derivative(self.xp, a, y), scale[:, None], out=delta)
        else:
            arrays = a, y, scale, v, delta
            self._do(layers.output_delta_cuda(self.xp, cost, _UNIT_DERIVATIVE, *arrays))
        if not activation.rowwise:
            self.multiply_by_derivative(activation, v, delta, delta)

    def multiply_by_derivative(
        self, activation: Activation, v: Array, product: Array, delta: Array
    ) -> None:
        if _has_custom_derivative(activation):
            assert activation.function_derivative is not None
            self._recording.refuse(_CUSTOM)
            derivative = activation.function_derivative(self.xp, self._wide(v))
            self._store(self.xp.multiply(product, derivative), delta)
        elif activation.name != "identity":
            arrays = v, product, delta
            self._do(layers.multiply_by_derivative_cuda(self.xp, activation, *arrays))
        elif product is not delta:
            self.convert(product, delta)

    def _wide(self, values: Array) -> Array:
        """Numbers that CuPy calculates with, of what may be operands of matmuls."""
        if values.dtype.kind == "f" and values.dtype != np.float16:
            return values
        wide = self.xp.empty(values.shape, np.float32)
        self.convert(values, wide)
        return wide

    def _store(self, values: Array, out: Array) -> None:
        """What an own function gave, in `out`, which may be an operand of matmuls."""
        if out.dtype.kind == "f":
            out[...] = values
        else:
            self.convert(self.xp.ascontiguousarray(values, np.float32), out)

    def column_sums(self, values: Array, out: Array, beta: float = 0.0) -> None:
        self._do(sums.column_sums_cuda(self.xp, values, out, beta, self))

    def weighted_sum(
        self, values: Array, weights: Array | None, out: Array, counters: Array | None = None
    ) -> None:
        slot = None if counters is None else counters[1:]
        options = slot, counters is not None, self, weights is None
        self._do(sums.weighted_sum_cuda(self.xp, values, weights, out, *options))

    def multiply(self, values: Array, factor: Array, out: Array) -> None:
        self._do(multiply_cuda(self.xp, values, factor, out))

    def adapt_loss_scale(self, loss_scale: Array, squared_norm: Array) -> None:
        self._do(adapt_loss_scale_cuda(self.xp, loss_scale, squared_norm))

    def add(self, values: Array, out: Array) -> None:
        self._do(partial(self.xp.add, out, values, out=out))

    def update(
        self,
        update: Update,
        hyperparameters: Mapping[str, float],
        options: UpdateOptions,
        theta: Array,
        gradient: Array,
        shard_gradients: Sequence[Array],
        state: tuple[Array, ...],
        n_weights: int,
        rates: Array,
        counters: Array,
        squared_norm: Array,
    ) -> None:
        for other in shard_gradients:
            self.add(other, gradient)
        arrays = theta, gradient, state, n_weights, rates, counters, squared_norm
        self._do(update_cuda(self.xp, update, hyperparameters, options, *arrays))

    def advance(self, counters: Array) -> None:
        self._do(partial(self.xp.add, counters, 1, out=counters))


def _is_custom(activation: Activation) -> bool:
    """Whether it is a Python function alone, which no kernel holds."""
    return activation.function is not None and not activation.cuda


def _has_custom_derivative(activation: Activation) -> bool:
    return activation.function_derivative is not None and not activation.cuda_derivative


def _is_tf32(precision: Precision | None) -> bool:
    return precision is not None and precision.storage == "float32"


def _is_small(a: Array, out: Array, precision: Precision | None) -> bool:
    """Whether the product of `a` and another array into `out` is for our own matmul."""
    rows, columns = out.shape
    inner = a.size // rows
    return not _is_tf32(precision) and is_small(rows, columns, inner)


# With this in an activation's place, output_delta_cuda gives scale ∂C/∂a alone.
_UNIT_DERIVATIVE = Activation(
    name="unit_derivative", formula="", reads="a", cuda_derivative="return T(1);"
)

_CUSTOM = "custom functions may do anything"
