"""Judging the epochs of a fit: divergence, the best epoch, patience."""

from __future__ import annotations

import math
from typing import Any

from ..errors import DivergenceError
from .early_stopping import EarlyStopping
from .evaluation import Score
from .history import History
from .state import State
from .step import TrainingStep

__all__ = ["Monitor"]

LEAST_LOSS_SCALE = 2.0**-24
"""Below this scale, overflow means divergence, not a loss scale that is too large."""


class Monitor:
    """Judges each epoch of a fit, and keeps its history and the states that it can go back to.

    Parameters
    ----------
    step : TrainingStep
        What is trained.
    stopping : EarlyStopping or None
        When to stop, and whether to go back to the best epoch.
    history : History
        It gets an entry for each epoch that goes well.

    Attributes
    ----------
    history : History
        As given.
    good, earlier : State
        Before the current epoch, and before the one before it.
    best : State
        After the best epoch; empty without early stopping.
    epochs_waited : int
        Epochs since the best one.
    """

    def __init__(
        self, step: TrainingStep, stopping: EarlyStopping | None, history: History
    ) -> None:
        self._step, self._stopping, self.history = step, stopping, history
        self.good, self.earlier, self.best = State(), State(), State()
        self.epochs_waited = 0

    def begin_epoch(self) -> None:
        """Take the state that the epoch begins with."""
        self.earlier, self.good = self.good, self.earlier
        self._step.take(self.good)

    def check(self, costs: Any, cost: float, validation: Score | None) -> None:
        """Go back to the last good state and raise an error if the epoch has diverged.

        Parameters
        ----------
        costs : array of shape (steps,)
            Each batch's cost before its update.
        cost : float
            Their mean.
        validation : Score or None
            After the epoch; None where it was not computed.

        Raises
        ------
        DivergenceError
            A cost, the parameters or the gradients stopped being finite.
        """
        broken = self._what_broke(cost, validation)
        if not broken:
            return
        epoch = len(self.history)
        # The first cost is that of the parameters the epoch began with.
        began_well = math.isfinite(costs[0])
        self._step.restore(self.good if began_well or not epoch else self.earlier)
        self.history.stopped = "diverged"
        raise DivergenceError(
            f"{broken} in epoch {epoch + 1}; the network has the parameters from before epoch"
            f" {epoch + 1 if began_well else max(epoch, 1)}"
            " (a lower learning rate or clip_norm may help)",
            epoch,
            self.history,
        )

    def _what_broke(self, cost: float, validation: Score | None) -> str:
        monitored = cost if validation is None else validation.cost
        if not math.isfinite(monitored):
            return f"the {'cost' if validation is None else 'validation cost'} became {monitored}"
        if not self._step.backend.xp.isfinite(self._step.network.parameters).all():
            return "the parameters stopped being finite"
        if self._step.loss_scale < LEAST_LOSS_SCALE:
            return "the gradients stopped being finite"
        return ""

    def record(
        self, cost: float, validation: Score | None, learning_rate: float, seconds: float
    ) -> None:
        """Add an epoch that went well to the history, and see whether it is the best."""
        history = self.history
        history.cost.append(cost)
        if validation is not None:
            history.validation_cost.append(validation.cost)
            if validation.accuracy is not None:
                history.validation_accuracy.append(validation.accuracy)
        history.learning_rate.append(learning_rate)
        history.seconds.append(seconds)
        least = self._stopping.min_improvement if self._stopping else 0.0
        monitored, best = history.monitored, history.best_epoch
        if best < 0 or monitored[-1] < monitored[best] - least:
            history.best_epoch, self.epochs_waited = len(history) - 1, 0
            if self._stopping:
                self._step.take(self.best)
        else:
            self.epochs_waited += 1

    @property
    def says_stop(self) -> bool:
        """Whether no epoch was the best one for as long as early stopping waits."""
        return self._stopping is not None and self.epochs_waited >= self._stopping.patience

    def finish(self, reason: str) -> None:
        """Note why training ended; with early stopping, go back to the best epoch."""
        self.history.stopped = reason
        if self._stopping:
            self._step.restore(self.best)
