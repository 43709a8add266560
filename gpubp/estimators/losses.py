"""The estimators' losses: their names, the output activation of each, and the targets that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backends import Array
from ..kernels import COSTS, Cost
from ..kernels.messages import shown
from ..network.arguments import is_sequence
from ..registry import get_cost
from ..validation import check_number

__all__ = [
    "LOSSES",
    "check_quantile",
    "class_targets",
    "cost_for_classes",
    "output_for_classes",
    "quantile_cost",
]

LOSSES: Mapping[str, Cost] = {"squared_error": COSTS["quadratic"], **COSTS}
"""The losses of both estimators by name; MLPClassifier also has "log_loss"."""


def cost_for_classes(loss: str | Cost, several: bool, label_smoothing: float) -> Cost:
    """Find the cost of a loss for classes.

    Parameters
    ----------
    loss : str or Cost
        The parameter.
    several : bool
        Whether a row has one of three or more classes. Otherwise it has one of two, or several labels.
    label_smoothing : float
        The parameter. Only a cost of classes takes it; for other costs `class_targets` does the same.

    Returns
    -------
    Cost
        The cost. "log_loss" is the cross-entropy that goes with the number of classes.
    """
    if isinstance(loss, str) and loss == "log_loss":
        cost = COSTS["cross_entropy" if several else "binary_cross_entropy"]
    else:
        cost = loss if isinstance(loss, Cost) else LOSSES[loss]
    smooths = cost.targets == "class" and label_smoothing > 0
    return get_cost(cost, label_smoothing=label_smoothing) if smooths else cost


def output_for_classes(cost: Cost, several: bool) -> str:
    """Return the output activation that a classifier has by default: the sigmoid or softmax.

    Three or more classes have softmax, unless the cost is made for a sigmoid of each.
    """
    one_of_several = cost.targets == "class" or (several and cost.canonical != "sigmoid")
    return "softmax" if one_of_several else "sigmoid"


def class_targets(codes: Any, n_outputs: int, label_smoothing: float, dtype: Any) -> Any:
    """Convert classes or labels to the targets of a cost that is a sum over outputs.

    Parameters
    ----------
    codes : int array of shape (n_samples,) or (n_samples, n_labels)
        The index of each row's class, or 0 and 1 for each label.
    n_outputs : int
        The number of outputs: 1 for two classes.
    label_smoothing : float
        ε: a target y becomes (1 - ε) y + ε / n, where n is the number of classes, or 2 for labels.
    dtype : dtype
        The dtype of the targets.

    Returns
    -------
    array of shape (n_samples, n_outputs)
        The targets.
    """
    if codes.ndim == 1:
        codes = codes[:, None] if n_outputs == 1 else np.eye(n_outputs)[codes]
        choices = max(n_outputs, 2)
    else:
        choices = 2
    return ((1 - label_smoothing) * codes + label_smoothing / choices).astype(dtype)


def check_quantile(quantile: Any) -> None:
    """Check that the parameter is a number between 0 and 1, or a sequence of such numbers."""
    levels = quantile if is_sequence(quantile) else [quantile]
    if not len(levels):
        raise ValueError(f"quantile is {shown(quantile)}, expected at least one number")
    for level in levels:
        check_number("quantile", level, 0, 1, open_low=True)


def quantile_cost(quantile: Any) -> Cost:
    """Make the cost of one or several quantiles: the pinball loss, with a level for each output.

    Parameters
    ----------
    quantile : float or sequence of float
        The level, or one for each output.

    Returns
    -------
    Cost
        The cost.
    """
    if not is_sequence(quantile):
        return get_cost("quantile", quantile=quantile)
    levels = tuple(float(level) for level in quantile)
    return Cost.from_functions("quantiles", _Pinball(levels), _PinballDerivative(levels))


@dataclass(frozen=True)
class _Pinball:
    """max(q (y - a), (q - 1) (y - a)), where q is the level of the column.

    Columns are computed one by one: on a GPU an array of the levels would have to be moved there in every
    step.
    """

    levels: tuple[float, ...]

    def __call__(self, xp: Any, a: Array, y: Array) -> Array:
        cost = xp.subtract(y, a)
        for column, level in enumerate(self.levels):
            missing = cost[:, column]
            missing[...] = xp.maximum(level * missing, (level - 1) * missing)
        return cost


@dataclass(frozen=True)
class _PinballDerivative:
    """-q where a < y, 1 - q where a > y, and 0 where both are equal."""

    levels: tuple[float, ...]

    def __call__(self, xp: Any, a: Array, y: Array) -> Array:
        slope = xp.sign(a - y)
        for column, level in enumerate(self.levels):
            side = slope[:, column]
            side[...] = 0.5 * side + (0.5 - level) * xp.abs(side)
        return slope
