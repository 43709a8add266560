"""Optimizers: their hyperparameters, which are checked, and the update kernel of each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from typing import Any

from ..kernels import UPDATES, Update, UpdateOptions
from ..keywords import tells_keywords
from ..registry import look_up
from ..shown import repr_of_changed
from ..validation import check_flag, check_number

__all__ = ["OPTIMIZERS", "SGD", "Adam", "AdamW", "Lion", "Optimizer", "RMSProp", "get_optimizer"]


@tells_keywords
@dataclass(frozen=True, kw_only=True, repr=False)
class Optimizer:
    """Base class of optimizers, with the parameters that all of them have.

    Parameters
    ----------
    learning_rate : float
        η, above 0; a schedule multiplies it. It is the only parameter that may be given without its name,
        as in ``Adam(1e-3)``.
    l1, l2 : float, default 0
        Factors of the penalty l1 Σ|w| + ½ l2 Σ w². Its derivative is added to the gradient of the weights;
        biases have no penalty.
    clip_norm : float or None, default None
        A gradient with a larger norm is scaled to this norm. None means no limit.
    clip_value : float or None, default None
        Each element of the gradient is then clipped to ±clip_value. None means no limit.

    Raises
    ------
    ValueError
        If a parameter is out of its range; the message names it.
    """

    learning_rate: float = field(kw_only=False)
    l1: float = 0.0
    l2: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None

    def __post_init__(self) -> None:
        for item in fields(self):
            value, name = getattr(self, item.name), item.name
            if isinstance(item.default, bool):
                check_flag(name, value)
                continue
            if value is None and name in ("clip_norm", "clip_value"):
                continue
            fraction = name in ("momentum", "beta1", "beta2", "decay")
            positive = name in ("learning_rate", "epsilon", "clip_norm", "clip_value")
            high, open_high = 1 if fraction else math.inf, name != "momentum"
            check_number(name, value, 0, high, open_low=positive, open_high=open_high)

    def __repr__(self) -> str:
        return repr_of_changed(self, ("learning_rate",))

    def differs_in_rate_alone(self, other: Optimizer) -> bool:
        """Whether the other optimizer is the same but for the learning rate."""
        same = type(self) is type(other)
        return same and replace(self, learning_rate=other.learning_rate) == other

    @property
    def update(self) -> Update:
        """The entry of `kernels.UPDATES` that this optimizer runs, unless `accumulates` is used."""
        raise NotImplementedError

    @property
    def hyperparameters(self) -> Mapping[str, float]:
        """The hyperparameters of the entry."""
        return {name: float(getattr(self, name)) for name in self.update.hyperparameters}

    @property
    def weight_decay_rate(self) -> float:
        """λ of the decoupled decay; 0 for an optimizer without one."""
        return float(getattr(self, "weight_decay", 0.0))

    @property
    def update_options(self) -> UpdateOptions:
        """Penalties, decay and clipping, in the kernels' form."""
        return UpdateOptions(
            l1=self.l1,
            l2=self.l2,
            weight_decay=self.weight_decay_rate,
            clip_norm=math.inf if self.clip_norm is None else self.clip_norm,
            clip_value=math.inf if self.clip_value is None else self.clip_value,
        )

    @property
    def accumulates(self) -> float:
        """The momentum, if the gradient's buffer can also be the velocity; otherwise 0.

        The gradient's matmul then computes v ← μ v + δᵀ a in this buffer, and the update is plain SGD.
        """
        return 0.0


@tells_keywords
@dataclass(frozen=True, kw_only=True, repr=False)
class SGD(Optimizer):
    """Stochastic gradient descent: v ← μ v + g, θ ← θ - η v.

    Parameters
    ----------
    learning_rate, l1, l2, clip_norm, clip_value
        As in `Optimizer`; `learning_rate` is 0.01 by default.
    momentum : float, default 0
        μ, from 0 to 1.
    nesterov : bool, default False
        Whether to use θ ← θ - η (g + μ v) instead (Sutskever et al. 2013).
    rate_in_velocity : bool, default False
        Whether to use v ← μ v + η g, θ ← θ - v instead, or θ ← θ - (η g + μ v) with `nesterov`. The steps
        are the same until η changes: then earlier gradients keep the η that they came with.

    Raises
    ------
    ValueError
        If a parameter is out of its range; the message names it.
    """

    learning_rate: float = field(default=0.01, kw_only=False)
    momentum: float = 0.0
    nesterov: bool = False
    rate_in_velocity: bool = False

    @property
    def update(self) -> Update:
        if not self.momentum:
            return UPDATES["sgd"]
        name = "nesterov" if self.nesterov else "momentum"
        return UPDATES[f"{name}_with_rate" if self.rate_in_velocity else name]

    @property
    def accumulates(self) -> float:
        # If no option changes the gradient, the gradient's matmul can add it to the velocity directly:
        # v ← μ v + δᵀ a, with μ as its beta.
        plain = self.update.name == "momentum" and not self.update_options.changes_gradient
        return self.momentum if plain else 0.0


