"""Callbacks, which a fit calls while it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .history import History

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["Callback", "as_callbacks"]


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
