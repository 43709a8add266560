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
    """The update that a step runs, and the role of the gradient's buffer.

    Attributes
    ----------
    rule : UpdateRule
        The update of the parameters.
    beta : float
        A step computes buffer ← beta buffer + gradient. If beta is not 0, it is the momentum, and the
        buffer is the velocity.
    """

    rule: UpdateRule
    beta: float = 0.0

    @property
    def needs_norm(self) -> bool:
        """Whether the update reads the norm of the gradient."""
        return self.rule.options.clip_norm < math.inf

    def factors(self, rates: Any, steps: Any) -> tuple[Any, Any]:
        """Compute the update's two factors for each learning rate; steps count from 1."""
        return self.rule.update.factors(rates, steps, **self.rule.hyperparameters)

    @property
    def state_of(self) -> str:
        """The name of the update whose state a step keeps, whichever buffers hold it."""
        return "momentum" if self.beta else self.rule.update.name

    def shares_state_with(self, other: UpdatePlan) -> bool:
        """Whether both plans use the same state, so that a change of plan can keep it."""
        same_update = self.rule.update is other.rule.update
        return same_update and bool(self.beta) == bool(other.beta)


def plan_update(optimizer: Optimizer, *, gradient_apart: bool, scaled: bool) -> UpdatePlan:
    """Choose how to run an optimizer.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer.
    gradient_apart : bool
        Whether the gradient and the velocity must have separate memory.
    scaled : bool
        Whether the loss is scaled. A step whose gradient is not finite must then change no parameter.

    Returns
    -------
    UpdatePlan
        The update rule and beta.
    """
    options = optimizer.update_options
    if optimizer.accumulates and not (gradient_apart or scaled):
        return UpdatePlan(UpdateRule(UPDATES["sgd"], {}, options), optimizer.accumulates)
    if scaled:
        # With a finite clip_norm the step computes the norm, which shows whether the gradient is finite.
        clip_norm = min(options.clip_norm, sys.float_info.max)
        options = replace(options, clip_norm=clip_norm, skips=True)
    return UpdatePlan(UpdateRule(optimizer.update, optimizer.hyperparameters, options))
