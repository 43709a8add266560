"""Run each verb on small odd shapes, to compare it with NumPy or to watch it with compute-sanitizer.

python tests/gpu/gpu_verbs.py                    compare; each verb's outcome is a record
python tests/gpu/gpu_verbs.py --no-pool matmul   for compute-sanitizer: each array has its own memory
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from gpu_cupy import import_cupy, open_backend
from gpu_report import last_lines, record

import gpubp
from gpubp.backends import Backend, Rows, SparseBlock, SparseRows
from gpubp.backends.numpy import NumpyBackend
from gpubp.kernels import (
    ACTIVATIONS,
    COSTS,
    PRECISIONS,
    UPDATES,
    OutputHead,
    ParameterArrays,
    StepVariables,
    UpdateOptions,
    UpdateRule,
)
from gpubp.kernels import matmul as small
from gpubp.kernels.typing import Array

Case = Callable[[Backend, str], Iterator[Array]]

SHAPES = ((1, 1), (3, 5), (33, 17), (40, 32), (1025, 33))
HYPERPARAMETERS = {
    "momentum": 0.9, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "decay": 0.99,
}  # fmt: skip
ACTIVATIONS_RUN = ("identity", "relu", "tanh", "gelu", "softmax")
COSTS_RUN = ("quadratic", "cross_entropy", "huber")
"""Only a few, because each is a kernel, and compiling takes longer than running. The suite runs all."""
WIDE_TOO = (
    *("matmul", "layers", "matmul_large", "column_sums", "weighted_sum", "softmax", "update"),
    "sparse_products",
)
"""Verbs that also run in float64."""
SHARING = ("matmul", "layers", "column_sums", "weighted_sum", "softmax", "train", "sparse_products")
"""Verbs whose threads exchange values; racecheck runs these."""


def numbers(backend: Backend, shape: Any, dtype: Any = "float32", seed: int = 0) -> Array:
    return backend.asarray(np.random.default_rng(seed).normal(size=shape).astype(dtype))


def zeros(backend: Backend, shape: Any, dtype: Any = "float32") -> Array:
    return backend.asarray(np.zeros(shape, dtype))


def counters(backend: Backend) -> Array:
    return backend.asarray(np.array([3, 1], np.int64))


def gather(backend: Backend, dtype: str) -> Iterator[Array]:
    order = np.random.default_rng(1).permutation(41)
    for columns in (1, 5, 16):
        for source in ("float32", "float64", "uint8", "bool"):
            x = backend.asarray((np.arange(41 * columns).reshape(41, columns) % 7).astype(source))
            for taken in (None, backend.asarray(order)):
                out = zeros(backend, (9, columns), dtype)
                rows = Rows(x, order=taken, stride=9)
                backend.gather(rows, "x", counters(backend), 3, out, 0.5, 0.25)
                yield out


def sparse_products(backend: Backend, dtype: str) -> Iterator[Array]:
    for columns, outputs in ((5, 1), (70, 130), (5000, 33)):
        stored = np.random.default_rng(1).random((41, columns)) < 0.1
        places = np.concatenate([[0], np.cumsum(stored.sum(axis=1))])
        x = SparseRows(
            numbers(backend, int(places[-1]), dtype),
            backend.asarray(np.nonzero(stored)[1].astype(np.int32)),
            backend.asarray(places.astype(np.int64)),
            columns,
        )
        order = backend.asarray(np.random.default_rng(2).permutation(41))
        block = SparseBlock(Rows(x, order=order, stride=9), counters(backend), 3, 29)
        weights = numbers(backend, (outputs, columns), dtype)
        delta = numbers(backend, (29, outputs), dtype)
        z, gradient = (
            zeros(backend, (29, outputs), dtype),
            zeros(backend, (outputs, columns), dtype),
        )
        backend.sparse_product(block, weights, z)
        backend.sparse_gradient(delta, block, gradient, 0.5)
        yield from (z, gradient)


def one_hot(backend: Backend, dtype: str) -> Iterator[Array]:
    for columns in (1, 7, 32, 33):
        out = zeros(backend, (13, columns), dtype)
        backend.one_hot(backend.asarray(np.arange(13) % columns), out, 0.1, 0.9)
        yield out


def normalize(backend: Backend, dtype: str) -> Iterator[Array]:
    for size in (1, 33, 17_000):
        weights = backend.asarray(np.random.default_rng(0).uniform(1, 2, size).astype(dtype))
        backend.normalize(weights)
        yield weights


def matmul(backend: Backend, dtype: str) -> Iterator[Array]:
    for rows, columns, inner in ((1, 1, 1), (7, 5, 3), (33, 65, 17), (16, 16, 700), (130, 10, 64)):
        for transpose_a in (False, True):
            for transpose_b in (False, True):
                a = numbers(backend, (inner, rows) if transpose_a else (rows, inner), dtype, 1)
                b = numbers(
                    backend, (columns, inner) if transpose_b else (inner, columns), dtype, 2
                )
                out = numbers(backend, (rows, columns), dtype, 3)
                ways: Any = {"transpose_a": transpose_a, "transpose_b": transpose_b}
                backend.matmul(a, b, out, alpha=0.5, beta=2.0, **ways)
                yield out


def layers(backend: Backend, dtype: str) -> Iterator[Array]:
    """Yield a layer's three products, each with what follows it; some are cut into parts."""
    for rows, n_out, n_in in ((1, 1, 1), (33, 17, 5), (40, 32, 700), (900, 40, 36)):
        for activation in (ACTIVATIONS["relu"], ACTIVATIONS["gelu"]):
            x, w = (numbers(backend, s, dtype, 1) for s in ((rows, n_in), (n_out, n_in)))
            z, a = (zeros(backend, (rows, n_out), dtype) for _ in range(2))
            backend.layer_forward(activation, x, w, numbers(backend, n_out, dtype, 2), z, a)
            yield from (z, a)
            delta, out = (
                numbers(backend, (rows, n_out), dtype, 3),
                zeros(backend, (rows, n_in), dtype),
            )
            backend.layer_backward(activation, delta, w, x, out, out)
            yield out
            gradient, biases = zeros(backend, (n_out, n_in), dtype), zeros(backend, n_out, dtype)
            backend.layer_gradients(delta, x, gradient, biases, 0.5)
            yield from (gradient, biases)