@tells_keywords
@dataclass(frozen=True, kw_only=True, repr=False)
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015): θ ← θ - η (m / c1) / (√(v / c2) + ε).

    The moving averages are m ← β1 m + (1 - β1) g and v ← β2 v + (1 - β2) g². Their bias corrections are
    c = 1 - βᵗ at step t.

    Parameters
    ----------
    learning_rate, l1, l2, clip_norm, clip_value
        As in `Optimizer`; `learning_rate` is 1e-3 by default.
    beta1 : float, default 0.9
        β1, from 0 to below 1.
    beta2 : float, default 0.999
        β2, from 0 to below 1.
    epsilon : float, default 1e-8
        ε, above 0.
    epsilon_hat : bool, default False
        Whether ε is the ε̂ of the paper's section 2, which is added to √v instead of √(v / c2):
        θ ← θ - η (√c2 / c1) m / (√v + ε). scikit-learn and TensorFlow use this form.

    Raises
    ------
    ValueError
        If a parameter is out of its range; the message names it.
    """

    learning_rate: float = field(default=1e-3, kw_only=False)
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    epsilon_hat: bool = False

    @property
    def update(self) -> Update:
        return UPDATES["adam_hat" if self.epsilon_hat else "adam"]


@tells_keywords
@dataclass(frozen=True, kw_only=True, repr=False)
class AdamW(Adam):
    """Adam with decoupled decay (Loshchilov and Hutter 2019): w ← w - η λ w first.

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon, epsilon_hat, l1, l2, clip_norm, clip_value
        As in `Adam`.
    weight_decay : float, default 0.01
        λ, 0 or more; weights only, not biases.

    Raises
    ------
    ValueError
        If a parameter is out of its range; the message names it.
    """

    weight_decay: float = 0.01


@tells_keywords
@dataclass(frozen=True, kw_only=True, repr=False)
class RMSProp(Optimizer):
    """RMSProp (Tieleman and Hinton 2012): v ← ρ v + (1 - ρ) g², θ ← θ - η g / (√v + ε).

    Parameters
    ----------
    learning_rate, l1, l2, clip_norm, clip_value
        As in `Optimizer`; `learning_rate` is 1e-3 by default.
    decay : float, default 0.9
        ρ, from 0 to below 1.
    epsilon : float, default 1e-8
        ε, above 0.

    Raises
    ------
    ValueError
        If a parameter is out of its range; the message names it.
    """

    learning_rate: float = field(default=1e-3, kw_only=False)
    decay: float = 0.9
    epsilon: float = 1e-8

    @property
    def update(self) -> Update:
        return UPDATES["rmsprop"]


@tells_keywords
@dataclass(frozen=True, kw_only=True, repr=False)
class Lion(Optimizer):
    """Lion (Chen et al. 2023): θ ← θ - η sign(β1 m + (1 - β1) g), m ← β2 m + (1 - β2) g.

    Before that, w ← w - η λ w.

    Parameters
    ----------
    learning_rate, l1, l2, clip_norm, clip_value
        As in `Optimizer`; `learning_rate` is 1e-4 by default.
    beta1 : float, default 0.9
        β1, from 0 to below 1.
    beta2 : float, default 0.99
        β2, from 0 to below 1.
    weight_decay : float, default 0
        λ, 0 or more; weights only, not biases.

    Raises
    ------
    ValueError
        If a parameter is out of its range; the message names it.
    """

    learning_rate: float = field(default=1e-4, kw_only=False)
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


def _refuse_to_set(optimizer: Optimizer, name: str, value: Any) -> None:
    if type(optimizer) not in _KINDS and name not in {item.name for item in fields(optimizer)}:
        object.__setattr__(optimizer, name, value)  # of a user's subclass
        return
    kind = type(optimizer).__name__
    instead = f"set trainer.optimizer to a new {kind}"
    if name == "learning_rate":
        instead = f"set trainer.learning_rate, or trainer.optimizer to a new {kind}"
    raise FrozenInstanceError(f"{kind}.{name} is read-only; {instead}")


_KINDS = (Optimizer, *OPTIMIZERS.values())
for _kind in _KINDS:  # dataclass has set its own, which says less
    _kind.__setattr__ = _refuse_to_set  # type: ignore[assignment, method-assign]


def get_optimizer(optimizer: str | Optimizer, **parameters: Any) -> Optimizer:
    """Find an optimizer by name, and set its parameters.

    Parameters
    ----------
    optimizer : str or Optimizer
        "sgd", "adam", "adamw", "rmsprop", "lion", or an optimizer.
    **parameters
        New values of the optimizer's parameters.

    Returns
    -------
    Optimizer
        The optimizer with these parameters.

    Raises
    ------
    ValueError
        If the name is unknown, or a parameter is out of its range.
    TypeError
        If the optimizer has no parameter with one of these names.

    Examples
    --------
    >>> get_optimizer("adam", clip_norm=1.0)
    Adam(learning_rate=0.001, clip_norm=1.0)
    """
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        name = optimizer.__name__
        raise ValueError(f"optimizer is the class {name}, expected an object such as {name}()")
    if isinstance(optimizer, Optimizer):
        return replace(optimizer, **parameters) if parameters else optimizer
    return look_up("optimizer", optimizer, OPTIMIZERS)(**parameters)
