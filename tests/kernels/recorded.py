"""What every verb of the CuPy backend launches: the kernels' final text, for NVIDIA's compiler."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import environment
from support.kernels import Kernel

from gpubp.backends import RowBlock, Rows, SparseBlock, SparseRows, Targets
from gpubp.backends.cupy import CupyBackend
from gpubp.kernels import (
    ACTIVATIONS,
    COSTS,
    PRECISIONS,
    SOFTMAX,
    UPDATES,
    Activation,
    OutputHead,
    ParameterArrays,
    StepVariables,
    UpdateRule,
)
from gpubp.kernels.joined import CostSum, joined_cuda
from gpubp.kernels.matmul import (
    layer_forward_product,
    layer_gradients_product,
    matmul_cuda,
)
from gpubp.kernels.output_layer import fits_one_launch, output_layer_cuda
from gpubp.kernels.typing import Array
from gpubp.kernels.update import update_and_advance_cuda

DTYPES = ("float32", "float64")


class Recorder:
    """A CuPy backend that records its kernels, with CuPy's final text, instead of running them."""

    def __init__(self, form: str = "rows") -> None:
        self._form = form
        self.kernels: dict[tuple[str, str], Kernel] = {}
        assert environment.ON_HOST is not None
        self.cuda = environment.ON_HOST

    def __enter__(self) -> Recorder:
        self._devices = self.cuda.devices()
        self._devices.__enter__()
        import cupy

        self.backend = CupyBackend(cupy, self.cuda.cublas, form=self._form)
        self.cuda.runtime.noted = []
        return self

    def __exit__(self, *error: Any) -> None:
        noted, self.cuda.runtime.noted = self.cuda.runtime.noted or [], None
        self._devices.__exit__(*error)
        own = [kernel for kernel in noted if not kernel.name.startswith("cupy_")]
        self.kernels = {(kernel.code, kernel.name): kernel for kernel in own}

    def array(self, *shape: int, dtype: str) -> Array:
        return self.backend.xp.empty(shape, dtype)


@cache
def launches() -> tuple[Kernel, ...]:
    """Record what every verb launches, for every table entry and for both dtypes."""
    with Recorder() as recorder:
        for dtype in DTYPES:
            run_layers(recorder, dtype)
            run_costs(recorder, dtype)
            run_fused(recorder, dtype, dtype)
            run_loading(recorder, dtype)
            run_sparse(recorder, dtype, dtype)
            run_updates(recorder, dtype)
        for precision in PRECISIONS.values():
            run_rounded(recorder, precision.storage)
            run_fused(recorder, precision.storage, "float32")
            run_sparse(recorder, precision.storage, "float32")
    with Recorder("elementwise") as elementwise:
        for dtype in DTYPES:
            run_elementwise(elementwise, dtype)
        for precision in PRECISIONS.values():
            run_rounded_elementwise(elementwise, precision.storage)
    return tuple((recorder.kernels | elementwise.kernels).values())