def matmul_large(backend: Backend, dtype: str) -> Iterator[Array]:
    """Yield products that go to cuBLAS in spite of their size."""
    for transpose_a, transpose_b in ((False, False), (False, True), (True, False), (True, True)):
        a = numbers(backend, (130, 301) if transpose_a else (301, 130), dtype, 1)
        b = numbers(backend, (259, 130) if transpose_b else (130, 259), dtype, 2)
        out = numbers(backend, (301, 259), dtype, 3)
        ways: Any = {"transpose_a": transpose_a, "transpose_b": transpose_b}
        kept, small.SMALL_WORK = small.SMALL_WORK, -1
        try:
            backend.matmul(a, b, out, alpha=0.5, beta=2.0, **ways)
        finally:
            small.SMALL_WORK = kept
        yield out


def matmul_rounded(backend: Backend, dtype: str) -> Iterator[Array]:
    if dtype != "float32":
        return
    for precision in PRECISIONS.values():
        for rows, inner, columns in ((33, 40, 24), (304, 136, 256)):
            shapes = (rows, inner), (inner, columns)
            a, b = (backend.operands(shape, precision) for shape in shapes)
            for seed, operand in enumerate((a, b)):
                backend.convert(numbers(backend, operand.shape, seed=seed), operand)
                backend.round(operand, precision)
            out = zeros(backend, (rows, columns))
            backend.matmul(a, b, out, precision=precision)
            yield out


def convert(backend: Backend, dtype: str) -> Iterator[Array]:
    if dtype != "float32":
        return
    for precision in PRECISIONS.values():
        for shape in SHAPES:
            narrow = backend.operands(shape, precision)
            backend.convert(numbers(backend, shape), narrow)
            if precision.name != "tf32":  # a GPU rounds to tf32 in the multiplication
                backend.round(narrow, precision)
            wide = zeros(backend, shape)
            backend.convert(narrow, wide)
            yield wide


