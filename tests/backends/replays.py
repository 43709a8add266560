"""What the tests of replays share: data, a short training, and the number of replays a trainer keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import gpubp
from gpubp.backends import Backend
from gpubp.kernels.typing import Array

X = np.random.default_rng(2).normal(size=(75, 6)).astype(np.float32)
LABELS = np.random.default_rng(3).integers(0, 3, 75)
WEIGHTS = np.random.default_rng(4).uniform(0.5, 1.5, 75)


def train(
    backend: str | Backend,
    optimizer: Any = "adam",
    network: dict[str, Any] | None = None,
    trainer: dict[str, Any] | None = None,
    data: Callable[[], tuple[Array, Array]] = lambda: (X, LABELS),
    fit: dict[str, Any] | None = None,
) -> gpubp.Trainer:
    options = {"output": "softmax", "hidden": "tanh"} | (network or {})
    made = gpubp.Network((6, 9, 8, 3), backend=backend, seed=0, **options)
    trained = gpubp.Trainer(made, optimizer, seed=0, **({"batch_size": 16} | (trainer or {})))
    trained.fit(*data(), epochs=4, **(fit or {}))
    return trained


def graphs_of(trainer: gpubp.Trainer) -> int:
    steps: Any = trainer._training_step.captured.values()
    return sum(step.captured for step in steps)


def replays_of(trainer: gpubp.Trainer) -> int:
    """Count the trainer's graphs or its lists of launches, whichever its backend makes."""
    steps: Any = trainer._training_step.captured.values()
    launches = sum(step.written_down for step in steps)
    assert not graphs_of(trainer) or not launches
    return graphs_of(trainer) or launches
