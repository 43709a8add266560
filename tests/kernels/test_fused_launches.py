"""Launches that do the work of several verbs, against the verbs one by one, on NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest

from gpubp.backends import Backend, RowBlock, Rows, Targets
from gpubp.backends.numpy import NumpyBackend
from gpubp.kernels import ACTIVATIONS, COSTS, SOFTMAX, OutputHead
from gpubp.kernels import matmul as matmul_module
from gpubp.kernels.joined import CostSum, joined_cuda
from gpubp.kernels.matmul import (
    Product,
    layer_backward_product,
    layer_forward_product,
    layer_gradients_product,
)
from gpubp.kernels.output_layer import MOST_OUTPUTS, fits_one_launch, output_layer_cuda
from gpubp.kernels.typing import Array

CROSS_ENTROPY = OutputHead(SOFTMAX, COSTS["cross_entropy"])
HEADS = [CROSS_ENTROPY]
HEADS += [OutputHead(ACTIVATIONS["sigmoid"], cost) for cost in COSTS.values()]
HEADS += [OutputHead(activation, COSTS["huber"]) for activation in ACTIVATIONS.values()]
HEADS = [head for head in HEADS if fits_one_launch(head, 5)]

ROWS, STRIDE, FIRST, STEP = 203, 50, 3, 2  # the batch: rows of the order from 2 * 50 + 3 on


def names(head: OutputHead) -> str:
    return f"{head.activation.name}-{head.cost.name}"


def targets_of(head: OutputHead, n_out: int, rng: np.random.Generator) -> Array:
    if head.cost.targets == "class":
        return rng.dirichlet(np.ones(n_out), ROWS)
    return rng.uniform(size=(ROWS, n_out))  # every other cost takes these


def check_output_layer(
    backend: Backend,
    head: OutputHead,
    shape: tuple[int, int, int],
    dtype: str,
    labels: bool = False,
    smoothing: float = 0.0,
    ordered: bool = True,
    wanted: tuple[bool, bool] = (True, True),
) -> None:
    """Compare δ^L, costs and a^L with those of the twins."""
    rng, (count, n_in, n_out) = np.random.default_rng(7), shape
    x, w, b = (rng.normal(size=s) / np.sqrt(n_in) for s in ((ROWS, n_in), (n_out, n_in), (n_out,)))
    x, w, b = (m.astype(dtype).astype(float) for m in (x, w, 3 * b))
    y = rng.integers(n_out, size=ROWS) if labels else targets_of(head, n_out, rng)
    y = y if labels else y.astype(dtype)
    scale = rng.uniform(0.5, 2, count).astype(dtype)
    order = rng.permutation(ROWS) if ordered else None
    counters = np.array([9, STEP])
    factor, shift = 1 - smoothing, smoothing / n_out

    def block(own: Backend, x: Array) -> tuple[RowBlock, Targets]:
        own_order = None if order is None else own.asarray(order)
        rows = Rows(
            own.asarray(x), own.asarray(y if labels else y.astype(x.dtype)), order=own_order
        )
        rows.stride = STRIDE
        batch = RowBlock(rows, own.asarray(counters), FIRST, count)
        memory = own.empty(count, np.int64) if labels else None
        return batch, Targets(batch, own.empty((count, n_out), x.dtype), memory, factor, shift)

    twin = NumpyBackend(compile=False)
    batch, targets = block(twin, x)
    twin.gather_targets(targets, head, w)
    x_there = np.empty((count, n_in))
    x_there = twin.layer_input(batch.rows, batch.counters, FIRST, x_there, w)
    z, a, delta = (np.empty((count, n_out)) for _ in range(3))
    a = None if head.is_fused and not wanted[1] else a  # twins need a for other heads
    costs = np.empty(count)
    twin.output_layer(head, x_there, w, b, z, a, targets, scale.astype(float), delta, costs)

    batch, targets = block(backend, x.astype(dtype))
    nan = (backend.asarray(np.full((count, n_out), np.nan, dtype)) for _ in range(2))
    outputs, deltas = (m if want else None for m, want in zip(nan, wanted[::-1], strict=True))
    sums = backend.asarray(np.full(count, np.nan, dtype))
    weights, biases = (backend.asarray(m.astype(dtype)) for m in (w, b))
    here = x_there.astype(dtype)
    for given in (batch, backend.asarray(here)):
        arrays = given, weights, biases, outputs, targets, backend.asarray(scale), deltas, sums
        output_layer_cuda(backend.xp, head, *arrays, backend)()  # type: ignore[arg-type]
        eps = 300 * np.finfo(dtype).eps
        for what, written, expected in (
            ("a", outputs, a),
            ("δ", deltas, delta),
            ("C", sums, costs),
        ):
            if written is not None:
                result = backend.to_numpy(written)
                np.testing.assert_allclose(result, expected, rtol=eps, atol=eps, err_msg=what)
                written.fill(np.nan)


@pytest.mark.parametrize("head", HEADS, ids=names)
def test_the_output_layer_of_every_head(cuda_backend: Backend, head: OutputHead) -> None:
    check_output_layer(cuda_backend, head, (45, 20, 5), "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["softmax", "gelu"])
@pytest.mark.parametrize("n_out", [1, 4, 31, 32, 33, 64])
def test_the_output_layer_of_every_width(
    cuda_backend: Backend, n_out: int, name: str, dtype: str
) -> None:
    """Few rows and a long inner dimension: several blocks share a piece, and the last one finishes it."""
    softmax = name == "softmax"
    head = CROSS_ENTROPY if softmax else OutputHead(ACTIVATIONS[name], COSTS["quadratic"])
    assert fits_one_launch(head, n_out) and not fits_one_launch(head, MOST_OUTPUTS + 1)
    check_output_layer(cuda_backend, head, (33, 200, n_out), dtype, labels=softmax)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("labels", [True, False])
def test_smoothed_targets_by_their_order(
    cuda_backend: Backend, labels: bool, ordered: bool
) -> None:
    options = {"labels": labels, "smoothing": 0.3, "ordered": ordered}
    check_output_layer(cuda_backend, CROSS_ENTROPY, (40, 12, 10), "float32", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("wanted", [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize("head", [CROSS_ENTROPY, HEADS[1]], ids=names)
def test_only_what_is_asked_for_is_written(
    cuda_backend: Backend, head: OutputHead, wanted: tuple[bool, bool]
) -> None:
    check_output_layer(cuda_backend, head, (40, 12, 10), "float32", wanted=wanted)


class Layers:
    """Two layers' arrays on a backend and in float64: what joined launches read and write."""

    def __init__(self, backend: Backend, dtype: str, rows: int, n_out: int, n_in: int) -> None:
        rng = np.random.default_rng(8)
        self.backend, self.dtype, self.rows = backend, dtype, rows
        self.many, self.v = (rng.normal(size=s).astype(dtype) for s in ((ROWS, n_in), (rows, n_in)))
        self.weights, self.delta = (
            rng.normal(size=s).astype(dtype) for s in ((n_out, n_in), (rows, n_out))
        )
        self.costs, self.scale = (rng.uniform(size=rows).astype(dtype) for _ in range(2))
        self.order = rng.permutation(ROWS)
        counters = backend.asarray(np.array([9, STEP]))
        of_all = Rows(backend.asarray(self.many), order=backend.asarray(self.order), stride=STRIDE)
        self.batch = RowBlock(of_all, counters, FIRST, rows)
        begin = STEP * STRIDE + FIRST
        self.x = self.many[self.order[begin : begin + rows]]
        self.out, self.gradient, self.biases, self.z, self.a = (
            backend.asarray(np.full(s, np.nan, dtype))
            for s in ((rows, n_in), (n_out, n_in), n_out, (rows, n_out), (rows, n_out))
        )
        self.sums = backend.asarray(np.array([1.0, 2.0, 3.0, 4.0]))
        given = map(backend.asarray, (self.costs, self.scale))
        self.cost = CostSum(*given, self.sums, counters)

    def on(self, *arrays: Array) -> list[Array]:
        return [self.backend.asarray(array) for array in arrays]

    def back(self) -> Product:
        delta, weights, v = self.on(self.delta, self.weights, self.v)
        operands = delta, weights, v, self.out, self.backend
        return layer_backward_product(ACTIVATIONS["relu"], *operands)  # type: ignore[arg-type]

    def gradients(self, by_order: bool = False) -> Product:
        memory = Second(self.backend)
        delta, x = self.on(self.delta, self.x)
        x = self.batch if by_order else x
        return layer_gradients_product(delta, x, self.gradient, self.biases, 0.0, memory)

    def check(self, *written: str, cost: bool = False) -> None:
        x, w, delta = (m.astype(float) for m in (self.x, self.weights, self.delta))
        z = x @ w.T + self.delta[0]
        expected = {
            "out": (delta @ w) * (self.v > 0),
            "gradient": delta.T @ x,
            "biases": delta.sum(0),
            "z": z,
            "a": np.maximum(z, 0),
        }
        eps = 100 * np.finfo(self.dtype).eps
        for name, right in expected.items():
            result = self.backend.to_numpy(getattr(self, name))
            if name in written:
                np.testing.assert_allclose(result, right, rtol=eps, atol=eps, err_msg=name)
            else:
                assert np.isnan(result).all()
        total = self.costs.astype(float) @ self.scale if cost else 0.0
        right = [1.0, 2.0, 3.0 + total, 4.0]
        np.testing.assert_allclose(self.backend.to_numpy(self.sums), right, rtol=1e-12)