def run_layers(recorder: Recorder, dtype: str) -> None:
    backend = recorder.backend
    z, a = recorder.array(4, 3, dtype=dtype), recorder.array(4, 3, dtype=dtype)
    biases = recorder.array(3, dtype=dtype)
    wide = recorder.array(4, 8, dtype=dtype)
    square, tall = recorder.array(8, 8, dtype=dtype), recorder.array(2000, 8, dtype=dtype)
    odd = recorder.array(3, 3, dtype=dtype)
    for options in ((False, False), (True, False), (False, True)):
        matmul_cuda(backend.xp, square, square, square, *options, 1.0, 0.0, backend)()
    for matrix in (square, odd):
        backend.layer_gradients(matrix, matrix, matrix, matrix[0], 0.0)
    large = recorder.array(800, 800, dtype=dtype)
    matmul_cuda(backend.xp, large, large, large, False, False, 1.0, 0.0, backend)()
    matmul_cuda(backend.xp, tall, tall, square, True, False, 1.0, 0.0, backend)()
    for activation in ACTIVATIONS.values():
        backend.bias_activate(activation, wide, None, wide)
        for b in (None, biases):
            backend.bias_activate(activation, z, b, z)
            backend.bias_activate(activation, z, b, a)
        if not activation.rowwise:
            backend.multiply_by_derivative(activation, z, a, a)
    for name in ("tanh", "gelu"):  # tanh's derivative reads a, gelu's reads z
        activation = ACTIVATIONS[name]
        backend.layer_forward(activation, square, square, square[0], square, square)
        backend.layer_backward(activation, square, square, square, square, square)
    backend.column_sums(z, biases, 1.0)
    backend.column_sums(recorder.array(5000, 3, dtype=dtype), biases)
    backend.column_sums(wide, wide[0])
    backend.column_sums(recorder.array(2, 4100, dtype=dtype), recorder.array(4100, dtype=dtype))
    for first in (0, 1):  # begin at a Philox counter, and between two
        backend.dropout(z, a, recorder.array(2, dtype="int64"), 1, 0, first, 0.5)


def run_fused(recorder: Recorder, operands: str, dtype: str) -> None:
    """The output layer in one launch for every head, and products that share a launch."""
    backend, xp = recorder.backend, recorder.backend.xp
    counters = recorder.array(2, dtype="int64")
    wide = [recorder.array(64, 64, dtype=operands) for _ in range(2)]
    sums, costs = recorder.array(64, 64, dtype=dtype), recorder.array(64, dtype=dtype)
    many = recorder.array(500, 64, dtype=operands)  # the order's rows; the batch has 64 of them
    labels, order = recorder.array(500, dtype="int64"), recorder.array(500, dtype="int64")
    heads = [OutputHead(SOFTMAX, COSTS["cross_entropy"])]
    if operands == dtype:  # the largest functions; the other kernels compile each of them
        names = ("gelu", "huber"), ("sine", "poisson"), ("sigmoid", "binary_cross_entropy")
        heads += [OutputHead(ACTIVATIONS[name], COSTS[cost]) for name, cost in names]
    for width, takes_labels in ((5, False), (8, True), (40, False)):
        weights, y = (
            recorder.array(width, 64, dtype=operands),
            recorder.array(500, width, dtype=dtype),
        )
        batch = RowBlock(Rows(many, labels if takes_labels else y, order=order), counters, 0, 64)
        memory = recorder.array(64, width, dtype=dtype)
        targets = Targets(batch, memory, labels[:64] if takes_labels else None, 0.9, 0.1)
        x = batch if operands == dtype else wide[0]
        for head in heads:
            assert fits_one_launch(head, width)
            arrays = x, weights, sums[0], memory, targets, costs, memory, costs
            output_layer_cuda(xp, head, *arrays, backend)()
    cost = CostSum(costs, costs, recorder.array(9, dtype="float64"), counters)
    odd = recorder.array(64, 5, dtype=operands)  # another form of product in the same launch
    narrow = [recorder.array(5, 64, dtype=dtype), recorder.array(5, dtype=dtype)]
    products = [
        layer_gradients_product(odd, wide[0], *narrow, 0.0, backend),
        layer_gradients_product(*wide, sums, sums[0], 0.5, backend),
    ]
    if operands == dtype:
        products.append(layer_gradients_product(wide[0], batch, sums, sums[0], 0.5, backend))
        for name in ("tanh", "gelu"):
            layer = batch, wide[0], sums[0], sums, sums
            joined_cuda(xp, [layer_forward_product(ACTIVATIONS[name], *layer, backend)])()
    joined_cuda(xp, products, cost)()
    joined_cuda(xp, products[:2])()


CUSTOM_ACTIVATION = Activation.from_functions("custom", lambda xp, z: z * z, lambda xp, z: 2 * z)


