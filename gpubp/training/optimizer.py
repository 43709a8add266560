"""The base class of optimizers, with the hyperparameters that all of them have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from ..kernels import Update, UpdateOptions
from ..keywords import tells_keywords
from ..shown import repr_of_changed
from ..validation import check_flag, check_number

__all__ = ["Optimizer"]


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

    See Also
    --------
    SGD, Adam, AdamW, RMSProp, Lion : The optimizers.
    get_optimizer : Finds an optimizer by its name.

    Notes
    -----
    A step computes the gradient g of the mean cost, adds the derivative of the penalty, clips g, and then
    updates the parameters θ. Clipping by the norm is that of Pascanu et al. [1]_.

    References
    ----------
    .. [1] R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks",
       ICML 2013.

    Examples
    --------
    Optimizers are values: they are equal if their parameters are, and read-only.

    >>> import gpubp
    >>> optimizer = gpubp.SGD(0.1, clip_norm=1.0)
    >>> optimizer
    SGD(learning_rate=0.1, clip_norm=1.0)
    >>> optimizer == gpubp.get_optimizer("sgd", learning_rate=0.1, clip_norm=1.0)
    True
    >>> isinstance(optimizer, gpubp.Optimizer)
    True
    >>> gpubp.SGD(-0.1)
    Traceback (most recent call last):
        ...
    ValueError: learning_rate is -0.1, expected a number above 0
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
        """Whether the other optimizer is the same but for the learning rate.

        Parameters
        ----------
        other : Optimizer
            The optimizer to compare with.

        Returns
        -------
        bool
            Whether both have the same class and the same other parameters.

        Examples
        --------
        >>> import gpubp
        >>> gpubp.Adam(0.1).differs_in_rate_alone(gpubp.Adam(0.2))
        True
        >>> gpubp.Adam(0.1).differs_in_rate_alone(gpubp.AdamW(0.1))
        False
        """
        same = type(self) is type(other)
        return same and replace(self, learning_rate=other.learning_rate) == other

    @property
    def update(self) -> Update:
        """The entry of `kernels.UPDATES` that this optimizer runs, unless `accumulates` is used."""
        raise NotImplementedError

    @property
    def hyperparameters(self) -> Mapping[str, float]:
        """The hyperparameters of the entry.

        Examples
        --------
        >>> import gpubp
        >>> gpubp.Adam().hyperparameters
        {'beta1': 0.9, 'beta2': 0.999, 'epsilon': 1e-08}
        """
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
