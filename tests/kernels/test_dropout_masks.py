"""Dropout's kernel and its twin draw the same masks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from twins import both, close, on

from gpubp.backends import Backend
from gpubp.backends.numpy import NumpyBackend
from gpubp.kernels.typing import Array

pytestmark = pytest.mark.usefixtures("short_blocks")


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("first", [0, 5, 1000])
def test_dropout_has_the_same_mask_in_both_twins(
    cuda_backend: Backend, rate: float, first: int, dtype: str
) -> None:
    x = np.random.default_rng(12).uniform(1, 2, (4000, 5)).astype(dtype)
    masks = []
    for backend in both(cuda_backend):
        counters, out = on(backend, [3, 0], np.int64), on(backend, np.zeros_like(x))
        backend.dropout(on(backend, x), out, counters, 2**63 + 5, 1, first, rate)
        result = backend.to_numpy(out)
        masks.append(result != 0)
        close(result, np.where(result == 0, 0, x / (1 - float(np.float32(rate)))), dtype)
        in_place = on(backend, x)
        backend.dropout(in_place, in_place, counters, 2**63 + 5, 1, first, rate)
        np.testing.assert_array_equal(backend.to_numpy(in_place), result)
    for mask in masks[1:]:
        np.testing.assert_array_equal(mask, masks[0])
    deviation = math.sqrt(rate * (1 - rate) / x.size)
    assert abs(1 - masks[0].mean() - rate) < 5 * deviation


@pytest.mark.parametrize("size", [1, 4, 7, 8, 11, 16, 263])
@pytest.mark.parametrize(("start", "first"), [(0, 0), (0, 16), (0, 3), (1, 0)])
def test_dropout_of_any_part_of_an_array_is_that_of_its_twin(
    cuda_backend: Backend, size: int, start: int, first: int, dtype: str
) -> None:
    """The kernel moves 16 bytes at once where addresses allow it, and writes nothing outside the part."""
    x = np.random.default_rng(13).uniform(1, 2, 300).astype(dtype)
    results = []
    for backend in both(cuda_backend):
        counters, values = on(backend, [3, 0], np.int64), on(backend, x)
        out = on(backend, np.full(300, -1.0, dtype))
        part = slice(start, start + size)
        backend.dropout(values[part], out[part], counters, 5, 1, first, 0.4)
        results.append(backend.to_numpy(out))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-6 if dtype == "float32" else 1e-15)
    assert np.count_nonzero(results[0] == -1) == 300 - size


@pytest.mark.parametrize("size", [1, 7, 8, 20, 264])
def test_dropout_of_half_precision_is_its_twins_rounded(cuda_backend: Backend, size: int) -> None:
    x = np.random.default_rng(14).uniform(1, 2, 300).astype(np.float16)
    there, counters = cuda_backend.xp.asarray(x), on(cuda_backend, [3, 0], np.int64)
    cuda_backend.dropout(there[:size], there[:size], counters, 5, 1, 0, 0.4)
    twin = NumpyBackend(compile=False)
    wide = x.astype(np.float32)
    twin.dropout(wide[:size], wide[:size], np.array([3, 0]), 5, 1, 0, 0.4)
    np.testing.assert_array_equal(there.get(), wide.astype(np.float16))


def test_dropout_masks_depend_on_seed_step_layer_and_position_alone(cuda_backend: Backend) -> None:
    for backend in both(cuda_backend):

        def mask(seed: int, step: int, layer: int, first: int, b: Backend = backend) -> Array:
            out = on(b, np.zeros(400))
            counters = on(b, [step, 0], np.int64)
            b.dropout(on(b, np.ones(400)), out, counters, seed, layer, first, 0.5)
            return b.to_numpy(out) != 0

        base = mask(1, 2, 3, 0)
        np.testing.assert_array_equal(mask(1, 2, 3, 100)[:300], base[100:])
        for other in (mask(2, 2, 3, 0), mask(1, 3, 3, 0), mask(1, 2, 4, 0)):
            assert 120 < np.count_nonzero(other != base) < 280
