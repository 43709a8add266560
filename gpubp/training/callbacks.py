"""Callbacks, which a fit calls while it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..kernels.messages import shown
from ..shown import name_of
from .history import History

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["Callback", "as_callbacks"]


class Callback:
    """Base class of callbacks: a subclass overrides the methods that it needs.

    Arguments: `trainer` is the trainer that runs the fit, and `history` is the record of the fit so far.
    `trainer.stop(reason)` ends training after the current step.
    """

    def on_fit_begin(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        """Called before the first epoch; `steps_per_epoch` is 0 if it is not known."""

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """Called before each epoch; the first epoch is 0."""

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        """Called after each step; the first step of each epoch is 0.

        The device may still be computing the step. To read a result, such as `trainer.step_cost`, waits for
        it.
        """

    def on_epoch_end(self, trainer: Trainer, history: History) -> None:
        """Called after each epoch; the last entry of each of the history's lists is this epoch's."""

    def on_fit_end(self, trainer: Trainer, history: History) -> None:
        """Called at the end of training, for whatever reason it ended."""

    def __str__(self) -> str:
        return type(self).__name__

    def state(self) -> dict[str, Any]:
        """Return what the callback needs to go on from a checkpoint; by default nothing.

        Returns
        -------
        dict
            NumPy arrays of numbers, numbers, text, and lists and dicts of numbers and text, by name. What
            is not an array becomes part of the file's header, which has room for 1 MiB.
        """
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with the state of a checkpoint.

        It is called after `on_fit_begin` and, within an epoch, after `on_epoch_begin`. What these have
        changed of the network or the optimizer is undone: the checkpoint has it already.

        Parameters
        ----------
        state : dict
            What `state` has returned.
        """


class _AtEpochEnd(Callback):
    def __init__(self, function: Callable[[Trainer, History], None]) -> None:
        self._function = function

    def __str__(self) -> str:
        return name_of(self._function)

    def on_epoch_end(self, trainer: Trainer, history: History) -> None:
        self._function(trainer, history)


def as_callbacks(
    callbacks: Sequence[Callback | Callable[[Trainer, History], None]],
) -> list[Callback]:
    """Convert functions (trainer, history) to callbacks that run them after each epoch."""
    if not isinstance(callbacks, Sequence):
        raise TypeError(
            f"callbacks is {shown(callbacks)}, expected a list of Callbacks or functions"
        )
    made: list[Callback] = []
    for callback in callbacks:
        if isinstance(callback, Callback):
            made.append(callback)
        elif callable(callback) and not isinstance(callback, type):
            made.append(_AtEpochEnd(callback))
        else:
            raise TypeError(f"callbacks holds {shown(callback)}, expected a Callback or a function")
    return made
