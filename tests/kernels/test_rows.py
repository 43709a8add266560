"""Gathering a batch: rows, one-hot targets, normalized row weights."""

from __future__ import annotations

import numpy as np
import pytest
from twins import both, close, on

from gpubp.backends import Backend, Rows
from gpubp.backends.numpy import NumpyBackend

pytestmark = pytest.mark.usefixtures("short_blocks")


@pytest.mark.parametrize(
    "source_dtype", ["float64", "float32", "float16", "int32", "uint8", "bool"]
)
@pytest.mark.parametrize("columns", [3, 16, 264])
@pytest.mark.parametrize("ordered", [False, True])
def test_gather_takes_the_rows_of_the_step(
    cuda_backend: Backend, source_dtype: str, columns: int, ordered: bool, dtype: str
) -> None:
    rng = np.random.default_rng(11)
    most = 2 if source_dtype == "bool" else 100
    source = rng.integers(0, most, (40, columns)).astype(source_dtype)
    order = rng.permutation(40)
    start = 2 * 8 + 3  # step 2 of the epoch, stride 8; the block's first row is 3
    chosen = order[start : start + 5] if ordered else np.arange(start, start + 5)
    for backend in both(cuda_backend):
        rows = Rows(on(backend, source), order=on(backend, order) if ordered else None, stride=8)
        counters = on(backend, [7, 2], np.int64)
        out = on(backend, np.zeros((5, columns)), dtype)
        backend.gather(rows, "x", counters, 3, out)
        np.testing.assert_array_equal(backend.to_numpy(out), source[chosen])
        backend.gather(rows, "x", counters, 3, out, scale=0.9, shift=0.25)
        close(backend.to_numpy(out), 0.9 * source[chosen].astype(float) + 0.25, dtype)


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("source_dtype", ["float32", "float64", "int64"])
def test_rows_are_checked_as_gather_would_find_them(
    source_dtype: str, ordered: bool, compile: bool, dtype: str
) -> None:
    """Only the rows of the step count, and numbers are looked at in the dtype of the network."""
    backend = NumpyBackend(compile=compile)
    order = np.random.default_rng(11).permutation(40)
    start = 2 * 8 + 3
    inside, outside = (order[start + 4], order[start + 5]) if ordered else (start + 4, start + 5)
    largest = float(np.finfo(dtype).max)
    numbers = [1, largest, -largest, np.nan, np.inf, -np.inf, 1e200, largest * (1 + 2.0**-40)]
    for number in numbers if source_dtype != "int64" else [1, 2**62]:
        for row in (inside, outside):
            with np.errstate(over="ignore"):
                source = np.ones((40, 3)).astype(source_dtype)
                source[row, 2] = number
                fits = float(abs(source[row, 2])) <= largest
            rows = Rows(source, order=order if ordered else None, stride=8)
            found = np.zeros(1, np.int64)
            backend.check_rows(rows, np.array([7, 2]), 3, (5, 3), np.dtype(dtype), found)
            assert found[0] == (row == inside and not fits), (number, row)


def test_gather_takes_labels_and_weights_of_one_dimension(cuda_backend: Backend) -> None:
    labels, weights = np.arange(10, dtype=np.uint8), np.linspace(0, 1, 10)
    for backend in both(cuda_backend):
        rows = Rows(None, on(backend, labels), on(backend, weights), stride=4)
        counters = on(backend, [0, 1], np.int64)
        out, scale = on(backend, np.zeros(4, np.int64)), on(backend, np.zeros(4, np.float32))
        backend.gather(rows, "y", counters, 0, out)
        backend.gather(rows, "weights", counters, 0, scale)
        np.testing.assert_array_equal(backend.to_numpy(out), [4, 5, 6, 7])
        np.testing.assert_array_equal(backend.to_numpy(scale), weights[4:8].astype(np.float32))


@pytest.mark.parametrize("columns", [3, 12])
def test_one_hot_is_high_at_the_label_and_low_elsewhere(
    cuda_backend: Backend, columns: int, dtype: str
) -> None:
    labels = np.array([2, 0, 1, 2])
    for backend in both(cuda_backend):
        y = on(backend, np.full((4, columns), 7), dtype)
        backend.one_hot(on(backend, labels, np.int64), y, 0.05, 0.9)
        close(backend.to_numpy(y), np.where(np.eye(columns)[labels] == 1, 0.9, 0.05), dtype)


def test_rows_that_begin_between_sixteen_bytes_are_moved_one_by_one(cuda_backend: Backend) -> None:
    values = np.arange(33, dtype=np.float32)
    for backend in both(cuda_backend):
        source = on(backend, values)[1:].reshape(4, 8)
        out = on(backend, np.zeros((2, 8), np.float32))
        backend.gather(Rows(source), "x", on(backend, [0, 0], np.int64), 1, out)
        np.testing.assert_array_equal(backend.to_numpy(out).ravel(), values[9:25])


@pytest.mark.parametrize(
    "weights", [[1, 2, 5], [0, 0, 3], [0, 0, 0], [1e-37, 0, 3e-37], [3e38, 3e38, 0]]
)
def test_normalize_divides_by_the_sum_whatever_its_size(
    cuda_backend: Backend, weights: list[float], dtype: str
) -> None:
    given = np.array(weights, dtype)
    wide = given.astype(np.float64)
    for backend in both(cuda_backend):
        w = on(backend, given)
        backend.normalize(w)
        close(backend.to_numpy(w), wide / (wide.sum() or 1), dtype)