def run_costs(recorder: Recorder, dtype: str) -> None:
    z, a, y, delta = (recorder.array(4, 3, dtype=dtype) for _ in range(4))
    scale, costs = recorder.array(4, dtype=dtype), recorder.array(4, dtype=dtype)
    for cost in COSTS.values():
        for activation in (*ACTIVATIONS.values(), CUSTOM_ACTIVATION):
            recorder.backend.output_delta(
                OutputHead(activation, cost), z, a, y, scale, delta, costs
            )


def run_elementwise(recorder: Recorder, dtype: str) -> None:
    """Run the elementwise form of every table entry; of the pairs, one with each entry is enough."""
    backend = recorder.backend
    z, a, y, delta = (recorder.array(4, 3, dtype=dtype) for _ in range(4))
    for activation in ACTIVATIONS.values():
        if not activation.rowwise:
            for biases in (None, z[0]):
                backend.bias_activate(activation, z, biases, a)
            backend.multiply_by_derivative(activation, z, a, a)
    pairs = [(activation, COSTS["quadratic"]) for activation in ACTIVATIONS.values()]
    pairs += [(ACTIVATIONS["tanh"], cost) for cost in COSTS.values()]
    for activation, cost in (*pairs, (CUSTOM_ACTIVATION, COSTS["huber"])):
        backend.output_delta(OutputHead(activation, cost), z, a, y, z[:, 0], delta, None)


def run_rounded_elementwise(recorder: Recorder, storage: str) -> None:
    backend = recorder.backend
    z, operands = recorder.array(4, 8, dtype="float32"), recorder.array(4, 8, dtype=storage)
    for name in ("relu", "gelu"):  # two are enough: their texts do not depend on the types
        for biases in (None, z[0]):
            backend.bias_activate(ACTIVATIONS[name], z, biases, operands)
        for v in (z, operands):
            backend.multiply_by_derivative(ACTIVATIONS[name], v, z, operands)


def run_rounded(recorder: Recorder, storage: str) -> None:
    backend = recorder.backend
    z, operands = recorder.array(4, 8, dtype="float32"), recorder.array(4, 8, dtype=storage)
    counters = recorder.array(2, dtype="int64")
    for name in ("relu", "gelu"):  # two are enough: their texts do not depend on the types
        backend.bias_activate(ACTIVATIONS[name], z, None, operands)
        for v in (z, operands):
            backend.multiply_by_derivative(ACTIVATIONS[name], v, z, operands)
    for source in ("float32", "float64", "uint8"):
        backend.gather(Rows(recorder.array(4, 8, dtype=source)), "x", counters, 0, operands)
    backend.dropout(operands, operands, counters, 1, 0, 0, 0.5)
    backend.column_sums(operands, z[0])
    backend.convert(z, operands)
    backend.convert(operands, z)
    square = recorder.array(8, 8, dtype="float32")
    matmul_cuda(backend.xp, operands, operands, square, True, False, 1.0, 0.0, backend)()
    narrow = recorder.array(8, 8, dtype=storage)
    relu, gelu = ACTIVATIONS["relu"], ACTIVATIONS["gelu"]
    backend.layer_forward(relu, narrow, narrow, square[0], square, narrow)
    backend.layer_backward(relu, narrow, narrow, narrow, square, narrow)
    backend.layer_backward(gelu, narrow, narrow, square, square, narrow)
    backend.layer_gradients(narrow, narrow, square, square[0], 0.0)
    double = recorder.array(3, dtype="float64")
    backend.multiply(z, double, z)
    backend.adapt_loss_scale(double, double)


