"""The size of δ in each layer, epoch by epoch: where gradients vanish or explode."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..network import Network
from ..training import History, Trainer
from .training import Watcher

__all__ = ["Deltas"]


class Deltas(Watcher):
    """A callback that computes δ of the same rows before training and after each epoch.

    Attributes
    ----------
    sizes : list of list of float
        For each time, the root mean square of each layer's δ, as of one row's cost.
    """

    def __init__(self) -> None:
        self.sizes: list[list[float]] = []

    def on_rows(self, x: Any, y: Any, rows: int, spread: float) -> None:
        self._x, self._y = x.copy(), y.copy()

    def on_fit_begin(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        self._compute(trainer.network)

    def on_epoch_end(self, trainer: Trainer, history: History) -> None:
        self._compute(trainer.network)

    def _compute(self, network: Network) -> None:
        rows = len(self._x)  # backprop's δ is of the mean cost, and so 1/rows of a row's
        deltas = network.backprop(self._x, self._y).deltas
        self.sizes.append(
            [rows * float(np.sqrt(np.mean(np.square(d, dtype=np.float64)))) for d in deltas]
        )
