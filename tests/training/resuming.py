"""Fits that are stopped after some steps and go on from a checkpoint: what their tests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from small_networks import classes, classifier

from gpubp import Adam, Callback, Checkpoint, History, Network, Trainer

X, Y = classes(22, seed=3)


def trainer(network: Network | None = None, **options: Any) -> Trainer:
    return Trainer(
        network or classifier("numpy"),
        **{"optimizer": Adam(), "batch_size": 4, "seed": 7, **options},
    )


def numbers(folder: Path) -> list[int]:
    assert all(file.name.startswith("checkpoint-") for file in folder.iterdir())
    return sorted(int(file.stem.removeprefix("checkpoint-")) for file in folder.iterdir())


class StopAfter(Callback):
    """Stops the fit after a number of steps in all."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        self.left -= 1
        if self.left == 0:
            trainer.stop("enough")


def without_seconds(history: History) -> dict[str, Any]:
    return {name: value for name, value in asdict(history).items() if name != "seconds"}


def fit_in_parts(
    make: Callable[[], Trainer], folder: Path, parts: list[int], x: Any, y: Any, **options: Any
) -> tuple[Trainer, History]:
    """Fit with a new trainer after each of `parts` steps; each goes on from the last one's checkpoint."""
    for steps in parts:
        trainer = make()
        trainer.checkpoint = Checkpoint(folder, every="1000 hours", on_error="raise")
        trainer.callbacks = [*trainer.callbacks, StopAfter(steps)]
        if trainer.checkpoint.newest is not None:
            trainer.resume(folder)
        assert trainer.fit(x, y, **options).stopped == "enough"
    trainer = make()
    trainer.checkpoint = Checkpoint(folder, every="1000 hours", on_error="raise")
    trainer.resume(folder)
    return trainer, trainer.fit(x, y, **options)


def assert_same(resumed: tuple[Trainer, History], whole: tuple[Trainer, History]) -> None:
    """Assert that the two fits have the same bits, and that they go on with the same bits."""
    (trainer, history), (other, expected) = resumed, whole
    assert without_seconds(history) == without_seconds(expected)
    with trainer.backend.use(), other.backend.use():
        ours, theirs = (t._training_step.take() for t in (trainer, other))
    assert (ours.steps_taken, ours.state_of) == (theirs.steps_taken, theirs.state_of)
    assert ours.arrays.keys() == theirs.arrays.keys()
    for name, array in ours.arrays.items():
        np.testing.assert_array_equal(
            trainer.backend.to_numpy(array), other.backend.to_numpy(theirs.arrays[name]), name
        )
    assert trainer._order.state == other._order.state
