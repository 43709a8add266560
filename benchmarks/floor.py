"""The floor of a step: its matmuls, and nothing else.

A network of L layers takes L matmuls forward and 2L - 1 backward. A floor computes them through the BLAS
that gpubp uses, on whole batches of the same shapes, on one thread or on all of the BLAS's threads. The
faster of the two is the floor. A step may be faster than the floor: if it splits the batch by rows, it
still finds the result of a matmul in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

import gpubp

from ..backends import Backend
from ..backends.cupy import open_cupy
from ..backends.numpy import blas, blas_threads
from ..kernels.typing import Array
from .contenders import require_cupy
from .tasks import Architecture

__all__ = ["FLOORS", "Floor", "bind_matmuls"]


class Floor:
    """The bare matmuls through the CPU's BLAS, on all of its threads.

    Attributes
    ----------
    name : str
        The name in results and reports.
    device : str
        "cpu" or "gpu".
    backend : str
        The gpubp backend that computes the matmuls.
    """

    name: ClassVar[str] = "floor-threads"
    device: ClassVar[str] = "cpu"
    backend: ClassVar[str] = "numpy"

    def open(self) -> str:
        """Say in words what the matmuls run on."""
        return f"bare matmuls, {blas_threads.get_threads()} BLAS threads"

    def load(self, architecture: Architecture, batch_size: int) -> None:
        """Make the arrays of a network and a batch, and bind the matmuls to them."""
        backend = self._backend = self._open_backend()
        forward, backward = bind_matmuls(backend, architecture.sizes, batch_size, "float32")
        self._predict, self._step = self._together(forward), self._together(forward + backward)

    def _open_backend(self) -> Backend:
        return gpubp.get_backend(self.backend)

    def _together(self, calls: Sequence[Callable[[], None]]) -> Callable[[], None]:
        def run() -> None:
            for call in calls:
                call()

        return run

    def threading(self) -> AbstractContextManager[None]:
        """Limit the number of BLAS threads within this context."""
        return nullcontext()

    def step(self) -> None:
        """Compute the 3L - 1 matmuls of a training step."""
        self._step()

    def predict(self) -> None:
        """Compute the L matmuls of a prediction."""
        self._predict()

    def synchronize(self) -> None:
        """Wait until all work has been computed."""
        self._backend.synchronize()


class FloorOneThread(Floor):
    """The bare matmuls on one thread, which is faster for small ones."""

    name = "floor-1-thread"

    def open(self) -> str:
        return "bare matmuls, 1 BLAS thread"

    def threading(self) -> AbstractContextManager[None]:
        return blas_threads.single_threaded


class FloorGpu(Floor):
    """The bare matmuls on the GPU, as gpubp computes them, in a CUDA graph."""

    name = "floor-gpu"
    device = "gpu"
    backend = "cupy"

    def open(self) -> str:
        require_cupy()
        return f"bare matmuls in a graph, {self._open_backend().device}"

    def _open_backend(self) -> Backend:
        return open_cupy(graphs=True)

    def _together(self, calls: Sequence[Callable[[], None]]) -> Callable[[], None]:
        return self._backend.capture(super()._together(calls))


def bind_matmuls(
    backend: Backend, sizes: Sequence[int], rows: int, dtype: str
) -> tuple[list[Callable[[], None]], list[Callable[[], None]]]:
    """Bind a network's matmuls forward, and those backward, to arrays of random numbers.

    Parameters
    ----------
    backend : Backend
        The backend that computes the matmuls.
    sizes : sequence of int
        Widths of the layers, the input first.
    rows : int
        The rows of the batch.
    dtype : str
        "float32" or "float64".
    """
    rng = np.random.default_rng(0)

    def array(*shape: int) -> Array:
        return backend.asarray(rng.standard_normal(shape).astype(dtype))

    a, delta = ([array(rows, n) for n in sizes] for _ in range(2))
    weights = [array(m, n) for n, m in pairwise(sizes)]
    gradients = [backend.empty(w.shape, np.dtype(dtype)) for w in weights]
    bind = bind_cpu if backend.name == "numpy" else bind_backend
    forward = [bind(backend, a[k], w, a[k + 1], transpose_b=True) for k, w in enumerate(weights)]
    backward = []
    for k in reversed(range(len(weights))):
        backward.append(bind(backend, delta[k + 1], a[k], gradients[k], transpose_a=True))
        if k:
            backward.append(bind(backend, delta[k + 1], weights[k], delta[k]))
    return forward, backward


def bind_cpu(
    backend: Backend, a: Array, b: Array, out: Array, **transposed: Any
) -> Callable[[], None]:
    """Bind a matmul to its arrays once, as gpubp's captured step does."""
    return blas.Matmul(a, b, out, **transposed)


def bind_backend(
    backend: Backend, a: Array, b: Array, out: Array, **transposed: Any
) -> Callable[[], None]:
    """Call the matmul through the backend."""
    return lambda: backend.matmul(a, b, out, **transposed)


FLOORS: dict[str, type[Floor]] = {floor.name: floor for floor in (Floor, FloorOneThread, FloorGpu)}