def bias_activate(backend: Backend, dtype: str) -> Iterator[Array]:
    for activation in map(ACTIVATIONS.__getitem__, ACTIVATIONS_RUN):
        for shape in SHAPES[:-1]:
            z, a = numbers(backend, shape, dtype), zeros(backend, shape, dtype)
            backend.bias_activate(activation, z, numbers(backend, shape[1], dtype, 5), a)
            yield from (z, a)


def dropout(backend: Backend, dtype: str) -> Iterator[Array]:
    for shape in SHAPES:
        x = numbers(backend, shape, dtype)
        backend.dropout(x, x, counters(backend), 7, 2, 5, 0.3)
        yield x


def output_delta(backend: Backend, dtype: str) -> Iterator[Array]:
    rng = np.random.default_rng(4)
    for name in ("identity", "sigmoid", "softmax"):
        for cost in map(COSTS.__getitem__, COSTS_RUN):
            for shape in SHAPES[1:4]:
                a = rng.uniform(0.2, 0.8, shape).astype(dtype)
                if name == "softmax":
                    a = a / a.sum(axis=1, keepdims=True)
                y = np.eye(shape[1], dtype=dtype)[rng.integers(shape[1], size=shape[0])]
                z = np.log(a / (1 - a)) if name == "sigmoid" else np.log(a)
                z = a if name == "identity" else z.astype(dtype)
                scale = np.full(shape[0], 0.5, dtype)
                z, a, y, scale = (backend.asarray(values) for values in (z, a, y, scale))
                delta, costs = zeros(backend, shape, dtype), zeros(backend, shape[0], dtype)
                backend.output_delta(
                    OutputHead(ACTIVATIONS[name], cost), z, a, y, scale, delta, costs
                )
                yield from (delta, costs)


def multiply_by_derivative(backend: Backend, dtype: str) -> Iterator[Array]:
    for activation in map(ACTIVATIONS.__getitem__, ACTIVATIONS_RUN):
        if activation.rowwise:
            continue
        for shape in SHAPES[:-1]:
            v = backend.asarray(np.random.default_rng(6).uniform(0.1, 0.9, shape).astype(dtype))
            delta = numbers(backend, shape, dtype, 7)
            backend.multiply_by_derivative(activation, v, delta, delta)
            yield delta


def softmax(backend: Backend, dtype: str) -> Iterator[Array]:
    activation, cost = ACTIVATIONS["softmax"], COSTS["cross_entropy"]
    for shape in ((1, 1), (3, 31), (9, 33), (50, 100), (5, 1030)):
        z, a = numbers(backend, shape, dtype), zeros(backend, shape, dtype)
        backend.bias_activate(activation, z, None, a)
        y = backend.asarray(np.eye(shape[1], dtype=dtype)[np.arange(shape[0]) % shape[1]])
        scale = backend.asarray(np.full(shape[0], 0.5, dtype))
        for chosen in (cost, COSTS["quadratic"]):
            delta, costs = zeros(backend, shape, dtype), zeros(backend, shape[0], dtype)
            backend.output_delta(OutputHead(activation, chosen), z, a, y, scale, delta, costs)
            yield from (delta, costs)
        yield a


def column_sums(backend: Backend, dtype: str) -> Iterator[Array]:
    for shape in (*SHAPES, (2100, 3)):
        out = numbers(backend, shape[1], dtype, 8)
        backend.column_sums(numbers(backend, shape, dtype), out, 0.5)
        yield out


def weighted_sum(backend: Backend, dtype: str) -> Iterator[Array]:
    for size in (1, 31, 1025, 40_001):
        values, weights = numbers(backend, size, dtype), numbers(backend, size, dtype, 9)
        out = zeros(backend, 3, "float64")
        backend.weighted_sum(values, weights, out, counters(backend))
        squares = zeros(backend, 1, "float64")
        backend.weighted_sum(values, None, squares)
        yield from (out, squares)


def loss_scale(backend: Backend, dtype: str) -> Iterator[Array]:
    for norm in (1.0, float("inf")):
        scale = backend.asarray(np.array([1024.0, 1 / 1024, 5.0]))
        backend.adapt_loss_scale(scale, backend.asarray(np.array([norm])))
        out = zeros(backend, (33, 5), dtype)
        backend.multiply(numbers(backend, (33, 5), dtype), scale, out)
        yield from (scale, out)


