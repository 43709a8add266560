"""Fits with random settings and callbacks that go on from checkpoints of random steps.

With GPUBP_TEST_LONG=1, 2,000 fits are tried.
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environment import rounds
from resuming import StopAfter, assert_same
from small_networks import classes, classifier

from gpubp import (
    SGD,
    Adam,
    Callback,
    Checkpoint,
    DivergenceError,
    EarlyStopping,
    History,
    Trainer,
)
from gpubp.training.optimizers import OPTIMIZERS
from gpubp.training.schedules import SCHEDULES

CHOICES = [
    *(kind() for kind in OPTIMIZERS.values()),
    *(SGD(momentum=0.9), SGD(momentum=0.8, nesterov=True), Adam(clip_norm=0.1, l2=0.01)),
]


RATES = [(0, 1), (1, 0), (0.5, 1), (0.5, 2)]
MONITORS = [
    EarlyStopping(2, monitor="accuracy"),
    EarlyStopping(1, monitor="mae", higher_is_better=False),
]


def falling(step: int, total: int, per_epoch: int) -> float:
    return 1 / (1 + step / total)


def mae(y: Any, predictions: Any) -> float:
    return float(np.abs(y - predictions).mean())


class Change(Callback):
    """Changes the optimizer, the layers' rates or the parameters at some moments of a fit."""

    def __init__(self, changes: dict[Any, Any]) -> None:
        self._changes, self._epoch = changes, 0

    def _at(self, trainer: Trainer, *moment: Any) -> None:
        change = self._changes.get(moment)
        if change == "rate":
            trainer.learning_rate /= 2
        elif isinstance(change, tuple):
            trainer.layer_rates = change
        elif change == "parameters":
            trainer.network.parameters[...] *= 0.9
        elif change is not None:
            trainer.optimizer = change

    def on_fit_begin(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        self._at(trainer, "fit")

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        self._epoch = epoch
        self._at(trainer, "epoch", epoch)

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        self._at(trainer, "step", self._epoch, step)

    def on_epoch_end(self, trainer: Trainer, history: History) -> None:
        self._at(trainer, "end", len(history))


class Streamed:
    """Rows that can only be sliced, in chunks."""

    def __init__(self, rows: Any, chunk: int) -> None:
        self._rows, self.shape, self.dtype = rows, rows.shape, rows.dtype
        self.chunks = (chunk, *rows.shape[1:])

    def __getitem__(self, chosen: Any) -> Any:
        return self._rows[chosen]


def drawn(draw: random.Random, seed: int) -> tuple[Any, Any, dict[str, Any]]:
    """Draw a function that makes a trainer, its data, and the other arguments of its fit."""
    rows, epochs = draw.randint(1, 30), draw.randint(1, 5)
    precision = draw.choice([None, None, None, "float16", "bfloat16"])
    network = {
        "dropout": draw.choice([0, 0.3]),
        "dtype": "float32" if precision else draw.choice(["float32", "float64"]),
        "precision": precision,
    }
    moments = [
        ("fit",),
        *(("epoch", k) for k in range(epochs)),
        *(("end", k + 1) for k in range(epochs)),
        *(("step", k, step) for k in range(epochs) for step in range(30)),
    ]
    changes = {
        moment: draw.choice([*CHOICES, *RATES, "rate", "rate", "parameters", "parameters"])
        for moment in moments
        if draw.random() < 0.1
    }
    validates = draw.random() < 0.5
    settings = {
        "optimizer": draw.choice(CHOICES),
        "layer_rates": draw.choice([None, *RATES]),
        "batch_size": draw.randint(1, 12),
        "accumulate": draw.choice([1, 1, 2, 3]),
        "schedule": draw.choice([*SCHEDULES, falling, falling]),
        "early_stopping": draw.choice([None, None, 1, 3, *(MONITORS if validates else [])]),
        "metrics": {"mae": mae} if validates else None,
        "shuffle": draw.choice([True, True, "blocks", False]),
        "seed": seed,
    }

    def make() -> Trainer:
        return Trainer(classifier("numpy", **network), callbacks=[Change(changes)], **settings)

    x, y = classes(rows, seed=seed)
    options: dict[str, Any] = {"epochs": epochs}
    if validates:
        options["validation_data"] = classes(draw.randint(1, 9), seed=seed + 1)
    if draw.random() < 0.3:
        options["sample_weight"] = np.random.default_rng(seed).uniform(0.1, 2, rows)
    if draw.random() < 0.3:
        return make, (Streamed(x, draw.randint(1, 9)), y), options
    if draw.random() < 0.3:
        return make, (batches(draw, x, y, options.pop("sample_weight", None)),), options
    return make, (x, y), options


def batches(draw: random.Random, x: Any, y: Any, weights: Any) -> list[tuple[Any, ...]]:
    """Cut the rows into batches of any sizes."""
    stops = [0, *sorted(draw.sample(range(1, len(x)), draw.randint(0, len(x) - 1))), len(x)]
    arrays = (x, y) if weights is None else (x, y, weights)
    return [tuple(array[a:b] for array in arrays) for a, b in itertools.pairwise(stops)]


@pytest.mark.slow
def test_a_fit_goes_on_with_the_same_bits_from_any_of_its_checkpoints(tmp_path: Path) -> None:
    compared = 0
    for seed in range(rounds(25, 2000)):
        draw = random.Random(seed)
        make, data, options = drawn(draw, seed)
        whole, folder = make(), tmp_path / str(seed)
        try:
            expected = whole.fit(*data, **options)
        except DivergenceError:
            continue
        each = make()
        each.checkpoint = Checkpoint(folder, "1 step", keep=1000)
        assert_same((each, each.fit(*data, **options)), (whole, expected))
        files = sorted(folder.iterdir())
        for file in draw.sample(files, min(4, len(files))):
            resumed = make()
            resumed.resume(file)
            resumed.callbacks = [*resumed.callbacks, StopAfter(draw.randint(1, 2 * len(files)))]
            resumed.checkpoint = Checkpoint(tmp_path / f"{seed} {file.name}", "3 steps")
            history = resumed.fit(*data, **options)
            if history.stopped == "enough":
                folder = resumed.checkpoint.folder
                resumed = make()
                resumed.resume(folder)
                history = resumed.fit(*data, **options)
            assert_same((resumed, history), (whole, expected))
            compared += 1
    print(f"{compared} resumed fits")
    assert compared > 50
