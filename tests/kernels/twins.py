"""The three forms of a kernel, and how closely their results must agree."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.backends import Backend
from gpubp.backends.cupy import open_cupy
from gpubp.backends.numpy import NumpyBackend
from gpubp.kernels import ACTIVATIONS, Activation, Cost, OutputHead
from gpubp.kernels.typing import Array

DTYPES = ["float32", "float64"]
BLOCK = 1024
MANY_ROWS = BLOCK // 5 + 100
ELEMENTWISE = [name for name, activation in ACTIVATIONS.items() if not activation.rowwise]


def on(backend: Backend, array: Array, dtype: Any = None) -> Array:
    """Copy an array to the backend, into new memory."""
    return backend.asarray(np.array(array, dtype))


def both(cuda_backend: Backend) -> tuple[Backend, Backend, Backend]:
    """Return the backends of all three forms: NumPy twins, compiled kernels, CUDA kernels."""
    return NumpyBackend(compile=False), NumpyBackend(), cuda_backend


def close(
    actual: Array, expected: Array, dtype: str, ulps: float = 16, magnitude: float = 1
) -> None:
    """Assert equality up to a few roundings of the number itself and of numbers of size `magnitude`."""
    assert actual.dtype == dtype
    assert np.isfinite(actual).all()
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(actual, expected, rtol=ulps * eps, atol=ulps * eps * magnitude)


def run_cost(
    backend: Backend, cost: Cost, activation: Activation, *arrays: Array
) -> tuple[Array, Array]:
    """Compute (delta, costs) from z, a, y and scale; the costs must be the same without a delta."""
    z, a, y, scale = (on(backend, array) for array in arrays)
    delta, costs = on(backend, np.full_like(arrays[1], 7)), on(backend, np.full_like(arrays[3], 7))
    backend.output_delta(OutputHead(activation, cost), z, a, y, scale, delta, costs)
    alone = on(backend, np.full_like(arrays[3], 7))
    backend.output_delta(OutputHead(activation, cost), z, a, y, scale, None, alone)
    rtol = 1e-5 if costs.dtype == np.float32 else 1e-13
    np.testing.assert_allclose(backend.to_numpy(alone), backend.to_numpy(costs), rtol=rtol)
    return backend.to_numpy(delta), backend.to_numpy(costs)


def on_both_forms(cuda_backend: Backend) -> tuple[Backend, Backend]:
    """Open backends whose kernels go by rows, and by elements; `cuda_backend` makes devices available."""
    return open_cupy(form="rows"), open_cupy(form="elementwise")
