"""The estimators' losses: their names, the output layer that goes with each, and quantiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..backends import Array
from ..kernels import COSTS, Activation, Cost
from ..kernels.messages import shown
from ..network.arguments import is_sequence
from ..registry import get_activation, get_cost

__all__ = [
    "LOSSES",
    "is_softmax",
    "our_activation",
    "output_for_classes",
    "quantile_cost",
    "their_name",
]

LOSSES: Mapping[str, Cost] = {"squared_error": COSTS["quadratic"], **COSTS}
"""The losses of both estimators by name; MLPClassifier also has "log_loss"."""

# scikit-learn's names of activations that have another name in gpubp.
_THEIR_NAMES = {"sigmoid": "logistic", "exponential": "exp"}
_OUR_NAMES = {theirs: ours for ours, theirs in _THEIR_NAMES.items()}


def our_activation(activation: str | Activation) -> Activation:
    """Find an activation by scikit-learn's name or gpubp's."""
    if isinstance(activation, str):
        return get_activation(_OUR_NAMES.get(activation, activation))
    return activation


def their_name(activation: Activation) -> str:
    """Return scikit-learn's name of an activation; for those that it does not have, gpubp's."""
    return _THEIR_NAMES.get(activation.name, activation.name)


def is_softmax(activation: str | Activation | None) -> bool:
    """Whether this is the softmax, of which each output depends on all z of the row."""
    return activation is not None and our_activation(activation).rowwise


def output_for_classes(
    loss: str | Cost, output_activation: str | Activation | None, several: bool
) -> tuple[Activation, Cost]:
    """Find the output activation and the cost of a classifier.

    Parameters
    ----------
    loss : str or Cost
        The parameter. "log_loss" is the cross-entropy that goes with the output activation.
    output_activation : str, Activation or None
        The parameter. None stands for the softmax where a row has one of several classes, unless the loss
        is made for a sigmoid of each; else it stands for the sigmoid.
    several : bool
        Whether a row has one of three or more classes. Otherwise it has one of two, or several labels.

    Returns
    -------
    output : Activation
        The output activation.
    cost : Cost
        The cost.
    """
    if isinstance(loss, str) and loss == "log_loss":
        output = output_activation or ("softmax" if several else "sigmoid")
        cost = COSTS["cross_entropy" if is_softmax(output) else "binary_cross_entropy"]
        return our_activation(output), cost
    cost = loss if isinstance(loss, Cost) else LOSSES[loss]
    one_of_several = cost.targets == "class" or (several and cost.canonical != "sigmoid")
    return our_activation(output_activation or ("softmax" if one_of_several else "sigmoid")), cost


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

    Raises
    ------
    ValueError
        If there is no level.
    """
    if not is_sequence(quantile):
        return get_cost("quantile", quantile=quantile)
    if not len(quantile):
        raise ValueError(f"quantile is {shown(quantile)}, expected at least one number")
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
