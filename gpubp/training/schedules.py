"""Learning-rate schedules: factors of the optimizer's learning rate, one for each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..keywords import tells_keywords
from ..registry import look_up
from .schedule import Schedule
from .schedule_function import Function

__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "Exponential",
    "Function",
    "InverseScaling",
    "OnPlateau",
    "OneCycle",
    "Schedule",
    "Step",
    "get_schedule",
]


@tells_keywords
@dataclass
class Constant(Schedule):
    """A constant factor of 1.

    Examples
    --------
    >>> import gpubp
    >>> gpubp.schedules.Constant().factors(range(3), total=3, per_epoch=1).tolist()
    [1.0, 1.0, 1.0]
    """

    depends_on: ClassVar[str] = "epoch"

    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        return np.ones(len(steps))


@tells_keywords
@dataclass
class Step(Schedule):
    """Multiplied by `factor` after every `every` epochs.

    Parameters
    ----------
    every : int, default 10
        Number of epochs, 1 or more.
    factor : float, default 0.1
        The multiplier, above 0, at most 1.

    Raises
    ------
    ValueError
        If a parameter is out of its range; the message names it.

    Examples
    --------
    Factors of six steps, two in an epoch:

    >>> import numpy as np
    >>> from gpubp import schedules
    >>> schedules.Step(every=1, factor=0.5).factors(np.arange(6), total=6, per_epoch=2).tolist()
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    depends_on: ClassVar[str] = "epoch"
    every: int = 10
    factor: float = 0.1

    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        return self.factor ** (steps // per_epoch // self.every)


@tells_keywords
@dataclass
class Exponential(Schedule):
    """decay^t at time t, in epochs, with fractions of an epoch.

    Parameters
    ----------
    decay : float, default 0.95
        The factor of one epoch, above 0, at most 1.

    Raises
    ------
    ValueError
        If a parameter is out of its range; the message names it.

    Examples
    --------
    With two steps in an epoch, a step multiplies by √decay.

    >>> import numpy as np
    >>> from gpubp import schedules
    >>> schedules.Exponential(decay=0.25).factors(np.arange(4), total=4, per_epoch=2).tolist()
    [1.0, 0.5, 0.25, 0.125]
    """

    decay: float = 0.95

    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        return self.decay ** (steps / per_epoch)


@tells_keywords
@dataclass
class InverseScaling(Schedule):
    """(t + 1)^-power at step t.

    Parameters
    ----------
    power : float, default 0.5
        The exponent, above 0.

    Raises
    ------
    ValueError
        If a parameter is out of its range; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> from gpubp import schedules
    >>> schedules.InverseScaling(power=1.0).factors(np.arange(4), total=4, per_epoch=1).round(2).tolist()
    [1.0, 0.5, 0.33, 0.25]
    """

    depends_on: ClassVar[str] = "step"
    power: float = 0.5

    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        return (steps + 1.0) ** -self.power


@tells_keywords
@dataclass
class Cosine(Schedule):
    """A linear warm-up, then half a cosine from 1 to `final` (Loshchilov and Hutter 2017).

    Parameters
    ----------
    warmup : float, default 0
        The length of the warm-up, as a fraction of all steps, from 0 to 1.
    final : float, default 0
        The last factor, from 0 to 1.

    Raises
    ------
    ValueError
        If a parameter is out of its range; the message names it.

    Notes
    -----
    Half a cosine is the learning rate between restarts of Loshchilov and Hutter [1]_.

    References
    ----------
    .. [1] I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017.

    Examples
    --------
    Two steps of warm-up, then half a cosine:

    >>> import numpy as np
    >>> from gpubp import schedules
    >>> schedules.Cosine(warmup=0.4).factors(np.arange(5), total=5, per_epoch=1).round(2).tolist()
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """

    warmup: float = 0.0
    final: float = 0.0

    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        rising = round(self.warmup * total)
        along = np.clip((steps - rising) / max(total - rising - 1, 1), 0, 1)
        falling = self.final + (1 - self.final) * (1 + np.cos(math.pi * along)) / 2
        return np.where(steps < rising, (steps + 1) / max(rising, 1), falling)


@tells_keywords
@dataclass
class OneCycle(Schedule):
    """A rise from `start` to 1, then a fall to `final`, each half a cosine (Smith and Topin 2018).

    Parameters
    ----------
    warmup : float, default 0.3
        The length of the rise, as a fraction of all steps, from 0 to 1.
    start : float, default 0.04
        The first factor, above 0, at most 1.
    final : float, default 0.0001
        The last factor, from 0 to 1.

    Raises
    ------
    ValueError
        If a parameter is out of its range; the message names it.

    Notes
    -----
    The policy is that of Smith and Topin [1]_, with cosines instead of straight lines.

    References
    ----------
    .. [1] L. N. Smith and N. Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large
       Learning Rates", 2018, arXiv:1708.07120.

    Examples
    --------
    >>> import numpy as np
    >>> from gpubp import schedules
    >>> schedule = schedules.OneCycle(warmup=0.5, start=0.1, final=0.0)
    >>> schedule.factors(np.arange(5), total=5, per_epoch=1).round(2).tolist()
    [0.1, 0.55, 1.0, 0.5, 0.0]
    """

    warmup: float = 0.3
    start: float = 0.04
    final: float = 0.0001

    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        peak = self.warmup * (total - 1)
        up = np.clip(steps / max(peak, 1e-9), 0, 1)
        down = np.clip((steps - peak) / max(total - 1 - peak, 1e-9), 0, 1)
        rising = self.start + (1 - self.start) * (1 - np.cos(math.pi * up)) / 2
        falling = self.final + (1 - self.final) * (1 + np.cos(math.pi * down)) / 2
        return np.where(steps < peak, rising, falling)


@tells_keywords
@dataclass
class OnPlateau(Schedule):
    """Multiplied by `factor` when the monitored cost has stopped falling.

    The monitored cost is the validation cost or, without validation data, the training cost.

    Parameters
    ----------
    factor : float, default 0.1
        The multiplier, above 0, at most 1.
    patience : int, default 5
        The number of epochs without improvement that are allowed; one more changes the factor. 0 or more.
    min_improvement : float, default 1e-4
        An epoch is an improvement if its cost is more than this below the lowest cost before; 0 or more.
    minimum : float, default 0
        The smallest factor, from 0 to 1.

    Raises
    ------
    ValueError
        If a parameter is out of its range; the message names it.

    Examples
    --------
    A fit calls `observe` after each epoch. Here the second cost is no improvement over the first:

    >>> from gpubp import schedules
    >>> schedule = schedules.OnPlateau(factor=0.5, patience=0)
    >>> for cost in (1.0, 1.0):
    ...     schedule.observe(cost)
    ...     print(schedule.factors(range(2), total=4, per_epoch=2).tolist())
    [1.0, 1.0]
    [0.5, 0.5]
    """

    depends_on: ClassVar[str] = "epoch"
    factor: float = 0.1
    patience: int = 5
    min_improvement: float = 1e-4
    minimum: float = 0.0
    _current: float = field(default=1.0, init=False, repr=False)
    _best: float = field(default=math.inf, init=False, repr=False)
    _waited: int = field(default=0, init=False, repr=False)

    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        return np.full(len(steps), self._current)

    def begin(self) -> None:
        self._current, self._best, self._waited = 1.0, math.inf, 0

    def observe(self, cost: float) -> None:
        if cost < self._best - self.min_improvement:
            self._best, self._waited = cost, 0
            return
        self._waited += 1
        if self._waited > self.patience:
            self._current, self._waited = max(self._current * self.factor, self.minimum), 0


SCHEDULES: Mapping[str, type[Schedule]] = {
    "constant": Constant,
    "step": Step,
    "exponential": Exponential,
    "inverse_scaling": InverseScaling,
    "cosine": Cosine,
    "one_cycle": OneCycle,
    "on_plateau": OnPlateau,
}
"""The schedules that have a name; `gpubp.schedules.get_schedule` makes one.

Examples
--------
>>> from gpubp.schedules import SCHEDULES
>>> list(SCHEDULES)[:3]
['constant', 'step', 'exponential']
"""


def get_schedule(schedule: str | Schedule | Callable[[int, int, int], float]) -> Schedule:
    """Find a schedule by name, with its defaults; a schedule is returned as it is.

    Parameters
    ----------
    schedule : str, Schedule or callable
        A schedule, the name of one, or a function (step, total, per_epoch) -> factor: see `Function`.

    Returns
    -------
    Schedule
        The schedule.

    Raises
    ------
    ValueError
        If the name is unknown.
    TypeError
        If a function does not take three arguments.

    Examples
    --------
    >>> from gpubp import schedules
    >>> schedules.get_schedule("step")
    Step(every=10, factor=0.1)
    >>> sorted(schedules.SCHEDULES)
    ['constant', 'cosine', 'exponential', 'inverse_scaling', 'on_plateau', 'one_cycle', 'step']
    """
    if isinstance(schedule, type) and issubclass(schedule, Schedule):
        name = schedule.__name__
        raise ValueError(f"schedule is the class {name}, expected an object such as {name}()")
    if isinstance(schedule, Schedule):
        return schedule
    if callable(schedule) and not isinstance(schedule, type):
        return Function(schedule)
    return look_up("schedule", schedule, SCHEDULES)()
