"""How a training step runs its optimizer."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from typing import Any

from ..kernels import UPDATES, UpdateRule
from .optimizers import Optimizer

__all__ = ["UpdatePlan", "plan_update"]


@dataclass(frozen=True)
class UpdatePlan:
    """The update that a step runs, and what the gradient's buffer holds.

    Attributes
    ----------
    rule : UpdateRule
        What changes the parameters.
    beta : float
        A step's gradient is added to `beta` times what the gradient's buffer holds. Where it is not 0, it
        is the momentum, and the buffer holds the velocity.
    """

    rule: UpdateRule
    beta: float = 0.0

    @property
    def needs_norm(self) -> bool:
        """Whether the update reads the norm of the gradient."""
        return self.rule.options.clip_norm < math.inf

    def factors(self, rates: Any, steps: Any) -> tuple[Any, Any]:
        """The two numbers that the update reads beside each learning rate; steps count from 1."""
        return self.rule.update.factors(rates, steps, **self.rule.hyperparameters)

    @property
    def state_of(self) -> str:
        """The name of the update whose state a step keeps, whichever buffers hold it."""
        return "momentum" if self.beta else self.rule.update.name

    def shares_state_with(self, other: UpdatePlan) -> bool:
        """Whether one can go on with the state of the other."""
        same_update = self.rule.update is other.rule.update
        return same_update and bool(self.beta) == bool(other.beta)


def plan_update(optimizer: Optimizer, *, gradient_apart: bool, scaled: bool) -> UpdatePlan:
    """Choose how to run an optimizer.

    Parameters
    ----------
    optimizer : Optimizer
        What to run.
    gradient_apart : bool
        The gradient's buffer must not be the velocity as well.
    scaled : bool
        The loss is scaled: a gradient that is not finite must change nothing.
    """
    options = optimizer.update_options
    if optimizer.accumulates and not (gradient_apart or scaled):
        return UpdatePlan(UpdateRule(UPDATES["sgd"], {}, options), optimizer.accumulates)
    if scaled:
        # The norm, computed as if to clip the gradient, tells whether the gradient is finite.
        clip_norm = min(options.clip_norm, sys.float_info.max)
        options = replace(options, clip_norm=clip_norm, skips=True)
    return UpdatePlan(UpdateRule(optimizer.update, optimizer.hyperparameters, options))
