"""Launches that do the work of several verbs, against the verbs one by one, on NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest

from gpubp.backends import Backend, RowBlock, Rows, Targets
from gpubp.backends.numpy import NumpyBackend
from gpubp.kernels import ACTIVATIONS, COSTS, SOFTMAX, OutputHead
from gpubp.kernels import matmul as matmul_module
from gpubp.kernels.joined import MOST_PRODUCTS, PIECES, CostSum, SharedMemory, joined_cuda
from gpubp.kernels.matmul import (
    NARROW,
    Product,
    layer_forward_product,
    layer_gradients_product,
    parts_of,
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
    """Layers' arrays on a backend and in float64: what joined launches read and write."""

    def __init__(self, backend: Backend, dtype: str, rows: int, widths: list[int]) -> None:
        rng = np.random.default_rng(8)
        self.backend, self.dtype = backend, dtype
        self.many = rng.normal(size=(ROWS, widths[0])).astype(dtype)
        self.order = rng.permutation(ROWS)
        begin = STEP * STRIDE + FIRST
        self.a = [self.many[self.order[begin : begin + rows]]]
        self.a += [rng.normal(size=(rows, n)).astype(dtype) for n in widths[1:-1]]
        self.deltas = [rng.normal(size=(rows, n)).astype(dtype) for n in widths[1:]]
        self.costs, self.scale = (rng.uniform(size=rows).astype(dtype) for _ in range(2))
        counters = backend.asarray(np.array([9, STEP]))
        of_all = Rows(backend.asarray(self.many), order=backend.asarray(self.order), stride=STRIDE)
        self.batch = RowBlock(of_all, counters, FIRST, rows)
        sizes = list(zip(widths[1:], widths[:-1], strict=True))
        self.weights = [backend.asarray(np.full(size, np.nan, dtype)) for size in sizes]
        self.biases = [backend.asarray(np.full(n, np.nan, dtype)) for n, _ in sizes]
        self.sums = backend.asarray(np.array([1.0, 2.0, 3.0, 4.0]))
        given = map(backend.asarray, (self.costs, self.scale))
        self.cost = CostSum(*given, self.sums, counters)

    def gradients(self, by_order: bool) -> list[Product]:
        """Return the products of all layers, from the last one on, as the backward pass does."""
        products: list[Product] = []
        for k in reversed(range(len(self.deltas))):
            delta, a = map(self.backend.asarray, (self.deltas[k], self.a[k]))
            a = self.batch if by_order and k == 0 else a
            memory = SharedMemory(self.backend, len(products))  # type: ignore[arg-type]
            arrays = delta, a, self.weights[k], self.biases[k]
            products.append(layer_gradients_product(*arrays, 0.0, memory))
        return products

    def check(self, cost: bool) -> None:
        eps = 100 * np.finfo(self.dtype).eps
        for a, delta, weights, biases in zip(
            self.a, self.deltas, self.weights, self.biases, strict=True
        ):
            wide = delta.astype(float)
            for here, right in ((weights, wide.T @ a), (biases, wide.sum(0))):
                result = self.backend.to_numpy(here)
                np.testing.assert_allclose(result, right, rtol=eps, atol=eps)
        total = self.costs.astype(float) @ self.scale if cost else 0.0
        right = [1.0, 2.0, 3.0 + total, 4.0]
        np.testing.assert_allclose(self.backend.to_numpy(self.sums), right, rtol=1e-12)


WIDTHS = [[7, 3], [24, 40, 5], [64, 33, 64, 64, 10], [8] * 17]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("by_order", [True, False])
@pytest.mark.parametrize("cost", [True, False])
def test_the_gradients_of_all_layers_and_the_cost_in_one_launch(
    cuda_backend: Backend, widths: list[int], cost: bool, by_order: bool, dtype: str
) -> None:
    layers = Layers(cuda_backend, dtype, 97, widths)
    products = layers.gradients(by_order)
    assert len(products) <= MOST_PRODUCTS
    joined_cuda(cuda_backend.xp, products, layers.cost if cost else None)()
    layers.check(cost)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 33, 97])
def test_a_first_layer_reads_rows_by_their_order(
    cuda_backend: Backend, rows: int, dtype: str
) -> None:
    layers, rng = Layers(cuda_backend, dtype, rows, [24, 40]), np.random.default_rng(3)
    weights, biases = (rng.normal(size=s).astype(dtype) for s in ((40, 24), 40))
    z, a = (cuda_backend.asarray(np.full((rows, 40), np.nan, dtype)) for _ in range(2))
    given = map(cuda_backend.asarray, (weights, biases))
    operands = layers.batch, *given, z, a, cuda_backend
    forward = layer_forward_product(ACTIVATIONS["relu"], *operands)  # type: ignore[arg-type]
    joined_cuda(cuda_backend.xp, [forward])()
    right = layers.a[0].astype(float) @ weights.T + biases
    eps = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(cuda_backend.to_numpy(z), right, rtol=eps, atol=eps)
    np.testing.assert_allclose(cuda_backend.to_numpy(a), np.maximum(right, 0), rtol=eps, atol=eps)


@pytest.mark.parametrize("parts", [1, 3])
def test_each_product_of_a_launch_counts_its_own_arrivals(
    cuda_backend: Backend, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matmul_module, "parts_of", lambda *_: parts)
    layers = Layers(cuda_backend, "float32", 97, [96, 64, 96])
    call = joined_cuda(cuda_backend.xp, layers.gradients(by_order=True), layers.cost)
    call()
    layers.check(cost=True)
    arrays = *layers.weights, *layers.biases
    first = [cuda_backend.to_numpy(array) for array in arrays]
    call()
    for before, array in zip(first, arrays, strict=True):
        np.testing.assert_array_equal(cuda_backend.to_numpy(array), before)
    assert not cuda_backend.to_numpy(cuda_backend.arrivals()).any()  # type: ignore[attr-defined]


def test_a_cut_product_has_few_pieces() -> None:
    """So the arrivals of a launch's products fit one array."""
    for rows in range(1, 1500, 37):
        for columns in range(1, 1500, 41):
            if parts_of(NARROW, rows, columns, 8192) > 1:
                assert NARROW.blocks(rows, columns) <= PIECES
