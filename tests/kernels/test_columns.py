"""Kernels of matrices that lie column by column: against NumPy in float64, and the twins by rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import special

from gpubp.backends import Rows, Targets
from gpubp.backends.numpy import NumpyBackend
from gpubp.kernels import ACTIVATIONS, COSTS, OutputHead
from gpubp.kernels.columns import Columns
from gpubp.kernels.cpu import build
from gpubp.kernels.row_block import RowBlock

pytestmark = pytest.mark.skipif(
    not build.made_by(), reason="no C++ compiler: install g++ or set CXX"
)

# Fewer rows than a vector has, just as many, more; then a block with room for more rows.
ROWS = [1, 7, 16, 33, 130]
# Layers narrower and wider than a vector, a tile and a panel.
SHAPES = [(1, 1), (3, 5), (4, 32), (20, 50), (7, 130), (70, 64)]
NO_STEP = np.zeros(2, np.int64)
UNTOUCHED = 1e30
LEAST_VECTOR = 16
"""The bytes of the shortest vectors that a processor has."""


@pytest.fixture
def backend() -> NumpyBackend:
    return NumpyBackend()


def columns_of(values: Any, dtype: Any, room: int = 0) -> Columns:
    """Lay out a matrix column by column; what is behind its last row is huge, but finite."""
    values = np.asarray(values)
    rows, n = values.shape
    array = np.full((n, Columns.leading_for(rows + room, np.dtype(dtype))), UNTOUCHED, dtype)
    array[:, :rows] = values.T
    return Columns(array, rows)


def rows_of(matrix: Columns) -> Any:
    return matrix.values[:, : matrix.rows].T


def without_padding(matrix: Columns) -> Columns:
    """Set what is behind the last row to 0, as δ has it."""
    matrix.values[:, matrix.rows :] = 0
    return matrix


def behind(matrix: Columns) -> Any:
    """Return what a kernel has written behind the last row of its result: to the end of a vector."""
    values = matrix.values[:, matrix.rows :]
    count = int((values != UNTOUCHED).any(0).sum())
    assert (matrix.rows + count) * matrix.values.itemsize % LEAST_VECTOR == 0
    assert (values[:, count:] == UNTOUCHED).all()
    return values[:, :count]


def close(result: Any, expected: Any, dtype: str, terms: int = 1) -> None:
    tolerance = (2e-6 if dtype == "float32" else 2e-15) * np.sqrt(terms) * 4
    np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(("n_out", "n_in"), SHAPES)
def test_products_of_a_layer(
    backend: NumpyBackend, rows: int, n_out: int, n_in: int, dtype: str
) -> None:
    rng = np.random.default_rng(0)
    x, delta = rng.normal(size=(rows, n_in)), rng.normal(size=(rows, n_out))
    w, b = rng.normal(size=(n_out, n_in)).astype(dtype), rng.normal(size=n_out).astype(dtype)
    z = columns_of(np.zeros((rows, n_out)), dtype, 40)
    backend.layer_forward(ACTIVATIONS["identity"], columns_of(x, dtype, 40), w, b, z, z)
    close(rows_of(z), x @ w.astype(float).T + b, dtype, n_in)
    backend.layer_forward(ACTIVATIONS["identity"], columns_of(x, dtype), w, None, z, z)
    close(rows_of(z), x @ w.astype(float).T, dtype, n_in)
    product = columns_of(np.zeros((rows, n_in)), dtype)
    v = columns_of(rng.uniform(-0.9, 0.9, (rows, n_in)), dtype)
    backend.layer_backward(ACTIVATIONS["tanh"], columns_of(delta, dtype), w, v, product, product)
    close(rows_of(product), delta @ w.astype(float) * (1 - rows_of(v) ** 2.0), dtype, n_out)


@pytest.mark.parametrize("rows", [*ROWS, 1000])
@pytest.mark.parametrize(("n_out", "n_in"), SHAPES)
@pytest.mark.parametrize("beta", [0.0, 1.0, 0.9])
def test_gradients_of_a_layer(
    backend: NumpyBackend, rows: int, n_out: int, n_in: int, beta: float, dtype: str
) -> None:
    rng = np.random.default_rng(0)
    a, delta = rng.normal(size=(rows, n_in)), rng.normal(size=(rows, n_out))
    old, old_biases = rng.normal(size=(n_out, n_in)), rng.normal(size=n_out)
    weights, biases = (
        (value if beta else value * np.nan).astype(dtype) for value in (old, old_biases)
    )
    matrices = without_padding(columns_of(delta, dtype)), columns_of(a, dtype)
    backend.layer_gradients(*matrices, weights, biases, beta)
    close(weights, delta.T @ a + (beta * old if beta else 0), dtype, rows)
    close(biases, delta.sum(0) + (beta * old_biases if beta else 0), dtype, rows)
    if not beta:
        backend.layer_gradients(*matrices, weights, None, 1.0)
        close(weights, 2 * delta.T @ a, dtype, 4 * rows)


@pytest.mark.parametrize("source", ["float32", "float64", "uint8", "int64", "bool"])
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("columns", [1, 5, 16, 37])
def test_rows_are_gathered_and_written_back(
    backend: NumpyBackend, source: str, ordered: bool, columns: int, dtype: str
) -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(200, columns)) * 3).astype(source)
    order = rng.permutation(200) if ordered else None
    counters, stride, first, count = np.array([5, 2]), 60, 3, 21
    chosen = np.arange(2 * stride + first, 2 * stride + first + count)
    expected = x[order[chosen] if order is not None else chosen].astype(dtype)
    gathered = columns_of(np.zeros((count, columns)), dtype)
    rows = Rows(x, order=order, stride=stride)
    backend.gather(rows, "x", counters, first, gathered)
    np.testing.assert_array_equal(rows_of(gathered), expected)
    last = behind(gathered)
    np.testing.assert_array_equal(last, np.broadcast_to(expected[-1][:, None], last.shape))
    written = np.empty((count, columns), dtype)
    backend.convert(gathered, written)
    np.testing.assert_array_equal(written, expected)
    backend.gather(rows, "x", counters, first, gathered, scale=0.5, shift=0.25)
    close(rows_of(gathered), 0.5 * expected + 0.25, dtype)


def test_labels_become_columns(backend: NumpyBackend, dtype: str) -> None:
    labels = np.array([2, 0, 1, 1, 2])
    y = columns_of(np.zeros((5, 3)), dtype)
    block = RowBlock(Rows(None, labels), NO_STEP, 0, 5)
    head = OutputHead(ACTIVATIONS["softmax"], COSTS["cross_entropy"])
    targets = Targets(block, y, np.empty(5, np.int64), 0.9, 0.05)
    backend.gather_targets(targets, head, np.empty((3, 2), dtype))
    close(rows_of(y), np.eye(3)[labels] * 0.9 + 0.05, dtype)


@pytest.mark.parametrize("rows", [1, 5, 40])
@pytest.mark.parametrize("n", [1, 3, 16, 21])
def test_dropout_has_the_mask_of_rows(backend: NumpyBackend, rows: int, n: int, dtype: str) -> None:
    x = np.random.default_rng(0).normal(size=(rows, n)).astype(dtype)
    arguments = np.array([3, 1]), 11, 1, 6 * n, 0.4
    by_rows, by_columns = np.empty_like(x), columns_of(np.zeros((rows, n)), dtype)
    backend.dropout(x, by_rows, *arguments)
    backend.dropout(columns_of(x, dtype), by_columns, *arguments)
    np.testing.assert_array_equal(rows_of(by_columns), by_rows)


@pytest.mark.parametrize("rows", [1, 5, 40])
def test_what_is_behind_the_last_row_has_its_mask(
    backend: NumpyBackend, rows: int, dtype: str
) -> None:
    """It repeats a row of activations, so it overflows only if that does; in δ it stays 0."""
    x = columns_of(np.full((rows, 50), 2.0), dtype)
    for number in (2.0, 0.0):
        x.values[:, rows:] = number
        out = columns_of(np.zeros((rows, 50)), dtype)
        backend.dropout(x, out, np.array([3, 1]), 11, 1, 0, 0.5)
        last = out.values[:, rows - 1 : rows] if number else 0
        np.testing.assert_array_equal(*np.broadcast_arrays(behind(out), last))
        assert set(out.values[:, :rows].flat) == {0.0, 4.0}


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "softmax"])
def test_activations_and_derivatives_are_those_of_the_twins(
    backend: NumpyBackend, name: str, dtype: str
) -> None:
    twins, activation = NumpyBackend(compile=False), ACTIVATIONS[name]
    z = np.random.default_rng(0).normal(size=(33, 5)).astype(dtype) * 2
    w, x = np.eye(5, dtype=dtype), columns_of(z, dtype)
    a, kept = columns_of(z * 0, dtype), columns_of(z * 0, dtype)
    backend.layer_forward(activation, x, w, None, kept, a)
    expected = np.empty_like(z)
    twins.layer_forward(activation, z, w, None, z.copy(), expected)
    close(rows_of(a), expected, dtype, 4)
    close(rows_of(kept), z, dtype)
    v = a if activation.reads == "a" else x
    delta, by_rows = columns_of(z + 0.5, dtype), z + np.dtype(dtype).type(0.5)
    backend.multiply_by_derivative(activation, v, delta, delta)
    twins.multiply_by_derivative(activation, rows_of(v).copy(), by_rows, by_rows)
    close(rows_of(delta), by_rows, dtype, 4)


PAIRS = [
    *(("identity", cost) for cost in ("quadratic", "huber", "absolute_error")),
    ("sigmoid", "binary_cross_entropy"),
    ("tanh", "quadratic"),
    ("gelu", "quadratic"),
    ("exponential", "poisson"),
    ("softmax", "cross_entropy"),
    ("softmax", "quadratic"),
]


@pytest.mark.parametrize(("activation", "cost"), PAIRS)
@pytest.mark.parametrize("rows", [1, 20, 150])
def test_output_layers_are_those_of_the_twins(
    backend: NumpyBackend, activation: str, cost: str, rows: int, dtype: str
) -> None:
    rng, n = np.random.default_rng(0), 5
    head = OutputHead(ACTIVATIONS[activation], COSTS[cost])
    x, w = rng.normal(size=(rows, n)).astype(dtype), np.eye(n, dtype=dtype)
    y, scale = rng.uniform(0, 1, (rows, n)).astype(dtype), rng.uniform(0.1, 1, rows).astype(dtype)
    y /= y.sum(1, keepdims=True)
    block = RowBlock(Rows(None, y), NO_STEP, 0, rows)

    def results(engine: NumpyBackend, matrix: Any) -> tuple[Any, ...]:
        z, a, delta, targets = (matrix(np.zeros((rows, n), dtype)) for _ in range(4))
        costs = np.empty(rows, dtype)
        to = Targets(block, targets, None, 1.0, 0.0)
        engine.gather_targets(to, head, w)
        operands = matrix(x.copy()), w, np.full(n, 0.25, dtype)
        outputs = None if head.is_fused else a
        engine.output_layer(head, *operands, z, outputs, to, scale, None, costs)
        alone = costs.copy()
        engine.output_layer(head, *operands, z, outputs, to, scale, delta, costs)
        close(alone, costs, dtype, 4)
        return a, delta, costs

    expected = results(NumpyBackend(compile=False), lambda array: array)
    a, delta, costs = results(backend, lambda array: columns_of(array, dtype))
    close(costs, expected[2], dtype, 30)
    close(rows_of(delta), expected[1], dtype, 10)
    assert not behind(delta).any()
    if not head.is_fused:
        close(rows_of(a), expected[0], dtype, 4)
    if activation == "softmax":
        backend.layer_forward(head.activation, columns_of(x, dtype), w, None, a, a)
        close(rows_of(a), special.softmax(x, axis=1), dtype, 4)
