"""The learning rates of a fit by batches: scikit-learn's plans, and gpubp's schedules."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..training.schedules import Constant, Schedule, get_schedule
from .parameters import THEIR_SCHEDULES

__all__ = ["Rate", "rate_of"]


@dataclass
class Rate(Schedule):
    """The same learning rate for all steps of an epoch; training changes it between epochs.

    The penalty belongs to the sum of the rows' losses. A batch's share of it is that of the mean loss: the
    penalty is divided by the number of the batch's rows, or by the sum of their sample weights.
    """

    initial: float
    current: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.current = self.initial

    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        return np.full(len(steps), self.current / self.initial)

    def penalty_factors(self, batch_weights: Any) -> Any:
        return np.divide(
            1, batch_weights, out=np.zeros_like(batch_weights), where=batch_weights > 0
        )


@dataclass
class Scheduled(Rate):
    """The learning rates of one of gpubp's schedules, with the penalties of `Rate`."""

    schedule: Schedule = field(default_factory=Constant)

    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        factors = self.schedule.factors(steps, total, per_epoch)
        self.current = self.initial * float(factors[-1])
        return factors

    def begin(self) -> None:
        self.schedule.begin()

    def observe(self, cost: float) -> None:
        self.schedule.observe(cost)

    def state(self) -> dict[str, Any]:
        return self.schedule.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        self.schedule.restore(state)


def rate_of(settings: Any) -> Rate:
    """Make the learning rate of a fit from the estimator's parameters."""
    rate, given = float(settings.learning_rate_init), settings.learning_rate
    if given in THEIR_SCHEDULES:
        return Rate(rate)
    return Scheduled(rate, copy.deepcopy(get_schedule(given)))  # a fit changes its state