def update(backend: Backend, dtype: str) -> Iterator[Array]:
    for one in UPDATES.values():
        hyperparameters = {key: HYPERPARAMETERS[key] for key in one.hyperparameters}
        for options in (UpdateOptions(), UpdateOptions(weight_decay=0.1, clip_norm=0.5)):
            theta, gradient = numbers(backend, 1037, dtype), numbers(backend, 1037, dtype, 1)
            state = tuple(zeros(backend, 1037, dtype) for _ in one.state)
            rates = backend.asarray(np.array([[0.1, 0.5, 0.5, 1.0]] * 2))
            norm = zeros(backend, 1, "float64")
            backend.weighted_sum(gradient, None, norm)
            backend.update(
                UpdateRule(one, hyperparameters, options),
                ParameterArrays(theta, gradient, state, 1000),
                StepVariables(rates, counters(backend), norm),
            )
            yield from (theta, *state)


def train(backend: Backend, dtype: str) -> Iterator[Array]:
    """Train small networks, to run what the engine asks of a backend besides the verbs above."""
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(45, 5)).astype(dtype), rng.integers(0, 3, 45)
    for sizes in ((5, 3), (5, 7, 3), (5, 33, 70, 3)):
        for hidden, output in (("tanh", "softmax"), ("gelu", "identity"), ("relu", "sigmoid")):
            network = gpubp.Network(
                sizes, hidden=hidden, output=output, dtype=dtype, backend=backend, seed=0
            )
            trainer = gpubp.Trainer(network, "adam", batch_size=16, seed=0)
            trainer.fit(x, np.eye(3)[labels], epochs=2)
            yield network.parameters
            yield network.predict(backend.asarray(x))


def add_and_advance(backend: Backend, dtype: str) -> Iterator[Array]:
    out, steps = numbers(backend, 33, dtype), counters(backend)
    backend.add(numbers(backend, 33, dtype, 1), out)
    backend.advance(steps)
    yield from (out, steps)


CASES: dict[str, Case] = {
    case.__name__: case
    for case in (
        matmul, layers, train, column_sums, weighted_sum, softmax, gather, one_hot, normalize, convert,
        sparse_products,
        bias_activate, dropout, output_delta, multiply_by_derivative, loss_scale, update,
        add_and_advance, matmul_large, matmul_rounded,
    )
}  # fmt: skip


def dtypes(name: str) -> tuple[str, ...]:
    return ("float32", "float64") if name in WIDE_TOO else ("float32",)


def compare(name: str, backend: Backend, twin: Backend) -> None:
    """Fail if the backend's numbers differ from the twin's by far more than rounding."""
    for dtype in dtypes(name):
        pairs = zip(CASES[name](backend, dtype), CASES[name](twin, dtype), strict=True)
        for k, (there, here) in enumerate(pairs):
            found, expected = backend.to_numpy(there), twin.to_numpy(here)
            rtol = 2e-4 if found.dtype == np.float32 else 1e-9
            if name == "matmul_rounded":
                rtol = 4e-3
            np.testing.assert_allclose(
                found, expected, rtol=rtol, atol=10 * rtol, err_msg=f"{name} {dtype}, result {k}"
            )


def run(name: str, backend: Backend) -> None:
    """Run a verb without comparing, for compute-sanitizer."""
    for dtype in dtypes(name):
        for _ in CASES[name](backend, dtype):
            pass
    backend.synchronize()


def main() -> int:
    cupy = import_cupy()
    names = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    if "--sharing" in sys.argv:
        names = list(SHARING)
    watched = "--no-pool" in sys.argv
    if watched:
        cupy.cuda.set_allocator(None)
        cupy.cuda.set_pinned_memory_allocator(None)
    backend, twin = open_backend(), NumpyBackend(compile=False)
    failed = 0
    for name in names or CASES:
        try:
            run(name, backend)
            if not watched:
                compare(name, backend, twin)
        except Exception:
            failed += 1
            record(verb=name, outcome="failed", failure=last_lines(traceback.format_exc()))
        else:
            record(verb=name, outcome="run" if watched else "passed")
    print(f"{len(names or CASES) - failed} of {len(names or CASES)} verbs ran")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
