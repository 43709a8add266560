"""Judge the epochs of a fit: divergence, the best epoch, patience."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from ..errors import DivergenceError
from .early_stopping import EarlyStopping
from .evaluation import Score
from .history import History
from .state import State
from .step import TrainingStep

__all__ = ["Monitor"]

_WITHOUT_STOPPING = EarlyStopping()

LEAST_LOSS_SCALE = 2.0**-24
"""Below this scale, overflow means divergence, not a loss scale that is too large."""


class Monitor:
    """Judges each epoch of a fit, records the history, and stores states to roll back to.

    Parameters
    ----------
    step : TrainingStep
        The step that is trained.
    stopping : EarlyStopping or None
        The patience. With None, training does not stop early and the best epoch is not restored.
    history : History
        Where each epoch that has not diverged gets an entry.

    Attributes
    ----------
    history : History
        As given.
    good, earlier : State
        The states before the current epoch and before the previous one.
    best : State
        The state after the best epoch; empty without early stopping.
    epochs_waited : int
        The number of epochs since the best one.
    """

    def __init__(
        self, step: TrainingStep, stopping: EarlyStopping | None, history: History
    ) -> None:
        self._step, self._stopping, self.history = step, stopping, history
        history.monitor = (stopping or _WITHOUT_STOPPING).monitor
        self.good, self.earlier, self.best = State(), State(), State()
        self.epochs_waited = 0

    def begin_epoch(self) -> None:
        """Copy the state at the start of the epoch."""
        self.earlier, self.good = self.good, self.earlier
        self._step.take(self.good)

    def check(self, costs: Any, cost: float, validation: Score | None) -> None:
        """If the epoch has diverged, restore the last good state and raise an error.

        Parameters
        ----------
        costs : array of shape (steps,)
            The cost of each batch before its update.
        cost : float
            The mean cost of the epoch.
        validation : Score or None
            The evaluation after the epoch; None if there was none.

        Raises
        ------
        DivergenceError
            If a cost, the parameters or the gradients are not finite.
        """
        broken = self._what_broke(cost, validation)
        if not broken:
            return
        epoch = len(self.history)
        # The first cost was computed with the parameters from the start of the epoch.
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
        """Add an epoch that has not diverged to the history, and note whether it is the best."""
        history = self.history
        history.cost.append(cost)
        if validation is not None:
            history.validation_cost.append(validation.cost)
            if validation.accuracy is not None:
                history.validation_accuracy.append(validation.accuracy)
            for name, value in validation.metrics.items():
                history.validation_metrics.setdefault(name, []).append(value)
        history.learning_rate.append(learning_rate)
        history.seconds.append(seconds)
        monitored, best = history.monitored, history.best_epoch
        stopping = self._stopping or _WITHOUT_STOPPING
        if best < 0 or stopping.improves(monitored[-1], monitored[best]):
            history.best_epoch, self.epochs_waited = len(history) - 1, 0
            if self._stopping:
                self._step.take(self.best)
        else:
            self.epochs_waited += 1

    def states(self, *, begun: bool, within: bool) -> dict[str, State]:
        """Return the states that a checkpoint needs.

        Parameters
        ----------
        begun : bool
            Whether an epoch has begun and not ended.
        within : bool
            Whether that epoch goes on; else it begins again, or another begins.
        """
        states = {"good": self.earlier if begun and not within else self.good, "best": self.best}
        if within:
            states["earlier"] = self.earlier
        return {name: state for name, state in states.items() if state.arrays}

    def restore(self, states: Mapping[str, State], epochs_waited: int) -> None:
        """Go on with copies of the states of a checkpoint: another fit may go on from these too."""
        self.good, self.earlier, self.best = (
            deepcopy(states.get(name, State())) for name in ("good", "earlier", "best")
        )
        self.epochs_waited = epochs_waited

    @property
    def says_stop(self) -> bool:
        """Whether early stopping has waited for its patience."""
        return self._stopping is not None and self.epochs_waited >= self._stopping.patience

    def finish(self, reason: str) -> None:
        """Record why training ended; with early stopping, restore the best epoch's state, if any."""
        self.history.stopped = reason
        if self.best.arrays:
            self._step.restore(self.best)
