"""One fit of a trainer: its epochs, batches and checkpoints."""

from __future__ import annotations

import logging
import math
import time
import zlib
from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

from ..signals import uninterrupted
from .batch_schedules import check_schedule, factors_of_unknown
from .batch_stream import BatchStream
from .callbacks import Callback
from .checkpoint import WRITE_ERRORS, CheckpointWriter
from .data import BatchForm, Dataset
from .evaluation import Evaluation
from .history import History
from .monitor import Monitor
from .order import DataOrder
from .schedules import Constant
from .snapshot import (
    Snapshot,
    callback_states,
    described,
    listed,
    restore_callbacks,
    settings_of,
)
from .state import State
from .step import TrainingStep
from .step_numbers import STEPS_AHEAD

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["Run"]

logger = logging.getLogger("gpubp")


class Run:
    """One fit: epochs, batches and checkpoints, from the first epoch or from a snapshot on.

    Parameters
    ----------
    trainer : Trainer
        The trainer, whose settings count.
    step : TrainingStep
        The trainer's step.
    order : DataOrder
        The trainer's order of the rows.
    data : Dataset or BatchStream
        The rows to train on.
    evaluation : Evaluation or None
        What is computed after each epoch.
    epochs : int
        The number of epochs, including those before the snapshot.
    callbacks : sequence of Callback
        The callbacks.
    snapshot : Snapshot or None
        Where to go on. The step and the order have been restored.

    Attributes
    ----------
    history : History
        The record of the epochs that have ended.
    failure : Exception or None
        The failure to write a checkpoint, if it has ended training.

    Raises
    ------
    ValueError, TypeError, OSError
        If the fit cannot go on from the snapshot, or cannot write checkpoints. Nothing has changed then.
    """

    def __init__(
        self,
        trainer: Trainer,
        step: TrainingStep,
        order: DataOrder,
        data: Dataset | BatchStream,
        evaluation: Evaluation | None,
        epochs: int,
        callbacks: Sequence[Callback],
        snapshot: Snapshot | None,
    ) -> None:
        self._trainer, self._step, self._order = trainer, step, order
        self._data, self._evaluation = data, evaluation
        self._epochs, self._callbacks, self._snapshot = epochs, callbacks, snapshot
        self._stride = trainer.batch_size * trainer.accumulate
        batches = data.steps(self._stride)
        # An iterable of batches may have no length, and may give more batches than its length says.
        self._batches: float = math.inf if batches is None else batches
        steps = STEPS_AHEAD if batches is None else max(batches, 1)
        self._room = steps if snapshot is None else max(steps, len(snapshot.costs))
        self._forms: set[BatchForm] = set()
        self._factors: tuple[Any, Any] = 1.0, 1.0  # of the schedule, in this epoch
        if isinstance(data, Dataset):
            counts = min(self._stride, len(data)), len(data) % self._stride or self._stride
            self._forms = {self._form(n) for n in counts}
        self.history = History() if snapshot is None else deepcopy(snapshot.history)
        self._steps_before = int(len(self.history) * self._batches) if batches else 0
        if isinstance(data, BatchStream):
            check_schedule(trainer.schedule, batches, resumes=snapshot is not None)
        self.failure: Exception | None = None
        self._written, self._began = "", 0.0
        self._settings: dict[str, Any] = {}
        self._writer: CheckpointWriter | None = None
        if snapshot is not None or trainer.checkpoint is not None:
            self._settings = settings_of(trainer) | {
                "data": data.described(trainer.shuffle),
                "validation_data": None if evaluation is None else evaluation.data.described(),
            }
        if snapshot is not None:
            snapshot.check_fit(self._settings, epochs, self._batches)
            self._settings = snapshot.settings
        if trainer.checkpoint is not None:
            self._writer = CheckpointWriter(
                trainer.checkpoint,
                trainer.schedule,
                callbacks,
                resumed_from="" if snapshot is None else snapshot.file,
            )

        self._before = step.take(), trainer.optimizer, order.rng, order.rng_state
        self._rates_before = trainer.layer_rates

    @uninterrupted
    def go_back(self) -> None:
        """Go back to the state before the fit, which has failed."""
        state, optimizer, rng, rng_state = self._before
        self._step.optimizer, self._step.layer_rates = optimizer, self._rates_before
        self._step.restore(state)
        self._order.go_back(rng, rng_state)

    def train(self) -> None:
        """Train epoch by epoch, until all epochs are run or a stop is requested."""
        trainer, snapshot = self._trainer, self._snapshot
        self._step.make_room(self._forms, self._room)
        trainer.schedule.begin()
        self._order.begin()
        for callback in self._callbacks:
            callback.on_fit_begin(trainer, self._epochs, self._known(0))
        monitor = self._monitor = Monitor(self._step, trainer.early_stopping, self.history)
        costs: Any = ()
        if snapshot is not None:
            self._go_back(snapshot)
            costs = snapshot.costs
        # A restored callback may know that training was over, and has then called `stop`.
        over = self._ran_all or (snapshot is not None and bool(trainer.stop_reason))
        try:
            while not over:
                over = self._run_epoch(costs)
                costs = ()
        except Exception:
            if self.has_lost_data:
                self._keep_steps()
            raise
        monitor.finish(trainer.stop_reason or ("early stopping" if monitor.says_stop else "epochs"))
        if self._written and trainer.stop_reason in ("interrupted", "terminated"):
            logger.warning("training was %s; %s", trainer.stop_reason, self._written)

    def _go_back(self, snapshot: Snapshot) -> None:
        """Go back to the snapshot, whatever callbacks have changed since `Trainer.resume`.

        Within an epoch, `on_epoch_begin` is called once more: a callback may prepare something there. What
        it changes of the network was in effect before the snapshot, so the snapshot is restored afterwards.
        """
        if len(snapshot.costs):
            for callback in self._callbacks:
                callback.on_epoch_begin(self._trainer, len(self.history))
        snapshot.restore(self._step, self._order)
        self._data.catch_up(self._order, self._trainer.shuffle)
        self._trainer.schedule.restore(snapshot.schedule)
        restore_callbacks(self._callbacks, snapshot.callbacks)
        self._monitor.restore(snapshot.states, snapshot.epochs_waited)

    def _form(self, size: int) -> BatchForm:
        """Return the form of a batch of so many rows, like the data's last."""
        data = self._data
        return self._trainer.form_of(size, data.labels, data.weighted, data.sparse)

    def _known(self, otherwise: int) -> int:
        """Return the number of steps of an epoch if it is known."""
        return int(self._batches) if self._batches < math.inf else otherwise

    @property
    def _ran_all(self) -> bool:
        """Whether no epoch is left to run."""
        return len(self.history) >= self._epochs or self._monitor.says_stop

    @property
    def has_lost_data(self) -> bool:
        """Whether streamed rows could not be read: the steps before them are good."""
        return self._data.failed or (self._evaluation is not None and self._evaluation.data.failed)

    def _keep_steps(self) -> None:
        """Write a checkpoint after the last step; if the parameters have diverged, restore good ones."""
        if not self._parameters_are_finite():
            self._step.restore(self._monitor.good)
        elif self._writer is not None:
            self._write(begun=True)

    def _parameters_are_finite(self) -> bool:
        step = self._step
        return bool(step.backend.xp.isfinite(step.network.parameters).all())

    def _run_epoch(self, costs: Any) -> bool:
        """Run an epoch, or what is left of it after steps with these costs; return whether to stop."""
        trainer, monitor, history = self._trainer, self._monitor, self.history
        data = self._data
        self._began = time.perf_counter()
        if len(costs):
            assert self._snapshot is not None
            self._began -= self._snapshot.seconds
        else:
            monitor.begin_epoch()
            for callback in self._callbacks:
                callback.on_epoch_begin(trainer, len(history))
        keeps = self._writer is not None  # only a checkpoint needs the state before
        data.draw(self._order, self._stride, trainer.shuffle, keeps_state=keeps)
        if len(costs) and self._snapshot is not None:
            self._snapshot.check_order(self._order)
        given = data.batch_weights(self._order)
        rate, is_whole = self._run_batches(costs, given)
        costs = self._step.costs()
        self._steps_before += len(costs)
        weights = np.asarray(given[: len(costs)])
        cost = float(weights @ costs / (weights.sum() or 1))
        validation = None
        if self._evaluation is not None and math.isfinite(cost):
            with np.errstate(all="ignore"):
                validation = self._evaluation(len(history))
        monitor.check(costs, cost, validation)
        monitor.record(cost, validation, rate, time.perf_counter() - self._began)
        trainer.schedule.observe((history.validation_cost or history.cost)[-1])
        for callback in self._callbacks:
            callback.on_epoch_end(trainer, history)
        return not is_whole or self._write_if_due(begun=False)

    def _run_batches(self, costs: Any, weights: Any) -> tuple[float, bool]:
        """Run the batches of an epoch after steps with these costs, or until a stop is requested.

        Parameters
        ----------
        costs : float64 array of shape (steps_done,)
            The costs of the steps that have been done.
        weights : float64 array of shape (batches,), or list of float
            The weight of each batch; a list grows with the batches of an iterable.

        Returns
        -------
        rate : float
            The learning rate of the last step.
        is_whole : bool
            Whether no batch is left.
        """
        trainer, step, epoch = self._trainer, self._step, len(self.history)
        watching = [c for c in self._callbacks if type(c).on_step_end is not Callback.on_step_end]
        counts = self._writer is not None and self._writer.counts_steps
        alone = bool(watching) or counts
        rates, stops = self._prepare(costs, weights), False
        for size, count in self._data.batches(step.rows, self._order, epoch, step.steps_done):
            end, form = step.steps_done + count, self._form(size)
            if form not in self._forms or end > self._room:  # of an iterable of batches
                rates = self._make_room(form, end, weights)
            while step.steps_done < end and not stops:
                if not step.steps_prepared:  # a callback has set another optimizer
                    factors, penalties = self._factors
                    rates = step.prepare(self._room, factors, step.costs(), penalties)
                step.run_some(form, 1 if alone else end - step.steps_done)
                for callback in watching:
                    callback.on_step_end(trainer, step.steps_done - 1)
                stops = self._stops_within_epoch()
            if stops:
                break
        step.release()
        is_whole = not stops or step.steps_done >= self._batches
        return float(rates[step.steps_done - 1]), is_whole

    def _make_room(self, form: BatchForm, steps: int, weights: Any) -> Any:
        """Make room for batches of a new form and for more steps; return their learning rates."""
        step, costs = self._step, self._step.costs()
        self._forms.add(form)
        while self._room < steps:
            self._room *= 2
        step.make_room([form], self._room)
        return self._prepare(costs, weights)

    def _prepare(self, costs: Any, weights: Any) -> Any:
        """Write the learning rates of the epoch's steps, of which some have been done; return them."""
        schedule, epoch, room = self._trainer.schedule, len(self.history), self._room
        factors: Any = 1.0
        if self._batches == math.inf:
            factors = factors_of_unknown(schedule, epoch, self._steps_before, room)
        elif type(schedule) is not Constant:
            batches = int(self._batches)
            in_fit = np.arange(epoch * batches, epoch * batches + room)
            factors = schedule.factors(in_fit, self._epochs * batches, batches)
        penalties = 1.0 if isinstance(weights, list) else schedule.penalty_factors(weights)
        self._factors = factors, penalties
        return self._step.prepare(room, factors, costs, penalties)

    def _stops_within_epoch(self) -> bool:
        """Write a checkpoint if one is due after a step; return whether to stop before the next."""
        if self._writer is None:
            return bool(self._trainer.stop_reason)
        return self._step.steps_done < self._batches and self._write_if_due(begun=True)

    def _write_if_due(self, *, begun: bool) -> bool:
        """Write a checkpoint if one is due, in an epoch that has begun or after it; return whether to stop.

        A signal may request the stop at any moment. If it comes too late for this method, training goes on
        to the next call: it never stops without a checkpoint.
        """
        trainer, writer = self._trainer, self._writer
        stops = bool(trainer.stop_reason) or (not begun and self._ran_all)
        if writer is not None:
            steps = self._steps_before + (self._step.steps_done if begun else 0)
            if stops or writer.is_due(steps, None if begun else len(self.history)):
                self._write(begun=begun)
                stops = stops or bool(trainer.stop_reason)
        return stops

    def _write(self, *, begun: bool) -> None:
        """Write a checkpoint: after the last step of an epoch that has begun, or between two epochs."""
        assert self._writer is not None
        trainer, step, order = self._trainer, self._step, self._order
        costs = step.costs() if begun else ()
        within = len(costs) > 0
        if not self._parameters_are_finite():
            return  # the end of the epoch will report divergence
        snapshot = Snapshot(
            settings=self._settings,
            epoch=len(self.history),
            costs=costs,
            seconds=time.perf_counter() - self._began if within else 0.0,
            states={
                "now": State(step.steps_taken, step.state_of, step.state_arrays),
                **self._monitor.states(begun=begun, within=within),
            },
            epochs_waited=self._monitor.epochs_waited,
            history=self.history,
            generator=order.drawn_from if begun else order.state,
            order=zlib.crc32(order.rows) if within else 0,
            dropout_seed=step.dropout_seed,
            optimizer=described(step.optimizer),
            layer_rates=listed(step.layer_rates),
            schedule=trainer.schedule.state(),
            callbacks=callback_states(self._callbacks),
        )
        try:
            file = self._writer.write(snapshot, step.network)
        except WRITE_ERRORS as error:
            self.failure = error
            trainer.stop("the checkpoint could not be written")
            return
        if file is not None:
            epoch = len(self.history)
            of_all = f" of {self._known(0)}" if self._known(0) else ""
            within_epoch = f"in epoch {epoch + 1}, after {len(costs)}{of_all} steps"
            where = within_epoch if within else f"after epoch {epoch}"
            self._written = f"Trainer.resume({str(file.parent)!r}) goes on {where}"
