"""A user's function as a schedule."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels.messages import shown
from ..keywords import tells_keywords
from ..shown import name_of
from ..validation import check_number
from .schedule import Schedule

__all__ = ["Function"]


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

    Examples
    --------
    >>> from gpubp import schedules
    >>> schedule = schedules.Function(lambda step, total, per_epoch: 1 - step / total)
    >>> schedule.factors(range(4), total=4, per_epoch=2).tolist()
    [1.0, 0.75, 0.5, 0.25]
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
