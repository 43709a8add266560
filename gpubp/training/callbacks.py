"""Callbacks, which a fit calls while it runs, and early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..validation import check_number
from .history import History

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["Callback", "EarlyStopping", "as_callbacks", "as_early_stopping"]


class Callback:
    """What a fit calls as it goes on: a subclass overrides the methods that it wants.

    `trainer.stop(reason)` ends training after the current step.
    """

    def on_fit_begin(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        """Called before the first epoch."""

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """Called before an epoch; epochs are counted from 0."""

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        """Called after a step was given to the device; steps are counted from 0 in each epoch.

        Reading a result of the step, such as `trainer.step_cost`, waits for the device.
        """

    def on_epoch_end(self, trainer: Trainer, history: History) -> None:
        """Called after an epoch; its figures are the last of each of the history's lists."""

    def on_fit_end(self, trainer: Trainer, history: History) -> None:
        """Called when training ended, whatever ended it."""


class _AtEpochEnd(Callback):
    def __init__(self, function: Callable[[Trainer, History], None]) -> None:
        self._function = function

    def on_epoch_end(self, trainer: Trainer, history: History) -> None:
        self._function(trainer, history)


def as_callbacks(
    callbacks: Sequence[Callback | Callable[[Trainer, History], None]],
) -> list[Callback]:
    """Make callbacks of plain functions (trainer, history), to be called at the end of each epoch."""
    if not isinstance(callbacks, Sequence):
        raise TypeError(f"callbacks is {callbacks!r}, expected a list of Callbacks or functions")
    made: list[Callback] = []
    for callback in callbacks:
        if isinstance(callback, Callback):
            made.append(callback)
        elif callable(callback):
            made.append(_AtEpochEnd(callback))
        else:
            raise TypeError(f"callbacks holds {callback!r}, expected a Callback or a function")
    return made


@dataclass(frozen=True)
class EarlyStopping:
    """End training when the monitored cost stops falling.

    That is the validation cost where there is one, else the training cost. The network then gets the
    parameters of its best epoch back.

    Parameters
    ----------
    patience : int
        Epochs to wait for the cost to fall by more than `min_improvement` below its lowest.
    min_improvement : float
        How far it has to fall to count.

    Raises
    ------
    ValueError
        `patience` is no whole number from 1 on, or `min_improvement` no number from 0 on.
    """

    patience: int = 10
    min_improvement: float = 0.0

    def __post_init__(self) -> None:
        check_number("patience", self.patience, 1, math.inf, whole=True)
        check_number("min_improvement", self.min_improvement, 0, math.inf)


def as_early_stopping(early_stopping: Any) -> EarlyStopping | None:
    """Read the setting: a number of epochs is the patience, True takes the defaults, False is None."""
    if isinstance(early_stopping, bool | np.bool_):
        return EarlyStopping() if early_stopping else None
    if isinstance(early_stopping, int | np.integer):
        return EarlyStopping(int(early_stopping))
    if early_stopping is None or isinstance(early_stopping, EarlyStopping):
        return early_stopping
    raise TypeError(
        f"early_stopping is {early_stopping!r}, expected an EarlyStopping, a number of epochs, True,"
        " False or None"
    )
