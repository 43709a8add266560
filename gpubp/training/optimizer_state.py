"""The optimizer of a training step, and the arrays that it passes from one step to the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backends import Array
from ..kernels import ParameterArrays, StepVariables
from ..memory import allocated
from ..network import Network
from ..problem import Rounding
from .optimizers import Optimizer
from .plan import UpdatePlan, plan_update
from .step_numbers import STEPS_AHEAD

__all__ = ["OptimizerState", "zeros_for"]


class _RatesAhead(NamedTuple):
    """The numbers of steps with constant factors: the factors, the number of steps before, the numbers."""

    factors: tuple[float, float]
    before: int
    rates: Any


_NO_RATES = _RatesAhead((math.nan, math.nan), 0, ())


class OptimizerState:
    """An optimizer and its state, which begins at zero.

    Parameters
    ----------
    network : Network
        The network that is trained.
    optimizer : Optimizer
        The optimizer.
    gradient : array of shape (size,)
        The buffer of the gradient, which may also be the velocity.
    gradient_apart : bool
        Whether the gradient and the velocity must have separate memory.
    scaled : bool
        Whether the loss is scaled.

    Attributes
    ----------
    optimizer : Optimizer
        The optimizer.
    plan : UpdatePlan
        How a step runs it.
    arrays : tuple of arrays
        The arrays of the update's state.
    by_name : dict of arrays
        The arrays of the state by their names, whichever buffers they are.
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        gradient: Array,
        *,
        gradient_apart: bool,
        scaled: bool,
    ) -> None:
        self._network, self._gradient = network, gradient
        self._gradient_apart, self._scaled = gradient_apart, scaled
        self.optimizer, self.plan = optimizer, self._plan_for(optimizer)
        self._rates_ahead = _NO_RATES
        self._no_counters = network.backend.zeros(2, np.int64)
        self._begin()

    def change(self, optimizer: Optimizer) -> bool:
        """Use another optimizer; return whether its state goes on, or begins at zero."""
        self.optimizer, old = optimizer, self.plan
        self.plan, self._rates_ahead = self._plan_for(optimizer), _NO_RATES
        goes_on = self.plan.shares_state_with(old)
        if not goes_on:
            self._begin()
            self._gradient.fill(0)
        return goes_on

    def _plan_for(self, optimizer: Optimizer) -> UpdatePlan:
        return plan_update(optimizer, gradient_apart=self._gradient_apart, scaled=self._scaled)

    def _begin(self) -> None:
        """Make the arrays of a state that begins at zero."""
        names = self.plan.rule.update.state
        self.arrays = tuple(zeros_for(self._network, "the optimizer's state", len(names)))
        self.by_name: dict[str, Array] = dict(zip(names, self.arrays, strict=True))
        if self.plan.beta:
            self.by_name = {"velocity": self._gradient}

    def rates(self, factors: Any, penalty_factors: Any, before: int, steps: int) -> Any:
        """Compute the numbers that the update reads in each of the next steps.

        With constant factors they are computed for STEPS_AHEAD steps at once. Short epochs share these.

        Parameters
        ----------
        factors : float or array of shape (steps,)
            The factor of the optimizer's learning rate, in all steps or in each.
        penalty_factors : float or array of shape (steps,)
            The factor of the penalties, in all steps or in each.
        before : int
            The number of steps before; below 0 if the state began within these steps.
        steps : int
            The number of steps.

        Returns
        -------
        float64 array of shape (steps, 4)
            A row for each step: the learning rate, the update's two factors, the factor of the penalties.
            The array may be read-only.
        """
        are_constant = isinstance(factors, float) and isinstance(penalty_factors, float)
        if not are_constant or before < 0 or steps > STEPS_AHEAD:
            return self.compute_rates(factors, penalty_factors, before, steps)
        kept = self._rates_ahead
        first = before - kept.before
        if kept.factors != (factors, penalty_factors) or not 0 <= first <= len(kept.rates) - steps:
            rates = self.compute_rates(factors, penalty_factors, before, STEPS_AHEAD)
            rates.flags.writeable = False
            self._rates_ahead, first = _RatesAhead((factors, penalty_factors), before, rates), 0
        return self._rates_ahead.rates[first : first + steps]

    def compute_rates(self, factors: Any, penalty_factors: Any, before: int, steps: int) -> Any:
        """Compute what `rates` returns, in a new array."""
        rates = np.empty((steps, 4))
        rates[:, 3] = penalty_factors
        rates[:, 0] = self.optimizer.learning_rate * factors
        # An optimizer that is set within an epoch has not made the epoch's first steps.
        counted_from_1 = np.maximum(np.arange(steps) + (before + 1.0), 1)
        rates[:, 1], rates[:, 2] = self.plan.factors(rates[:, 0], counted_from_1)
        return rates

    def compute_norm(self, squared_norm: Array, parts: Sequence[slice]) -> None:
        """Compute the squared norm of these parts of the gradient, if the plan needs it."""
        if not self.plan.needs_norm:
            return
        weighted_sum, (first, *others) = self._network.backend.weighted_sum, parts
        weighted_sum(self._gradient[first], None, squared_norm)
        for part in others:  # each sum is added to element 0
            gradient = self._gradient[part]
            weighted_sum(gradient, gradient, squared_norm, self._no_counters)

    def update(
        self,
        variables: StepVariables,
        shard_gradients: Sequence[Array],
        part: slice,
        rounding: Rounding | None = None,
        *,
        advances: bool,
    ) -> None:
        """Update a part of the parameters by the gradient plus `shard_gradients`.

        Parameters
        ----------
        variables : StepVariables
            What changes from step to step; `compute_norm` has computed the squared norm, if the plan needs
            it.
        shard_gradients : sequence of arrays of shape (size,)
            The gradients of further shards; none of them if the plan needs the norm.
        part : slice
            The part.
        rounding : Rounding, optional
            The rounded weights to update too.
        advances : bool
            Whether to advance the counters then.
        """
        network, plan = self._network, self.plan
        arrays = network.parameters, self._gradient, self.arrays
        rounded = None if rounding is None else rounding.rounded[part]
        network.backend.update_with(
            plan.rule,
            ParameterArrays(*arrays, network.layout.n_weights).part(part),
            variables,
            [gradient[part] for gradient in shard_gradients],
            rounded=rounded if rounded is not None and rounded.size else None,
            precision=None if rounding is None else rounding.precision,
            advances=advances,
        )


def zeros_for(network: Network, what: str, count: int) -> list[Array]:
    """Make flat arrays with a number for each parameter, or say that `what` has no room in memory."""
    size, dtype, zeros = network.layout.size, network.dtype, network.backend.zeros
    return allocated(
        lambda: [zeros(size, dtype) for _ in range(count)],
        f"{what} of a network of sizes {network.sizes}",
        count * size * dtype.itemsize,
        network.backend,
    )
