"""Softmax, column sums and weighted sums against float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import special
from twins import both, close, on, run_cost

from gpubp.backends import Backend
from gpubp.kernels import COSTS, PRECISIONS, SOFTMAX, sums

pytestmark = pytest.mark.usefixtures("short_blocks")

ROW_SHAPES = [(1, 1), (3, 1), (8, 31), (9, 33), (50, 100)]


@pytest.mark.parametrize("shape", ROW_SHAPES)
def test_softmax_of_rows(cuda_backend: Backend, shape: tuple[int, int], dtype: str) -> None:
    z = np.random.default_rng(6).normal(0, 3, shape).astype(dtype)
    z[0, 0], z[-1, -1] = 1e4, -1e4
    biases = np.random.default_rng(7).normal(size=shape[1]).astype(dtype)
    wide = (z + biases).astype(np.float64)
    for backend in both(cuda_backend):
        in_place, kept, a = on(backend, z), on(backend, z), on(backend, np.zeros_like(z))
        backend.bias_activate(SOFTMAX, in_place, on(backend, biases), in_place)
        backend.bias_activate(SOFTMAX, kept, on(backend, biases), a)
        close(backend.to_numpy(a), special.softmax(wide, axis=1), dtype)
        np.testing.assert_array_equal(backend.to_numpy(in_place), backend.to_numpy(a))
        np.testing.assert_array_equal(backend.to_numpy(kept), z + biases)


@pytest.mark.parametrize("shape", ROW_SHAPES)
def test_softmax_cross_entropy_of_rows(
    cuda_backend: Backend, shape: tuple[int, int], dtype: str
) -> None:
    rng = np.random.default_rng(8)
    z = rng.normal(0, 3, shape).astype(dtype)
    y = rng.dirichlet(np.ones(shape[1]), shape[0]).astype(dtype)
    scale = rng.uniform(size=shape[0]).astype(dtype)
    wide = z.astype(np.float64)
    for backend in both(cuda_backend):
        delta, costs = run_cost(backend, COSTS["cross_entropy"], SOFTMAX, z, z, y, scale)
        expected = (special.softmax(wide, axis=1) - y) * scale[:, None]
        close(delta, expected, dtype)
        close(costs, -(y * special.log_softmax(wide, axis=1)).sum(axis=1), dtype, ulps=64)


@pytest.mark.parametrize("beta", [0.0, 1.0, 0.9])
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (1024, 33), (1025, 40), (5000, 3)])
def test_column_sums(
    cuda_backend: Backend, shape: tuple[int, int], beta: float, dtype: str
) -> None:
    rng = np.random.default_rng(9)
    values = rng.normal(size=shape).astype(dtype)
    start = rng.normal(size=shape[1]).astype(dtype)
    expected = np.array([math.fsum(column) for column in values.T]) + beta * start
    for backend in both(cuda_backend):
        out = on(backend, start if beta else np.full_like(start, np.nan))
        backend.column_sums(on(backend, values), out, beta)
        close(backend.to_numpy(out), expected, dtype, magnitude=math.sqrt(shape[0]))


COLUMN_SHAPES = [(1, 1), (40, 3), (700, 8), (90, 33), (257, 64), (30, 300)]


@pytest.fixture(params=["one block", "several blocks", "wide tiles"])
def cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set how sums are cut into blocks of threads, whatever their size."""
    if request.param == "several blocks":
        for name, value in {"CHUNK_ROWS": 1, "PART_ROWS": 16, "SEGMENT": 1, "PART": 100}.items():
            monkeypatch.setattr(sums, name, value)
    if request.param == "wide tiles":
        monkeypatch.setattr(sums, "TILES", 1)
        monkeypatch.setattr(sums, "CHUNK_ROWS", 100)


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("beta", [0.0, 0.9])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("shape", COLUMN_SHAPES)
def test_column_sums_however_they_are_cut_and_aligned(
    cuda_backend: Backend, shape: tuple[int, int], first: int, beta: float, dtype: str
) -> None:
    rng = np.random.default_rng(19)
    flat, start = rng.normal(size=first + math.prod(shape)), rng.normal(size=shape[1])
    flat, start = flat.astype(dtype), start.astype(dtype)
    values = on(cuda_backend, flat)[first:].reshape(shape)
    expected = flat[first:].reshape(shape).astype(np.float64).sum(axis=0) + beta * start
    results = []
    for _ in range(2):
        out = on(cuda_backend, start if beta else np.full_like(start, np.nan))
        cuda_backend.column_sums(values, out, beta)
        results.append(cuda_backend.to_numpy(out))
    close(results[0], expected, dtype, magnitude=math.sqrt(shape[0]))
    np.testing.assert_array_equal(results[0], results[1])
    assert not cuda_backend.to_numpy(cuda_backend.arrivals()).any()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("precision", [p for p in PRECISIONS.values() if p.storage != "float32"])
@pytest.mark.parametrize("columns", [3, 8, 48])
def test_column_sums_of_narrow_numbers(cuda_backend: Backend, columns: int, precision: Any) -> None:
    whole = np.random.default_rng(20).integers(-8, 8, (300, columns)).astype(np.float32)
    values = cuda_backend.operands(whole.shape, precision)
    cuda_backend.convert(on(cuda_backend, whole), values)
    out = on(cuda_backend, np.zeros(columns, np.float32))
    cuda_backend.column_sums(values, out)
    np.testing.assert_array_equal(cuda_backend.to_numpy(out), whole.sum(axis=0))


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("size", [1, 5, 2047, 9000])
def test_weighted_sums_however_they_are_cut_and_aligned(
    cuda_backend: Backend, size: int, first: int, dtype: str
) -> None:
    flat, weights = np.random.default_rng(21).normal(size=(2, first + size)).astype(dtype)
    wide, wide_weights = flat[first:].astype(np.float64), weights[first:].astype(np.float64)
    values, factors = on(cuda_backend, flat)[first:], on(cuda_backend, weights)[first:]
    counters, results = on(cuda_backend, [0, 1], np.int64), []
    for _ in range(2):
        out, squares = on(cuda_backend, [7.0, 2.0]), on(cuda_backend, [np.nan])
        cuda_backend.weighted_sum(values, factors, out, counters)
        cuda_backend.weighted_sum(values, None, squares)
        results.append([*cuda_backend.to_numpy(out), *cuda_backend.to_numpy(squares)])
    expected = [7, 2 + math.fsum(wide * wide_weights), math.fsum(wide * wide)]
    np.testing.assert_allclose(results[0], expected, rtol=1e-12, atol=1e-11)
    assert results[0] == results[1]
    assert not cuda_backend.to_numpy(cuda_backend.arrivals()).any()  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [1, 31, 1024, 40_000])
def test_weighted_sum_adds_at_its_slot_and_squares_without_weights(
    cuda_backend: Backend, size: int, dtype: str
) -> None:
    values, weights = np.random.default_rng(10).normal(size=(2, size)).astype(dtype)
    wide = values.astype(np.float64)
    for backend in both(cuda_backend):
        counters = on(backend, [5, 2], np.int64)
        out, norm = on(backend, [1.0, 2, 3, 4]), on(backend, [9.0])
        backend.weighted_sum(on(backend, values), on(backend, weights), out, counters)
        expected = [1, 2, 3 + math.fsum(wide * weights), 4]
        np.testing.assert_allclose(backend.to_numpy(out), expected, rtol=1e-12, atol=1e-11)
        backend.weighted_sum(on(backend, values), None, norm)
        np.testing.assert_allclose(backend.to_numpy(norm), [math.fsum(wide * wide)], rtol=1e-12)
