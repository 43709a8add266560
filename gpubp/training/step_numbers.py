"""The numbers of training steps, one entry for each step, in arrays that captured steps read and write."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backends import Array, Backend

__all__ = ["STEPS_AHEAD", "StepNumbers"]

STEPS_AHEAD = 256
"""The number of single steps that are prepared together: to prepare takes longer than a small step."""


class StepNumbers:
    """The numbers of the steps since `prepare`.

    Parameters
    ----------
    backend : Backend
        The backend of the arrays.
    room : int
        The number of steps that there is room for at first, of one shard.
    factors : int
        The number of different factors of the learning rate.

    Attributes
    ----------
    shards, room : int
        The number of shards and of steps that there is room for.
    rates : list of float64 arrays of shape (room, 4)
        What an update reads: the learning rate, two factors, and the factor of the penalties. The first
        array is the optimizer's; layers that have another factor of the learning rate read another.
    costs : float64 array of shape (shards, room)
        Each shard's part of the mean cost of the step's batch, before the update; NaN before `prepare`.
    squares : float64 array of shape (room,)
        The sum of the squared weights before the update, if steps compute it.
    """

    def __init__(self, backend: Backend, room: int, factors: int) -> None:
        self._backend, self._factors = backend, factors
        self._allocate(1, room)

    def make_room(self, shards: int, steps: int) -> bool:
        """Make room; return whether the arrays are new."""
        grows = self.shards < shards or self.room < steps
        if grows:
            self._allocate(max(shards, self.shards), max(steps, self.room))
        return grows

    def _allocate(self, shards: int, steps: int) -> None:
        backend = self._backend
        self.costs: Array = backend.empty((shards, steps), np.float64)
        self.costs.fill(math.nan)
        self.rates: list[Array] = [
            backend.zeros((steps, 4), np.float64) for _ in range(self._factors)
        ]
        self.squares: Array = backend.zeros(steps, np.float64)
        self.shards, self.room = shards, steps  # numbers: a replay looks at no array

    def hold_factors(self, factors: int) -> None:
        """Make new rates for so many factors of the learning rate; those of factor 1 stay."""
        self._factors, zeros = factors, self._backend.zeros
        self.rates[1:] = [zeros((self.room, 4), np.float64) for _ in range(factors - 1)]

    def set_rates(self, factor: int, rates: Any) -> None:
        """Write the rates of another factor."""
        self.rates[factor][: len(rates)] = self._backend.asarray(rates)

    def prepare(self, rates: Any, costs: Any) -> None:
        """Write the rates, and the costs of the steps that have been done; clear later steps'."""
        done = len(costs)
        self.rates[0][: len(rates)] = self._backend.asarray(rates)
        self.costs.fill(0)
        self.squares[done:].fill(0)
        if done:
            self.costs[0, :done] = self._backend.asarray(np.asarray(costs, np.float64))

    def mean_costs(self, done: int) -> Any:
        """Read the mean costs of the batches of the first steps; waits for the device."""
        costs = self._backend.to_numpy(self.costs)[:, :done]
        return costs[0].copy() if self.shards == 1 else costs.sum(0)

    def penalties(self, l2: float, done: int) -> Any:
        """Read the penalty ½ l2 Σ w² of each of the first steps; waits for the device."""
        factors, squares = (self._backend.to_numpy(a) for a in (self.rates[0][:, 3], self.squares))
        return 0.5 * l2 * factors[:done] * squares[:done]

    def last_cost(self, done: int) -> float:
        """Read the last of these costs, NaN before the first step."""
        return float(self._backend.to_numpy(self.costs[:, done - 1]).sum()) if done else math.nan
