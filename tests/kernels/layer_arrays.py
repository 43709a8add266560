"""A layer's arrays, on a CUDA backend and rounded on the host, and the work that its verbs ask for."""

from __future__ import annotations

from collections.abc import Callable

import environment
import numpy as np
from test_precision import back, nearest, on_backend

from gpubp.backends import Backend
from gpubp.kernels import ACTIVATIONS, PRECISIONS
from gpubp.kernels.typing import Array

WORK = ("launch", "multiply", "cublaslt", "replay")
"""Names of an emulated device's work: kernels, products of cuBLAS and of cuBLASLt, and graphs. The pool of
memory asks for more."""


def launched(call: Callable[[], None]) -> list[str]:
    """Return the names of the work that a call asks the emulated device for."""
    assert environment.ON_HOST is not None
    runtime = environment.ON_HOST.runtime
    runtime.asked = []
    try:
        call()
        return [name for name in runtime.asked if name in WORK]
    finally:
        runtime.asked = None


class LayerArrays:
    """A layer's arrays, on a backend and rounded on the host."""

    def __init__(
        self, backend: Backend, shape: tuple[int, int, int], name: str | None, activation: str
    ) -> None:
        self.backend, self.activation = backend, ACTIVATIONS[activation]
        self.precision = None if name is None else PRECISIONS[name]
        rows, n_out, n_in = shape
        rng = np.random.default_rng(7)
        given = {
            "x": rng.normal(size=(rows, n_in)), "weights": rng.normal(size=(n_out, n_in)),
            "after": rng.normal(size=(rows, 16)), "weights_after": rng.normal(size=(16, n_out)),
        }  # fmt: skip
        self.host: dict[str, Array] = {}
        self.there: dict[str, Array] = {}
        for key, wide in given.items():
            values = wide.astype(np.float32)
            self.there[key] = self._operand(values)
            exact = values if name is None else nearest(values, PRECISIONS[name].digits)
            self.host[key] = exact.astype(np.float64)
        biases = rng.normal(size=n_out).astype(np.float32)
        if self.precision is not None:  # cuBLASLt may round them; other tests have other biases
            biases = nearest(biases, self.precision.digits).astype(np.float32)
        self.host["biases"], self.there["biases"] = biases.astype(float), backend.asarray(biases)
        self.z = backend.asarray(np.full((rows, n_out), np.nan, np.float32))
        self.a, self.delta = (self._operand(np.full((rows, n_out), 3, np.float32)) for _ in "ad")
        self.product = backend.asarray(np.full((rows, n_out), np.nan, np.float32))
        self.gradient = backend.asarray(np.full((n_out, n_in), np.nan, np.float32))
        self.sums = backend.asarray(np.full(n_out, np.nan, np.float32))

    def _operand(self, values: Array) -> Array:
        if self.precision is None:
            return self.backend.asarray(values)
        return on_backend(self.backend, values, self.precision.name)

    @property
    def unit(self) -> float:
        """The relative error of what is stored narrow."""
        return 0.0 if self.precision is None else self.precision.unit_roundoff

    def error(self, first: str, second: str) -> Array:
        """Bound the error of a product's sums. Tensor cores may truncate to tf32."""
        unit = (
            2.0**-21 if self.precision is None or self.precision.storage != "float32" else 2.0**-9
        )
        return unit * (np.abs(self.host[first]) @ np.abs(self.host[second].T) + 1)

    def forward(self, keep_z: bool, biases: bool = True, out: Array | None = None) -> None:
        there = self.there
        self.backend.layer_forward(
            *(self.activation, there["x"], there["weights"], there["biases"] if biases else None),
            *(self.z, self.a if out is None else out, self.precision, keep_z),
        )

    def backward(self) -> None:
        there, v = self.there, self.a if self.activation.reads == "a" else self.z
        operands = there["after"], there["weights_after"], v, self.product, self.delta
        self.backend.layer_backward(self.activation, *operands, self.precision)

    def gradients(self, beta: float = 0.0) -> None:
        operands = self.a, self.there["x"], self.gradient, self.sums, beta
        self.backend.layer_gradients(*operands, self.precision)

    def expected_z(self, biases: bool = True) -> Array:
        z = self.host["x"] @ self.host["weights"].T
        return z + self.host["biases"] if biases else z

    def read(self, array: Array) -> Array:
        return back(self.backend, array).astype(np.float64)