def run_loading(recorder: Recorder, dtype: str) -> None:
    backend = recorder.backend
    counters, labels = recorder.array(2, dtype="int64"), recorder.array(4, dtype="int64")
    order, total = recorder.array(4, dtype="int64"), recorder.array(1, dtype="float64")
    out, weights = recorder.array(4, 3, dtype=dtype), recorder.array(4, dtype=dtype)
    for source in ("float32", "float64", "int8", "uint8", "int64", "bool"):
        x, y = recorder.array(8, 3, dtype=source), recorder.array(8, dtype=source)
        for rows in (Rows(x, y, y), Rows(x, y, y, order)):
            backend.gather(rows, "x", counters, 0, out)
            backend.gather(rows, "weights", counters, 0, weights)
            backend.gather(rows, "y", counters, 0, labels)
    backend.one_hot(labels, out, 0.0, 1.0)
    backend.normalize(weights)
    backend.weighted_sum(weights, weights, total, counters)
    backend.weighted_sum(weights, None, total)
    backend.weighted_sum(recorder.array(5, dtype=dtype)[1:], None, total)


def run_sparse(recorder: Recorder, operands: str, dtype: str) -> None:
    """Run the sparse verbs with weights and δ of the type `operands`."""
    backend, counters = recorder.backend, recorder.array(2, dtype="int64")
    places = recorder.array(4, dtype="int32"), recorder.array(9, dtype="int64")
    rows = Rows(SparseRows(recorder.array(4, dtype=dtype), *places, 3))
    block = SparseBlock(rows, counters, 0, 8)
    weights, delta = recorder.array(5, 3, dtype=operands), recorder.array(8, 5, dtype=operands)
    backend.sparse_product(block, weights, recorder.array(8, 5, dtype=dtype))
    backend.sparse_gradient(delta, block, recorder.array(5, 3, dtype=dtype), 0.0)


def run_updates(recorder: Recorder, dtype: str) -> None:
    theta, g = recorder.array(6, dtype=dtype), recorder.array(6, dtype=dtype)
    counters, rates = recorder.array(2, dtype="int64"), recorder.array(1, 4, dtype="float64")
    for update in UPDATES.values():
        state = tuple(recorder.array(6, dtype=dtype) for _ in update.state)
        hyperparameters = dict.fromkeys(update.hyperparameters, 0.5)
        norm = recorder.array(1, dtype="float64")
        for first in (0, 1):
            arrays = theta[first:], g[first:], tuple(array[first:] for array in state)
            recorder.backend.update(
                UpdateRule(update, hyperparameters),
                ParameterArrays(*arrays, 4),
                StepVariables(rates, counters, norm),
            )
            for storage, advances in ends_of(update.name, dtype):
                update_and_advance_cuda(
                    *(recorder.backend.xp, UpdateRule(update, hyperparameters)),
                    *(ParameterArrays(*arrays, 4), StepVariables(rates, counters, norm)),
                    None if storage is None else recorder.array(4, dtype=storage)[first:],
                    recorder.backend if advances else None,
                )[0]()


def ends_of(update: str, dtype: str) -> list[tuple[str | None, bool]]:
    """Choose what fused updates do too: Adam's, which have the most arrays, everything."""
    if dtype == "float64":
        return [(None, True)]
    if update != "adam":
        return [("uint16", True)]
    storages = (None, *(precision.storage for precision in PRECISIONS.values()))
    return [(storage, advances) for storage in storages for advances in (False, True)]


@cache
def translation_unit() -> tuple[str, int]:
    """Join all kernels into one text: CuPy's headers once, then each kernel in a namespace, renamed.

    Compiling them one by one would take a hundred times as long, almost all of it for the headers.
    """
    headers: dict[str, None] = {}
    parts = []
    for k, launch in enumerate(launches()):
        lines = launch.code.splitlines()
        headers |= dict.fromkeys(line for line in lines if line.startswith("#include"))
        body = "\n".join(line for line in lines if not line.startswith("#include"))
        name = re.escape(launch.name)
        body, renamed = re.subn(rf"(__global__\s+void\s+){name}\s*\(", rf"\1kernel_{k}(", body)
        assert renamed == 1
        parts.append(f"namespace n{k} {{\n{body}\n}}\n")
    return "\n".join(headers) + "\n" + "".join(parts), len(parts)
