"""What is measured: architectures, batch sizes, optimizers, and the data, the same for every contender."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from ..kernels.typing import Array

__all__ = [
    "ARCHITECTURES",
    "BATCH_SIZES",
    "EPOCH_BATCH_SIZES",
    "EPOCH_ROWS",
    "OPTIMIZERS",
    "Architecture",
    "Batch",
    "OptimizerSettings",
]


BATCH_SIZES = (1, 32, 128, 512, 2048, 8192, 65536)
EPOCH_BATCH_SIZES = (32, 128, 512, 2048)
EPOCH_ROWS = 8192
DISTINCT_ROWS = 8192
"""Larger batches repeat these rows: the mean cost and its gradient stay what they are."""

CHECKED_WORK = 3 * 10**10
"""The most rows times parameters that a contender is checked on: the reference takes seconds then."""


@dataclass(frozen=True)
class OptimizerSettings:
    """An optimizer, as every contender is to run it; Adam's β1, β2 and ε are 0.9, 0.999 and 1e-8."""

    name: str
    learning_rate: float
    momentum: float = 0.9


# The rates are small: the networks are to do the same work at every step, not to learn.
OPTIMIZERS: Mapping[str, OptimizerSettings] = {
    settings.name: settings
    for settings in (OptimizerSettings("sgd", 1e-4), OptimizerSettings("adam", 1e-5))
}


@dataclass(frozen=True)
class Batch:
    """Rows in memory.

    Attributes
    ----------
    x : (rows, n_in), float32.
    targets : two arrays, labels (rows,), int64, or values (rows, n_out), float32. Steps alternate
        between them, so that no batch is ever learned: a gradient that vanished would leave denormal
        numbers, which are slow.
    distinct : rows after which the rows repeat.
    """

    x: Array
    targets: tuple[Array, Array]
    distinct: int


@dataclass(frozen=True)
class Architecture:
    """A fully connected network with relu between its layers.

    Attributes
    ----------
    sizes : layer widths, the input first.
    output : "softmax" (with cross-entropy) or "identity" (with ½‖y − a‖²).
    for_gpu : measured by default only where there is a GPU.
    """

    name: str
    sizes: tuple[int, ...]
    output: str
    for_gpu: bool = False

    def __str__(self) -> str:
        return f"{self.name} {'-'.join(map(str, self.sizes))}"

    @property
    def is_classifier(self) -> bool:
        return self.output == "softmax"

    def checked_rows(self, rows: int) -> int:
        """The rows that a contender is checked on before it is measured on `rows`."""
        while rows > 1 and rows * self.parameters > CHECKED_WORK:
            rows = min(rows // 2, DISTINCT_ROWS)
        return rows

    @lru_cache(2)  # noqa: B019 - every process asks for the same few again and again
    def weights(self, seed: int = 0) -> list[tuple[Array, Array]]:
        """For each layer float32 weights (n_out, n_in) and biases (n_out,), drawn small; to be read."""
        rng = np.random.default_rng(seed)
        return [
            (
                (rng.standard_normal((n_out, n_in)) * (2 / n_in) ** 0.5).astype(np.float32),
                (rng.standard_normal(n_out) * 0.01).astype(np.float32),
            )
            for n_in, n_out in pairwise(self.sizes)
        ]

    @lru_cache(2)  # noqa: B019
    def batch(self, rows: int, seed: int = 1) -> Batch:
        """Rows to train on, drawn from `seed`; to be read."""
        rng = np.random.default_rng(seed)
        distinct = min(rows, DISTINCT_ROWS)
        if rows % distinct:
            raise ValueError(f"batch size {rows} is not a multiple of {distinct}")
        x = rng.standard_normal((distinct + distinct // 8 + 16, self.sizes[0]), np.float32)
        if self.checked_rows(rows) == rows:  # others are only measured on
            x = x[self._clear_of_kinks(x)]
        x = x[:distinct]
        y: Array
        if self.is_classifier:
            y = rng.integers(0, self.sizes[-1], distinct)
            other = (y + 1) % self.sizes[-1]
        else:
            y = rng.standard_normal((distinct, self.sizes[-1]), np.float32)
            other = -y
        times = rows // distinct
        targets = tuple(np.tile(t, (times,) + (1,) * (t.ndim - 1)) for t in (y, other))
        return Batch(np.tile(x, (times, 1)), (targets[0], targets[1]), distinct)

    def _clear_of_kinks(self, x: Array) -> Array:
        """Which rows have no z so near 0 that rounding could switch a relu, and with it the gradient."""
        clear = np.ones(len(x), bool)
        for w, b in self.weights()[:-1]:
            z = x @ w.T + b
            clear &= np.abs(z).min(axis=1) > 1e-5
            x = np.maximum(z, 0)
        return clear

    def step_bytes(self, rows: int) -> int:
        """A rough upper bound on the memory of a step: every z, a and δ, and a copy."""
        return 4 * (rows * (2 * self.sizes[0] + 4 * sum(self.sizes[1:])) + 5 * self.parameters)

    @property
    def parameters(self) -> int:
        return sum(n * m + m for n, m in pairwise(self.sizes))


ARCHITECTURES: Mapping[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture("classifier", (784, 256, 256, 10), "softmax"),
        Architecture("narrow", (64, 64, 64, 64, 64, 16), "softmax"),
        Architecture("narrow-6x64", (64,) * 7, "softmax", for_gpu=True),
        Architecture("regression", (100, 1024, 1024, 1), "identity"),
        Architecture("wide", (784, 4096, 4096, 4096, 4096, 10), "softmax", for_gpu=True),
    )
}
