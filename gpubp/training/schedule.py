"""The base class of learning-rate schedules, and the ranges of their parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, ClassVar

from ..kernels.messages import shown
from ..validation import check_number

__all__ = ["Schedule"]


@dataclass
class Schedule:
    """Base class of schedules: factors of the optimizer's learning rate and, if wanted, of its penalties.

    A subclass overrides `factors` and, if its factors depend on costs, `begin` and `observe`.

    Attributes
    ----------
    depends_on : {"fit", "epoch", "step"}
        What a factor depends on: on the number of steps of the fit or of an epoch; only on the number of
        the epoch; only on the number of the step. An iterable of batches without a length has "epoch" or
        "step". A class of your own is "fit" unless it says otherwise.

    Raises
    ------
    ValueError
        If a parameter is out of its range; the message names it.

    See Also
    --------
    gpubp.schedules.Function : A function as a schedule, without a class.

    Examples
    --------
    A rate that falls along a line:

    >>> import gpubp
    >>> class Linear(gpubp.schedules.Schedule):
    ...     def factors(self, steps, total, per_epoch):
    ...         return 1 - steps / total
    >>> trainer = gpubp.Trainer(gpubp.Network((1, 1)), gpubp.SGD(1.0), schedule=Linear())
    >>> trainer.fit([[0.0]], [[1.0]], epochs=4).learning_rate
    [1.0, 0.75, 0.5, 0.25]
    """

    depends_on: ClassVar[str] = "fit"

    def __post_init__(self) -> None:
        for item in fields(self):
            if item.name in _LIMITS:
                value, (low, high, open_low, whole) = getattr(self, item.name), _LIMITS[item.name]
                check_number(
                    item.name, value, low, high, open_low=open_low, open_high=False, whole=whole
                )

    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        """Compute the factor of each step.

        Parameters
        ----------
        steps : int array of shape (n,)
            The steps, counted from 0 at the start of the fit.
        total : int
            The number of steps of the whole fit.
        per_epoch : int
            The number of steps of an epoch.

        Returns
        -------
        float array of shape (n,)
            The factors.

        Examples
        --------
        >>> import numpy as np
        >>> from gpubp import schedules
        >>> schedules.Cosine().factors(np.arange(3), total=3, per_epoch=1).round(2).tolist()
        [1.0, 0.5, 0.0]
        """
        raise NotImplementedError

    def penalty_factors(self, batch_weights: Any) -> Any:
        """Compute the factors of the penalties l1 and l2 in the steps of an epoch; by default 1.

        Parameters
        ----------
        batch_weights : float64 array of shape (per_epoch,)
            The number of rows of each batch, or the sum of their sample weights.

        Returns
        -------
        float or float array of shape (per_epoch,)
            The factors.

        Examples
        --------
        >>> from gpubp import schedules
        >>> schedules.Cosine().penalty_factors([32.0, 32.0])
        1.0
        """
        return 1.0

    def begin(self) -> None:
        """Reset the schedule at the start of a fit.

        Examples
        --------
        >>> from gpubp import schedules
        >>> schedule = schedules.OnPlateau(factor=0.5, patience=0)
        >>> schedule.observe(1.0)
        >>> schedule.observe(1.0)
        >>> schedule.factors([0], total=1, per_epoch=1).tolist()
        [0.5]
        >>> schedule.begin()
        >>> schedule.factors([0], total=1, per_epoch=1).tolist()
        [1.0]
        """

    def observe(self, cost: float) -> None:
        """Record an epoch's monitored cost: the validation cost or, without validation data, the cost.

        Parameters
        ----------
        cost : float
            The cost of the epoch that has ended.

        Examples
        --------
        >>> from gpubp import schedules
        >>> schedule = schedules.OnPlateau(factor=0.1, patience=1)
        >>> for cost in (2.0, 1.0, 1.0, 1.0):  # the last two are no improvement
        ...     schedule.observe(cost)
        >>> schedule.factors([0], total=1, per_epoch=1).tolist()
        [0.1]
        """

    def state(self) -> dict[str, Any]:
        """Return what a fit changes, for a checkpoint: NumPy arrays, numbers, text, and lists of these.

        Returns
        -------
        dict
            By default all attributes that are not arguments of the class.

        Examples
        --------
        >>> from gpubp import schedules
        >>> schedule = schedules.OnPlateau()
        >>> schedule.observe(0.5)
        >>> schedule.state()
        {'_current': 1.0, '_best': 0.5, '_waited': 0}
        """
        arguments = {item.name for item in fields(self) if item.init}
        defaults = {item.name: getattr(self, item.name) for item in fields(self) if not item.init}
        return defaults | {n: value for n, value in vars(self).items() if n not in arguments}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with the state of a checkpoint.

        Parameters
        ----------
        state : mapping of str
            What `state` has returned.

        Raises
        ------
        ValueError
            If this is not the state of such a schedule: it has other names, or a number is none.

        Examples
        --------
        >>> from gpubp import schedules
        >>> observed, other = schedules.OnPlateau(), schedules.OnPlateau()
        >>> observed.observe(0.5)
        >>> other.restore(observed.state())
        >>> other.state() == observed.state()
        True
        """
        now = self.state()
        numbers = [name for name, value in now.items() if isinstance(value, Real)]
        if state.keys() != now.keys() or not all(isinstance(state[n], Real) for n in numbers):
            kind = type(self).__name__
            raise ValueError(f"the state of {kind} is {shown(dict(state))}, expected {shown(now)}")
        vars(self).update(state)


# For each parameter: the lowest value, the highest, whether the lowest is excluded, and whether it is
# whole.
_LIMITS: Mapping[str, tuple[float, float, bool, bool]] = {
    "every": (1, math.inf, False, True),
    "factor": (0, 1, True, False),
    "decay": (0, 1, True, False),
    "power": (0, math.inf, True, False),
    "warmup": (0, 1, False, False),
    "final": (0, 1, False, False),
    "start": (0, 1, True, False),
    "patience": (0, math.inf, False, True),
    "minimum": (0, 1, False, False),
    "min_improvement": (0, math.inf, False, False),
}
