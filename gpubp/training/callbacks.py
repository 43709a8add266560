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

    Examples
    --------
    >>> import gpubp
    >>> class Halving(gpubp.Callback):
    ...     def on_fit_begin(self, trainer, epochs, steps_per_epoch):
    ...         print(f"{epochs} epochs of {steps_per_epoch} steps")
    ...     def on_epoch_end(self, trainer, history):
    ...         trainer.learning_rate /= 2
    >>> network = gpubp.Network((1, 1))
    >>> trainer = gpubp.Trainer(network, gpubp.SGD(0.4), batch_size=1, callbacks=[Halving()])
    >>> trainer.fit([[0.0], [1.0]], [[0.0], [1.0]], epochs=3).learning_rate
    3 epochs of 2 steps
    [0.4, 0.2, 0.1]

    A function is a callback that runs after each epoch:

    >>> trainer.callbacks = [lambda trainer, history: print("epoch", len(history))]
    >>> history = trainer.fit([[0.0], [1.0]], [[0.0], [1.0]], epochs=2)
    epoch 1
    epoch 2
    """

    def on_fit_begin(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        """Called before the first epoch.

        Parameters
        ----------
        trainer : Trainer
            The trainer that runs the fit.
        epochs : int
            The number of epochs of the fit.
        steps_per_epoch : int
            The number of steps of an epoch; 0 if it is not known.
        """

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """Called before each epoch.

        Parameters
        ----------
        trainer : Trainer
            The trainer that runs the fit.
        epoch : int
            The epoch; the first one is 0.
        """

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        """Called after each step.

        The device may still be computing the step. To read a result, such as `trainer.step_cost`, waits for
        it.

        Parameters
        ----------
        trainer : Trainer
            The trainer that runs the fit.
        step : int
            The step; the first one of each epoch is 0.
        """

    def on_epoch_end(self, trainer: Trainer, history: History) -> None:
        """Called after each epoch.

        Parameters
        ----------
        trainer : Trainer
            The trainer that runs the fit.
        history : History
            The record of the fit so far; the last entry of each of its lists is this epoch's.
        """

    def on_fit_end(self, trainer: Trainer, history: History) -> None:
        """Called at the end of training, for whatever reason it ended.

        Parameters
        ----------
        trainer : Trainer
            The trainer that has run the fit.
        history : History
            The record of the fit.
        """

    def __str__(self) -> str:
        return type(self).__name__

    def state(self) -> dict[str, Any]:
        """Return what the callback needs to go on from a checkpoint; by default nothing.

        Returns
        -------
        dict
            NumPy arrays of numbers, numbers, text, and lists and dicts of numbers and text, by name. What
            is not an array becomes part of the file's header, which has room for 1 MiB.

        Examples
        --------
        >>> import gpubp
        >>> class Counter(gpubp.Callback):
        ...     count = 0
        ...     def on_epoch_end(self, trainer, history):
        ...         self.count += 1
        ...     def state(self):
        ...         return {"count": self.count}
        ...     def restore(self, state):
        ...         self.count = state["count"]
        >>> first, second = Counter(), Counter()
        >>> trainer = gpubp.Trainer(gpubp.Network((1, 1)), callbacks=[first], checkpoint="runs")
        >>> history = trainer.fit([[0.0]], [[0.0]], epochs=2)
        >>> resumed = gpubp.Trainer(gpubp.Network((1, 1)), callbacks=[second])
        >>> history = resumed.resume("runs")
        >>> history = resumed.fit([[0.0]], [[0.0]], epochs=5)
        >>> second.count  # two epochs before the checkpoint, three after it
        5
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

        Examples
        --------
        By default there is nothing to restore; `state` has an example with both methods.

        >>> import gpubp
        >>> callback = gpubp.Callback()
        >>> callback.state()
        {}
        >>> callback.restore({})
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
