"""What is measured: architectures, batch sizes, optimizers and data, the same for every contender."""

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
    "SMALL",
    "AlternatingBatch",
    "Architecture",
    "OptimizerSettings",
    "Weights",
    "find_architecture",
    "width_of",
]

Weights = list[tuple[Array, Array]]
"""For each layer, its weights (n_out, n_in) and biases (n_out,)."""

BATCH_SIZES = (1, 32, 128, 512, 2048, 8192, 65536)
EPOCH_BATCH_SIZES = (32, 128, 512, 2048)
EPOCH_ROWS = 8192
DISTINCT_ROWS = 8192
"""Larger batches repeat these rows, which leaves the mean cost and its gradient as they are."""

CHECKED_WORK = 3 * 10**10
"""The most rows times parameters on which a contender is checked; there the reference takes seconds."""


@dataclass(frozen=True)
class OptimizerSettings:
    """An optimizer, as every contender runs it; Adam's β1, β2 and ε are 0.9, 0.999 and 1e-8.

    Attributes
    ----------
    name : str
        "sgd" or "adam".
    learning_rate : float
        The learning rate of every step.
    momentum : float
        The momentum of SGD; Adam ignores it.
    """

    name: str
    learning_rate: float
    momentum: float = 0.9


# The rates are small, so that the networks do the same work at every step instead of learning.
OPTIMIZERS: Mapping[str, OptimizerSettings] = {
    settings.name: settings
    for settings in (OptimizerSettings("sgd", 1e-4), OptimizerSettings("adam", 1e-5))
}


@dataclass(frozen=True)
class AlternatingBatch:
    """Inputs with two targets; training steps take one and the other in turn.

    No network can learn such a batch. Otherwise the gradient would vanish, and steps on denormal numbers
    are slow.

    Attributes
    ----------
    x : float32 array of shape (rows, n_in)
        The inputs.
    targets : tuple of two arrays
        Labels, int64 of shape (rows,), or values, float32 of shape (rows, n_out).
    distinct : int
        The number of distinct rows; the other rows repeat them in the same order.
    """

    x: Array
    targets: tuple[Array, Array]
    distinct: int


