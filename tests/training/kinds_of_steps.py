"""Kinds of fits whose steps run together, and the state that they end with: what their tests share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_networks import classes

from gpubp import Trainer
from gpubp.training import TrainingStep

ROWS, BATCH = 59, 4  # fourteen whole batches and one of three rows
X, Y = classes(ROWS)
WEIGHTS = np.random.default_rng(1).uniform(0.5, 1.5, ROWS)

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropout": {"network": {"dropout": 0.3}},
    "sample weights": {"fit": {"sample_weight": WEIGHTS}},
    "accumulation": {"trainer": {"accumulate": 2, "batch_size": 2}},
    "schedule": {"trainer": {"schedule": "cosine"}},
    "float16": {"network": {"dtype": "float32", "precision": "float16"}},
    "bfloat16": {"network": {"dtype": "float32", "precision": "bfloat16"}},
    "tf32": {"network": {"dtype": "float32", "precision": "tf32"}},
    "rates of layers": {"trainer": {"layer_rates": (0.25, 2)}},
    "a frozen layer": {"trainer": {"layer_rates": (0, 0.5)}},
    "a frozen layer, bfloat16": {
        "network": {"dtype": "float32", "precision": "bfloat16"},
        "trainer": {"layer_rates": (0, 0.5)},
    },
    "overflow": {
        "network": {"dtype": "float32", "precision": "float16"},
        "loss_scale": 2.0**34,
    },
}


def state_of(trainer: Trainer) -> dict[str, Any]:
    """Return everything that one step passes to the next."""
    state, to_numpy = trainer.training_step.take(), trainer.backend.to_numpy
    return {name: to_numpy(array) for name, array in state.arrays.items()}


def noted_replays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how many steps each replay of a `TrainingStep` makes; its time does not end it."""
    noted: list[int] = []
    replay = TrainingStep._replay

    def noting(self: TrainingStep, *arguments: Any) -> int:
        noted.append(replay(self, *arguments))
        return noted[-1]

    monkeypatch.setattr(TrainingStep, "_replay", noting)
    monkeypatch.setattr("gpubp.backends.numpy.captured.SECONDS_TOGETHER", 60.0)
    return noted