class Second:
    """Arrivals of their own, for the second product of a launch."""

    def __init__(self, backend: Backend) -> None:
        self.temporary = backend.temporary  # type: ignore[attr-defined]
        self._arrivals = backend.zeros(matmul_module.ARRIVALS, np.uint32)

    def arrivals(self) -> Array:
        return self._arrivals


SIZES = [(5, 7, 3), (97, 40, 24), (64, 33, 64), (90, 16, 100)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cost", [True, False])
def test_two_products_and_a_sum_in_one_launch(
    cuda_backend: Backend, size: tuple[int, int, int], cost: bool, dtype: str
) -> None:
    layers = Layers(cuda_backend, dtype, *size)
    products = [layers.back(), layers.gradients()]
    joined_cuda(cuda_backend.xp, products, layers.cost if cost else None)()
    layers.check("out", "gradient", "biases", cost=cost)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cost", [True, False])
def test_products_read_rows_by_their_order(
    cuda_backend: Backend, size: tuple[int, int, int], cost: bool, dtype: str
) -> None:
    layers = Layers(cuda_backend, dtype, *size)
    sum_of = layers.cost if cost else None
    joined_cuda(cuda_backend.xp, [layers.gradients(by_order=True)], sum_of)()
    layers.check("gradient", "biases", cost=cost)
    weights, biases = layers.on(layers.weights, layers.delta[0])
    operands = layers.batch, weights, biases, layers.z, layers.a, cuda_backend
    forward = layer_forward_product(ACTIVATIONS["relu"], *operands)  # type: ignore[arg-type]
    joined_cuda(cuda_backend.xp, [forward], None)()
    layers.check("gradient", "biases", "z", "a", cost=cost)


@pytest.mark.parametrize("parts", [1, 3])
def test_each_product_of_a_launch_counts_its_own_arrivals(
    cuda_backend: Backend, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matmul_module, "parts_of", lambda *_: parts)
    layers = Layers(cuda_backend, "float32", 97, 96, 96)
    call = joined_cuda(cuda_backend.xp, [layers.back(), layers.gradients()], layers.cost)
    call()
    first = [cuda_backend.to_numpy(m) for m in (layers.out, layers.gradient, layers.biases)]
    layers.check("out", "gradient", "biases", cost=True)
    call()
    for before, array in zip(first, (layers.out, layers.gradient, layers.biases), strict=True):
        np.testing.assert_array_equal(cuda_backend.to_numpy(array), before)
