"""Learning-rate schedules: factors of the optimizer's learning rate, one for each step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from ..kernels.messages import shown
from ..registry import look_up
from ..validation import check_number

__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "Exponential",
    "InverseScaling",
    "OnPlateau",
    "OneCycle",
    "Schedule",
    "Step",
    "get_schedule",
]


@dataclass
class Schedule:
    """Base class of schedules: factors of the optimizer's learning rate and, if wanted, of its penalties.

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
        """
        return 1.0

    def begin(self) -> None:
        """Reset the schedule at the start of a fit."""

    def observe(self, cost: float) -> None:
        """Record an epoch's monitored cost: the validation cost or, without validation data, the cost."""

    def state(self) -> dict[str, Any]:
        """Return what a fit changes, for a checkpoint: NumPy arrays, numbers, text, and lists of these.

        Returns
        -------
        dict
            By default all attributes that are not arguments of the class.
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


@dataclass
class Constant(Schedule):
    """A constant factor of 1."""

    depends_on: ClassVar[str] = "epoch"

    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        return np.ones(len(steps))


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
    """

    depends_on: ClassVar[str] = "epoch"
    every: int = 10
    factor: float = 0.1

    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        return self.factor ** (steps // per_epoch // self.every)


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
    """

    decay: float = 0.95

    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        return self.decay ** (steps / per_epoch)


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
    """

    depends_on: ClassVar[str] = "step"
    power: float = 0.5

    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        return (steps + 1.0) ** -self.power


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
    """

    warmup: float = 0.0
    final: float = 0.0

    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        rising = round(self.warmup * total)
        along = np.clip((steps - rising) / max(total - rising - 1, 1), 0, 1)
        falling = self.final + (1 - self.final) * (1 + np.cos(math.pi * along)) / 2
        return np.where(steps < rising, (steps + 1) / max(rising, 1), falling)


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


def get_schedule(schedule: str | Schedule) -> Schedule:
    """Find a schedule by name, with its defaults; a schedule is returned as it is.

    Parameters
    ----------
    schedule : str or Schedule
        A schedule, or the name of one.

    Returns
    -------
    Schedule
        The schedule.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if isinstance(schedule, Schedule):
        return schedule
    return look_up("schedule", schedule, SCHEDULES)()
