"""Optimizers: hyperparameters, checked, and which update kernel they run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ..errors import unknown_name
from ..kernels import UPDATES, Update, UpdateOptions
from ..validation import check_flag, check_number

__all__ = ["OPTIMIZERS", "SGD", "Adam", "AdamW", "Lion", "Optimizer", "RMSProp", "get_optimizer"]


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """What every optimizer has.

    Parameters
    ----------
    learning_rate : η; a schedule multiplies it.
    l1, l2 : add the derivative of l1 Σ|w| + ½ l2 Σ w² to the gradient; weights only, not biases.
    clip_norm : scale the gradient down to this norm where it is longer; None leaves it.
    clip_value : then clip each of its elements to ±this; None leaves them.

    Raises
    ------
    ValueError : a parameter, of any optimizer, is out of its range; the message names it.
    """

    learning_rate: float
    l1: float = 0.0
    l2: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None

    def __post_init__(self) -> None:
        for item in fields(self):
            value, name = getattr(self, item.name), item.name
            if name == "nesterov":
                check_flag(name, value)
                continue
            if value is None and name in ("clip_norm", "clip_value"):
                continue
            fraction = name in ("momentum", "beta1", "beta2", "decay")
            positive = name in ("learning_rate", "epsilon", "clip_norm", "clip_value")
            check_number(name, value, 0, 1 if fraction else math.inf, open_low=positive)
            if not math.isfinite(value):
                raise ValueError(f"{name} is {value!r}, expected a finite number")

    @property
    def update(self) -> Update:
        """The kernel entry that this optimizer runs."""
        raise NotImplementedError

    @property
    def hyperparameters(self) -> Mapping[str, float]:
        """The entry's hyperparameters."""
        return {name: float(getattr(self, name)) for name in self.update.hyperparameters}

    @property
    def weight_decay_rate(self) -> float:
        return float(getattr(self, "weight_decay", 0.0))

    @property
    def update_options(self) -> UpdateOptions:
        """Penalties, decay and clipping, as the kernels take them."""
        return UpdateOptions(
            l1=self.l1,
            l2=self.l2,
            weight_decay=self.weight_decay_rate,
            clip_norm=math.inf if self.clip_norm is None else self.clip_norm,
            clip_value=math.inf if self.clip_value is None else self.clip_value,
        )

    @property
    def accumulates(self) -> float:
        """What the gradient's buffer holds is kept, times this, when a step's gradient is added to it."""
        return 0.0


@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent: v ← μ v + g, θ ← θ - η v.

    Parameters
    ----------
    learning_rate, l1, l2, clip_norm, clip_value : as in `Optimizer`.
    momentum : μ, from 0 to below 1.
    nesterov : θ ← θ - η (g + μ v) instead (Sutskever et al. 2013).

    Raises
    ------
    ValueError : a parameter is out of its range; the message names it.
    """

    learning_rate: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    @property
    def update(self) -> Update:
        if not self.momentum or self.accumulates:
            return UPDATES["sgd"]
        return UPDATES["nesterov" if self.nesterov else "momentum"]

    @property
    def accumulates(self) -> float:
        # With nothing between gradient and velocity, the gradient matmul's beta is the momentum and its
        # buffer the velocity: v ← μ v + δᵀ a.
        plain = not self.nesterov and not self.update_options.changes_gradient
        return self.momentum if plain else 0.0


@dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015): θ ← θ - η (m / c1) / (√(v / c2) + ε), with moving averages
    m ← β1 m + (1 - β1) g and v ← β2 v + (1 - β2) g², and their bias corrections c = 1 - βᵗ at step t.

    Parameters
    ----------
    learning_rate, l1, l2, clip_norm, clip_value : as in `Optimizer`.
    beta1 : β1, from 0 to below 1.
    beta2 : β2, from 0 to below 1.
    epsilon : ε, above 0.

    Raises
    ------
    ValueError : a parameter is out of its range; the message names it.
    """

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    @property
    def update(self) -> Update:
        return UPDATES["adam"]


@dataclass(frozen=True, kw_only=True)
class AdamW(Adam):
    """Adam with decoupled decay (Loshchilov and Hutter 2019): w ← w - η λ w first.

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon, l1, l2, clip_norm, clip_value : as in `Adam`.
    weight_decay : λ, 0 or more; weights only, not biases.

    Raises
    ------
    ValueError : a parameter is out of its range; the message names it.
    """

    weight_decay: float = 0.01


@dataclass(frozen=True, kw_only=True)
class RMSProp(Optimizer):
    """RMSProp (Tieleman and Hinton 2012): v ← ρ v + (1 - ρ) g², θ ← θ - η g / (√v + ε).

    Parameters
    ----------
    learning_rate, l1, l2, clip_norm, clip_value : as in `Optimizer`.
    decay : ρ, from 0 to below 1.
    epsilon : ε, above 0.

    Raises
    ------
    ValueError : a parameter is out of its range; the message names it.
    """

    learning_rate: float = 1e-3
    decay: float = 0.9
    epsilon: float = 1e-8

    @property
    def update(self) -> Update:
        return UPDATES["rmsprop"]


@dataclass(frozen=True, kw_only=True)
class Lion(Optimizer):
    """Lion (Chen et al. 2023): θ ← θ - η sign(β1 m + (1 - β1) g), m ← β2 m + (1 - β2) g, and
    w ← w - η λ w first.

    Parameters
    ----------
    learning_rate, l1, l2, clip_norm, clip_value : as in `Optimizer`.
    beta1 : β1, from 0 to below 1.
    beta2 : β2, from 0 to below 1.
    weight_decay : λ, 0 or more; weights only, not biases.

    Raises
    ------
    ValueError : a parameter is out of its range; the message names it.
    """

    learning_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0

    @property
    def update(self) -> Update:
        return UPDATES["lion"]


OPTIMIZERS: Mapping[str, type[Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSProp,
    "lion": Lion,
}


def get_optimizer(optimizer: str | Optimizer, **parameters: Any) -> Optimizer:
    """An optimizer by name, or the one given; `parameters` replace its own.

    Raises
    ------
    ValueError : the name is unknown, or a parameter is out of its range.
    TypeError : the optimizer has no parameter of a name in `parameters`.
    """
    if isinstance(optimizer, Optimizer):
        return replace(optimizer, **parameters) if parameters else optimizer
    if not isinstance(optimizer, str) or optimizer not in OPTIMIZERS:
        raise unknown_name("optimizer", optimizer, OPTIMIZERS)
    return OPTIMIZERS[optimizer](**parameters)
