"""The record of an estimator's training."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from ..backends import Array

__all__ = ["Record"]


@dataclass
class Record:
    """The record of training, which warm starts and partial_fit continue.

    Attributes
    ----------
    loss_curve : list of float
        The loss of each epoch, with penalties.
    best_loss : float
        The lowest loss.
    scores : list of float
        The score on the held-out rows after each epoch.
    best_score : float
        The highest score.
    waited : int
        The number of epochs since the last improvement.
    seen : int
        The number of rows trained on.
    best_parameters : array of shape (size,) or None
        The network's parameters with the highest score, while training watches scores.
    """

    loss_curve: list[float] = field(default_factory=list)
    best_loss: float = math.inf
    scores: list[float] = field(default_factory=list)
    best_score: float = -math.inf
    waited: int = 0
    seen: int = 0
    best_parameters: Array | None = None

    def copy(self) -> Record:
        """Copy the record; the array is shared, for it is only ever replaced."""
        return replace(self, loss_curve=self.loss_curve.copy(), scores=self.scores.copy())
