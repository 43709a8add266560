"""Optimizers: their hyperparameters, which are checked, and the update kernel of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from typing import Any

from ..kernels import UPDATES, Update
from ..keywords import tells_keywords
from ..registry import look_up
from .optimizer import Optimizer

__all__ = ["OPTIMIZERS", "SGD", "Adam", "AdamW", "Lion", "Optimizer", "RMSProp", "get_optimizer"]


@tells_keywords
@dataclass(frozen=True, kw_only=True, repr=False)
class SGD(Optimizer):
    """Stochastic gradient descent: v ← μ v + g, θ ← θ - η v.

    Parameters
    ----------
    learning_rate : float, default 0.01
        η, above 0; a schedule multiplies it.
    l1, l2, clip_norm, clip_value : float, optional
        Penalties and clipping, as in `Optimizer`.
    momentum : float, default 0
        μ, from 0 to 1.
    nesterov : bool, default False
        Whether to use θ ← θ - η (g + μ v) instead.
    rate_in_velocity : bool, default False
        Whether to use v ← μ v + η g, θ ← θ - v instead, or θ ← θ - (η g + μ v) with `nesterov`. The steps
        are the same until η changes: then earlier gradients keep the η that they came with.

    Raises
    ------
    ValueError
        If a parameter is out of its range; the message names it.

    See Also
    --------
    gpubp.schedules.Schedule : Learning rates that change.

    Notes
    -----
    Momentum is that of Polyak [1]_. Nesterov's form is written as by Sutskever et al. [2]_.

    References
    ----------
    .. [1] B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", USSR
       Computational Mathematics and Mathematical Physics 4(5), 1964.
    .. [2] I. Sutskever, J. Martens, G. Dahl and G. Hinton, "On the importance of initialization and
       momentum in deep learning", ICML 2013.

    Examples
    --------
    The cost ½ w² of a single weight w has the gradient w: v is 1, then 0.5 · 1 + 0.9 = 1.4.

    >>> import gpubp
    >>> network = gpubp.Network((1, 1), biases=False, initializer="zeros")
    >>> network.parameters = [1.0]
    >>> trainer = gpubp.Trainer(network, gpubp.SGD(0.1, momentum=0.5))
    >>> trainer.step([[1.0]], [[0.0]])
    >>> print(network.parameters.round(4))
    [0.9]
    >>> trainer.step([[1.0]], [[0.0]])
    >>> print(network.parameters.round(4))
    [0.76]
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
    learning_rate : float, default 1e-3
        η, above 0; a schedule multiplies it.
    l1, l2, clip_norm, clip_value : float, optional
        Penalties and clipping, as in `Optimizer`.
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

    See Also
    --------
    AdamW : Adam with decoupled weight decay.

    Notes
    -----
    This is algorithm 1 of Kingma and Ba [1]_, or with `epsilon_hat` its form at the end of their section 2.

    References
    ----------
    .. [1] D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.

    Examples
    --------
    At the first step m / c1 is g and v / c2 is g²: the step is η, however large g is.

    >>> import gpubp
    >>> network = gpubp.Network((1, 1), biases=False, initializer="zeros")
    >>> network.parameters = [1.0]
    >>> trainer = gpubp.Trainer(network, gpubp.Adam(0.1))
    >>> trainer.step([[1.0]], [[0.0]])
    >>> print(network.parameters.round(4))
    [0.9]
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
    learning_rate : float, default 1e-3
        η, above 0; a schedule multiplies it.
    l1, l2, clip_norm, clip_value : float, optional
        Penalties and clipping, as in `Optimizer`.
    beta1, beta2, epsilon : float, optional
        As in `Adam`.
    epsilon_hat : bool, default False
        As in `Adam`.
    weight_decay : float, default 0.01
        λ, 0 or more; weights only, not biases.

    Raises
    ------
    ValueError
        If a parameter is out of its range; the message names it.

    See Also
    --------
    Adam : The same without decay.

    Notes
    -----
    This is algorithm 2 of Loshchilov and Hutter [1]_, whose η_t is the schedule's factor and whose λ is
    `weight_decay` times the learning rate.

    References
    ----------
    .. [1] I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.

    Examples
    --------
    The decay takes η λ w = 0.1 · 0.2 · 1 first, then Adam takes η = 0.1.

    >>> import gpubp
    >>> network = gpubp.Network((1, 1), biases=False, initializer="zeros")
    >>> network.parameters = [1.0]
    >>> trainer = gpubp.Trainer(network, gpubp.AdamW(0.1, weight_decay=0.2))
    >>> trainer.step([[1.0]], [[0.0]])
    >>> print(network.parameters.round(4))
    [0.88]
    """

    weight_decay: float = 0.01


@tells_keywords
@dataclass(frozen=True, kw_only=True, repr=False)
class RMSProp(Optimizer):
    """RMSProp (Tieleman and Hinton 2012): v ← ρ v + (1 - ρ) g², θ ← θ - η g / (√v + ε).

    Parameters
    ----------
    learning_rate : float, default 1e-3
        η, above 0; a schedule multiplies it.
    l1, l2, clip_norm, clip_value : float, optional
        Penalties and clipping, as in `Optimizer`.
    decay : float, default 0.9
        ρ, from 0 to below 1.
    epsilon : float, default 1e-8
        ε, above 0.

    Raises
    ------
    ValueError
        If a parameter is out of its range; the message names it.

    Notes
    -----
    The rule is from a lecture of Tieleman and Hinton [1]_.

    References
    ----------
    .. [1] T. Tieleman and G. Hinton, "Lecture 6.5 - RMSProp", COURSERA: Neural Networks for Machine
       Learning, 2012.

    Examples
    --------
    With g = 1 and ρ = 0.75, v is 0.25, and the step is 0.1 · 1 / √0.25 = 0.2.

    >>> import gpubp
    >>> network = gpubp.Network((1, 1), biases=False, initializer="zeros")
    >>> network.parameters = [1.0]
    >>> trainer = gpubp.Trainer(network, gpubp.RMSProp(0.1, decay=0.75))
    >>> trainer.step([[1.0]], [[0.0]])
    >>> print(network.parameters.round(4))
    [0.8]
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
    learning_rate : float, default 1e-4
        η, above 0; a schedule multiplies it.
    l1, l2, clip_norm, clip_value : float, optional
        Penalties and clipping, as in `Optimizer`.
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

    Notes
    -----
    This is algorithm 2 of Chen et al. [1]_.

    References
    ----------
    .. [1] X. Chen et al., "Symbolic Discovery of Optimization Algorithms", NeurIPS 2023.

    Examples
    --------
    The sign of the gradient alone counts: each step is η long.

    >>> import gpubp
    >>> network = gpubp.Network((1, 1), biases=False, initializer="zeros")
    >>> network.parameters = [1.0]
    >>> trainer = gpubp.Trainer(network, gpubp.Lion(0.1))
    >>> trainer.step([[1.0]], [[0.0]])
    >>> print(network.parameters.round(4))
    [0.9]
    >>> trainer.step([[1.0]], [[0.0]])
    >>> print(network.parameters.round(4))
    [0.8]
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
    **parameters : float, bool or None
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
    >>> import gpubp
    >>> gpubp.get_optimizer("adam", clip_norm=1.0)
    Adam(learning_rate=0.001, clip_norm=1.0)
    >>> gpubp.get_optimizer(gpubp.SGD(0.1), momentum=0.9)
    SGD(learning_rate=0.1, momentum=0.9)
    """
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        name = optimizer.__name__
        raise ValueError(f"optimizer is the class {name}, expected an object such as {name}()")
    if isinstance(optimizer, Optimizer):
        return replace(optimizer, **parameters) if parameters else optimizer
    return look_up("optimizer", optimizer, OPTIMIZERS)(**parameters)
