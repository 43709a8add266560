"""Learning-rate schedules: factors of the optimizer's learning rate, one for each step."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..kernels.messages import shown
from ..keywords import tells_keywords
from ..registry import look_up
from ..shown import name_of
from ..validation import check_number
from .schedule import Schedule

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
    """A constant factor of 1."""

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


@tells_keywords
@dataclass(repr=False)
class Function(Schedule):
    """The factors that a function gives; `Trainer(schedule=function)` makes one.

    A checkpoint contains the name of the function, and a fit goes on only with a function of this name.

    Parameters
    ----------
    function : callable
        A function (step, total, per_epoch) -> factor, of whole numbers as in `factors`. It may be called
        again for the same step, as when a callback sets the learning rate. Factors are finite numbers of at
        least 0.

    Raises
    ------
    TypeError
        If it is no function of three arguments.
    """

    function: Callable[[int, int, int], float]

    def __post_init__(self) -> None:
        expected = "a function (step, total, per_epoch) of the learning rate's factor"
        try:
            inspect.signature(self.function).bind(0, 1, 1)
        except ValueError:  # a function of a library, without a signature
            pass
        except TypeError:
            raise TypeError(f"schedule is {shown(self.function)}, expected {expected}") from None

    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        factors = np.empty(len(steps))
        for k, step in enumerate(np.asarray(steps).tolist()):
            factor = self.function(step, total, per_epoch)
            try:
                check_number("factor", factor, 0, math.inf)
            except ValueError:
                raise ValueError(
                    f"schedule gave {shown(factor)} for step {step}, expected a finite number at least 0"
                ) from None
            factors[k] = factor
        return factors

    def __repr__(self) -> str:
        return f"Function({name_of(self.function)})"


SCHEDULES: Mapping[str, type[Schedule]] = {
    "constant": Constant,
    "step": Step,
    "exponential": Exponential,
    "inverse_scaling": InverseScaling,
    "cosine": Cosine,
    "one_cycle": OneCycle,
    "on_plateau": OnPlateau,
}


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
    """
    if isinstance(schedule, type) and issubclass(schedule, Schedule):
        name = schedule.__name__
        raise ValueError(f"schedule is the class {name}, expected an object such as {name}()")
    if isinstance(schedule, Schedule):
        return schedule
    if callable(schedule) and not isinstance(schedule, type):
        return Function(schedule)
    return look_up("schedule", schedule, SCHEDULES)()