@dataclass(frozen=True)
class Architecture:
    """A fully connected network.

    Attributes
    ----------
    name : str
        The name in options, results and reports.
    sizes : tuple of int
        Widths of the layers, the input first.
    output : str
        "softmax" (with cross-entropy) or "identity" (with ½‖y − a‖²).
    hidden : str
        The activation between the layers: "relu", "tanh", "gelu" (the exact one, with erf) or "silu".
    rows : int or None
        The network's own batch size: the group of small networks is measured at these.
    for_gpu : bool
        Whether the network is measured by default only if there is a GPU.
    """

    name: str
    sizes: tuple[int, ...]
    output: str
    hidden: str = "relu"
    rows: int | None = None
    for_gpu: bool = False

    def __str__(self) -> str:
        return f"{self.name} {'-'.join(map(str, self.sizes))}"

    @property
    def is_classifier(self) -> bool:
        """Whether targets are labels."""
        return self.output == "softmax"

    def checked_rows(self, rows: int) -> int:
        """Compute on how many rows a contender is checked before it is measured on `rows`."""
        while rows > 1 and rows * self.parameters > CHECKED_WORK:
            rows = min(rows // 2, DISTINCT_ROWS)
        return rows

    @lru_cache(2)  # noqa: B019 - every process asks for the same few again and again
    def weights(self, seed: int = 0) -> Weights:
        """Draw small initial weights and biases in float32; they are shared, so do not write to them."""
        rng = np.random.default_rng(seed)
        return [
            (
                (rng.standard_normal((n_out, n_in)) * (2 / n_in) ** 0.5).astype(np.float32),
                (rng.standard_normal(n_out) * 0.01).astype(np.float32),
            )
            for n_in, n_out in pairwise(self.sizes)
        ]

    @lru_cache(2)  # noqa: B019
    def batch(self, rows: int, seed: int = 1) -> AlternatingBatch:
        """Draw rows to train on; they are shared, so do not write to them.

        Parameters
        ----------
        rows : int
            The number of rows: at most `DISTINCT_ROWS`, a multiple of it, or the network's own.
        seed : int
            The seed of the random numbers.

        Raises
        ------
        ValueError
            When `rows` is another number.
        """
        rng = np.random.default_rng(seed)
        distinct = rows if rows == self.rows else min(rows, DISTINCT_ROWS)
        if rows % distinct:
            raise ValueError(f"batch size {rows} is not a multiple of {distinct}")
        x = rng.standard_normal((distinct + distinct // 8 + 16, self.sizes[0]), np.float32)
        if (
            self.hidden == "relu" and self.checked_rows(rows) == rows
        ):  # larger batches are measured, not checked
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
        return AlternatingBatch(np.tile(x, (times, 1)), (targets[0], targets[1]), distinct)

    def _clear_of_kinks(self, x: Array) -> Array:
        """Find the rows whose z are so far from 0 that rounding cannot switch a relu."""
        clear = np.ones(len(x), bool)
        for w, b in self.weights()[:-1]:
            z = x @ w.T + b
            clear &= np.abs(z).min(axis=1) > 1e-5
            x = np.maximum(z, 0)
        return clear

    def step_bytes(self, rows: int) -> int:
        """Compute a rough upper bound of a step's memory, in bytes: every z, a and δ, and a copy."""
        return 4 * (rows * (2 * self.sizes[0] + 4 * sum(self.sizes[1:])) + 5 * self.parameters)

    def step_multiply_adds(self, rows: int) -> int:
        """Count the multiply-adds of a step's matmuls: three a weight and row, without the input's δ."""
        weights = sum(n * m for n, m in pairwise(self.sizes))
        return rows * (3 * weights - self.sizes[0] * self.sizes[1])

    @property
    def parameters(self) -> int:
        """The number of weights and biases."""
        return sum(n * m + m for n, m in pairwise(self.sizes))


class _Architectures(dict[str, Architecture]):
    """Architectures by name. One of a series, "width-N", is made when it is asked for, and not listed."""

    def __missing__(self, name: str) -> Architecture:
        width = width_of(name)
        if width is None:
            raise KeyError(name)
        return Architecture(name, (width,) * 4, "softmax")


def width_of(name: str) -> int | None:
    """Return N for the name "width-N", None for others."""
    width = name.removeprefix("width-")
    return int(width) if width != name and width.isdecimal() else None


ARCHITECTURES: Mapping[str, Architecture] = _Architectures(
    (architecture.name, architecture)
    for architecture in (
        Architecture("classifier", (784, 256, 256, 10), "softmax"),
        Architecture("narrow", (64, 64, 64, 64, 64, 16), "softmax"),
        Architecture("narrow-6x64", (64,) * 7, "softmax", for_gpu=True),
        Architecture("regression", (100, 1024, 1024, 1), "identity"),
        Architecture("wide", (784, 4096, 4096, 4096, 4096, 10), "softmax", for_gpu=True),
        Architecture("tanh-4", (4, 32, 16, 4), "identity", "tanh", 10_000),
        Architecture("tanh-24", (24, 8, 2), "identity", "tanh", 200),
        Architecture("relu-10", (10, 100, 50, 20, 1), "identity", "relu", 200),
        Architecture("relu-64", (64, 64, 64, 64, 64, 16), "identity", "relu", 32),
        Architecture("gelu-48", (48, 48, 48, 48, 3), "identity", "gelu", 64),
        Architecture("silu-13", (13, 20, 20, 1), "identity", "silu", 32),
    )
)

SMALL = tuple(name for name, architecture in ARCHITECTURES.items() if architecture.rows)
"""The group of small networks, each measured at its own batch size."""


def find_architecture(name: str) -> Architecture | None:
    """Find the architecture with this name, which old results may have; None without one."""
    try:
        return ARCHITECTURES[name]
    except KeyError:
        return None
