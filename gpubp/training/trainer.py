"""Training: batches, epochs, stopping, callbacks."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from operator import is_
from typing import Any

import numpy as np

from ..arrays import move
from ..backends import Array, Backend, Rows, on_device
from ..backprop import backpropagate
from ..errors import DivergenceError
from ..kernels import PRECISIONS, ParameterArrays, StepVariables, UpdateRule
from ..kernels.scaling import fresh_loss_scale
from ..layers import Parameters, widths
from ..network import Network
from ..problem import Problem
from ..validation import check_number, check_shapes, check_weights
from ..workspace import Workspace
from . import settings
from .callbacks import Callback, EarlyStopping, as_callbacks, as_early_stopping
from .data import Data
from .evaluation import Evaluation
from .history import History
from .optimizers import Optimizer, get_optimizer
from .progress import progress_callback
from .schedules import Schedule, get_schedule
from .settings import Setting
from .snapshot import Snapshot

__all__ = ["Trainer"]

STEPS_KEPT = 8
"""Batch sizes whose captured step, with its buffers, is kept."""

STEPS_AHEAD = 256
"""Steps on their own are prepared so many at once: to prepare takes longer than a small step."""

LEAST_LOSS_SCALE = 2.0**-24
"""Below it, it is not for their size that gradients do not fit float16."""

StepKey = tuple[int, bool, bool, int | None]
"""Of a captured step: rows of its batch, whether targets are labels and rows have weights, and the most
rows of a block."""

Form = tuple[tuple[int, ...], Any]
"""Of an array that a step takes as it is: its shape and dtype."""

_ON_DEVICE = (
    "_gradients", "_views", "_loss_scale", "_state", "_squared_norm", "_counters", "_rows", "_costs",
    "_done", "_ahead", "_rates", "_steps", "_forms", "_order_buffer",
)  # fmt: skip
"""What a pickle leaves out, and `Trainer._allocate` makes."""


class Trainer:
    """Trains a network; the optimizer's state lives on from one fit to the next.

    A pickle or a copy has the network, the optimizer's state and the random generator, so that training
    goes on from it as it would have without; it has neither data nor buffers.

    To go back to, `fit` keeps three copies of the parameters and the optimizer's state while it runs,
    with early stopping four.

    Parameters
    ----------
    network : the `Network`, changed in place.
    optimizer : an `Optimizer`, or the name of one with its defaults.
    batch_size : rows of a batch.
    schedule : of the learning rate: a `Schedule`, or the name of one with its defaults.
    shuffle : draw a new order of the rows for each epoch.
    accumulate : batches whose gradients are added up for one update; the same as batches so many
        times larger, with buffers for one of them. Data that are read batch by batch are read so many
        batches at once.
    early_stopping : an `EarlyStopping`, or its patience in epochs; True takes its defaults, None or
        False trains all epochs.
    callbacks : `Callback`s, or functions (trainer, history) called after each epoch.
    seed : of the batch order and the dropout masks: an int or a numpy.random.Generator.

    Attributes
    ----------
    optimizer, batch_size, schedule, shuffle, accumulate, early_stopping, callbacks : the settings, which
        may be set anew between fits.

    Raises
    ------
    ValueError, TypeError : an argument, or a setting when it is set, is not what is expected; the
        message names it.
    """

    network = settings.network()
    batch_size = settings.count("batch_size")
    accumulate = settings.count("accumulate")
    shuffle = settings.flag("shuffle")
    schedule = Setting(get_schedule)
    early_stopping = Setting(as_early_stopping)
    callbacks = Setting(as_callbacks)

    def __init__(
        self,
        network: Network,
        optimizer: str | Optimizer = "adam",
        *,
        batch_size: int = 128,
        schedule: str | Schedule = "constant",
        shuffle: bool = True,
        accumulate: int = 1,
        early_stopping: EarlyStopping | int | bool | None = None,
        callbacks: Sequence[Callback | Callable[[Trainer, History], None]] = (),
        seed: int | np.random.Generator | None = None,
    ) -> None:
        self.network, self._optimizer = network, get_optimizer(optimizer)
        self.batch_size, self.accumulate, self.shuffle = batch_size, accumulate, shuffle
        self.schedule, self.early_stopping, self.callbacks = schedule, early_stopping, callbacks
        if seed is not None and not isinstance(seed, np.random.Generator):
            check_number("seed", seed, 0, math.inf, whole=True)
        self._rng = np.random.default_rng(seed)
        self._dropout_seed = int(self._rng.integers(2**63))
        self._stop_reason = ""
        self._steps_taken = 0
        self._allocate()

    @on_device
    def _allocate(self) -> None:
        """Everything on the device, as it is before the first step."""
        backend, layout, dtype = self.network.backend, self.network.layout, self.network.dtype
        self._gradients: list[Array] = [backend.zeros(layout.size, dtype)]
        self._views: list[list[Parameters]] = [layout.views(self._gradients[0])]
        precision = PRECISIONS.get(self.network.precision or "")
        scaled = precision is not None and precision.scaled
        self._loss_scale = backend.asarray(fresh_loss_scale()) if scaled else None
        self._state = self._fresh_state()
        self._squared_norm = backend.zeros(1, np.float64)
        self._counters = backend.zeros(2, np.int64)
        self._rows = Rows(None)
        self._costs: Array = backend.zeros((0, 0), np.float64)
        self._done = self._ahead = 0
        self._steps: dict[StepKey, Callable[[], None]] = {}
        self._forms: list[Form | None] = []
        self._order_buffer: Array = None
        self._make_room([1], STEPS_AHEAD)

    @on_device
    def _fresh_state(self) -> tuple[Array, ...]:
        size, dtype = self.network.layout.size, self.network.dtype
        return tuple(self.backend.zeros(size, dtype) for _ in self._running.update.state)

    @property
    def _running(self) -> Optimizer:
        """The optimizer as the steps run it. Where the loss is scaled, the gradient has a buffer of its own
        and its norm is computed, as if to clip it: that tells whether it is finite."""
        if self._loss_scale is None or self._optimizer.clip_norm is not None:
            return self._optimizer
        return replace(self._optimizer, clip_norm=sys.float_info.max)

    @property
    @on_device
    def loss_scale(self) -> float:
        """What the cost is multiplied by in the backward pass: 1, but with precision "float16" a power of
        two that training adapts. A step whose gradient does not fit float16 for it changes nothing."""
        return 1.0 if self._loss_scale is None else float(self._loss_scale[0])

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if name not in _ON_DEVICE}
        return state | {"arrays": [self.backend.to_numpy(array) for array in self._lasting]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        arrays = state.pop("arrays")
        self.__dict__.update(state)
        self._allocate()
        with self.backend.use():
            for target, array in zip(self._lasting, arrays, strict=True):
                target[...] = self.backend.asarray(array)

    @property
    def backend(self) -> Backend:
        """Where it trains: the network's."""
        return self.network.backend

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer; between fits it may be set to another one, or to the name of one.

        Its state goes on where both run the same update on the same state (other hyperparameters of
        Adam, say), and begins anew where they do not.
        """
        return self._optimizer

    @optimizer.setter
    @on_device
    def optimizer(self, optimizer: str | Optimizer) -> None:
        chosen = get_optimizer(optimizer)
        if chosen == self._optimizer:
            return
        old = self._running
        self._optimizer, self._steps, self._ahead = chosen, {}, 0
        new = self._running
        # Where the optimizer accumulates, the gradient's buffer is part of its state.
        if new.update is not old.update or bool(new.accumulates) != bool(old.accumulates):
            self._state, self._steps_taken = self._fresh_state(), 0
            self._gradients[0].fill(0)

    def stop(self, reason: str) -> None:
        """End training after the current step; `History.stopped` will give the reason."""
        self._stop_reason = reason

    @on_device
    def fit(
        self,
        x: Any,
        y: Any,
        *,
        epochs: int,
        sample_weight: Any = None,
        validation_data: tuple[Any, ...] | None = None,
        progress: bool = False,
    ) -> History:
        """Train for `epochs` passes over the data.

        Parameters
        ----------
        x : (rows, n_in), in memory, or a numpy.memmap or anything sliceable with a shape, of which
            only batches are read.
        y : integer labels (rows,) or rows of probabilities for cross_entropy, else (rows, n_out).
        sample_weight : (rows,); each batch's cost is its weighted mean.
        validation_data : (x, y) or (x, y, sample_weight), evaluated after each epoch.
        progress : show a progress bar.

        Returns
        -------
        History. Ctrl-C ends training after the current step and returns the history so far.

        Raises
        ------
        ValueError : data or settings are not what the network takes; nothing has changed then.
        DivergenceError : the cost stopped being finite; the network has its last good parameters.
        """
        check_number("epochs", epochs, 1, math.inf, whole=True)
        data = Data(self.network, x, y, sample_weight)
        evaluation = None
        if validation_data is not None:
            evaluation = Evaluation(self.network, validation_data, self.batch_size)
        callbacks = [*as_callbacks(self.callbacks), *([progress_callback()] if progress else [])]
        before = Snapshot()
        self._keep(before)
        history = History()
        self._stop_reason = ""
        try:
            try:
                with self._interruptible():
                    self._run(data, evaluation, epochs, callbacks, history)
            finally:
                self._let_go()
                for callback in callbacks:
                    callback.on_fit_end(self, history)
        except BaseException as error:
            diverged = isinstance(error, DivergenceError) and error.history is history
            if not diverged:
                self._restore(before)
            raise
        return history

    @on_device
    def step(self, x: Any, y: Any, sample_weight: Any = None) -> None:
        """One update on one batch, without reading anything back: `step_cost` does that.

        Shapes and types are checked, values are not. The learning rate is the optimizer's own: a
        schedule goes by the steps of a whole fit, which a step on its own is not part of.

        Raises
        ------
        ValueError : x, y or sample_weight has a shape or type the network does not take.
        """
        given = x, y, sample_weight
        forms = [self._form(array) for array in given]
        if forms != self._forms:
            x, y, sample_weight = taken = self._checked(*given)
            as_it_is = None not in forms and all(map(is_, given, taken))
            self._forms = forms if as_it_is else []
        rows = self._rows
        rows.x, rows.y, rows.weights, rows.order, rows.stride = x, y, sample_weight, None, 0
        try:
            key = len(x), y.ndim == 1, sample_weight is not None, self._limit
            if key not in self._steps:
                self._make_room([len(x)], 1)
            if not self._ahead:
                self._prepare_steps()
            # A step that fails leaves none prepared.
            ahead, self._ahead = self._ahead, 0
            self._run_step(key)
            self._ahead = ahead - 1
        finally:
            self._let_go()

    @property
    @on_device
    def step_cost(self) -> float:
        """The mean cost of the last step's batch, before its update; waits for the device.

        The last step is that of `step` or of a fit, the latest one within a fit's callbacks. NaN before
        a trainer's first step, counted anew in a copy.
        """
        if not self._done:
            return math.nan
        return float(self.backend.to_numpy(self._costs[:, self._done - 1]).sum())

    # An epoch at a time.

    def _run(
        self,
        data: Data,
        evaluation: Evaluation | None,
        epochs: int,
        callbacks: list[Callback],
        history: History,
    ) -> None:
        stride, limit = self.batch_size * self.accumulate, self._limit
        batches = -(-data.rows // stride)
        self._make_room([min(stride, data.rows), data.rows % stride or stride], batches)
        self.schedule.begin()
        for callback in callbacks:
            callback.on_fit_begin(self, epochs, batches)
        stopping, waited = self.early_stopping, 0
        good, earlier, best = Snapshot(), Snapshot(), Snapshot()
        for epoch in range(epochs):
            began = time.perf_counter()
            earlier, good = good, earlier
            self._keep(good)
            for callback in callbacks:
                callback.on_epoch_begin(self, epoch)
            order = self._order(data.rows, stride)
            rates = self._epoch_rates(epoch, epochs, batches)
            self._epoch(data, order, stride, limit, callbacks)
            done = self._done
            costs = self.backend.to_numpy(self._costs)[:, :done].sum(0)
            weights = [data.total_weight(order[k * stride : (k + 1) * stride]) for k in range(done)]
            cost = float(np.dot(costs, weights) / (sum(weights) or 1))
            with np.errstate(all="ignore"):
                finite = math.isfinite(cost)
                validation = evaluation() if evaluation is not None and finite else None
            monitored = validation.cost if validation is not None else cost
            broken = ""
            if not math.isfinite(monitored):
                broken = (
                    f"the {'cost' if validation is None else 'validation cost'} became {monitored}"
                )
            elif not self._finite():
                broken = "the parameters stopped being finite"
            elif self.loss_scale < LEAST_LOSS_SCALE:
                broken = "the gradients stopped being finite"
            if broken:
                # The first cost is that of the parameters the epoch began with.
                began_well = math.isfinite(costs[0])
                self._restore(good if began_well or not epoch else earlier)
                history.stopped = "diverged"
                raise DivergenceError(
                    f"{broken} in epoch {epoch + 1}; the network has the parameters from before epoch"
                    f" {epoch + 1 if began_well else max(epoch, 1)}"
                    " (a lower learning rate or clip_norm may help)",
                    epoch,
                    history,
                )
            history.cost.append(cost)
            if validation is not None:
                history.validation_cost.append(validation.cost)
                if validation.accuracy is not None:
                    history.validation_accuracy.append(validation.accuracy)
            history.learning_rate.append(float(rates[done - 1]))
            history.seconds.append(time.perf_counter() - began)
            self.schedule.observe(monitored)
            least = stopping.min_improvement if stopping else 0.0
            if epoch == 0 or monitored < history.monitored[history.best_epoch] - least:
                history.best_epoch, waited = epoch, 0
                if stopping:
                    self._keep(best)
            else:
                waited += 1
            for callback in callbacks:
                callback.on_epoch_end(self, history)
            if stopping and waited >= stopping.patience:
                self._stop_reason = self._stop_reason or "early stopping"
            if self._stop_reason:
                break
        history.stopped = self._stop_reason or "epochs"
        if stopping:
            self._restore(best)

    def _epoch(
        self, data: Data, order: Any, stride: int, limit: int | None, callbacks: list[Callback]
    ) -> None:
        """Run the batches of an epoch."""
        source, rows = data.source, self._rows
        rows.x, rows.y, rows.weights, rows.order, rows.stride = (
            source.x,
            source.y,
            source.weights,
            None,
            0,
        )
        if not data.streamed:
            rows.order, rows.stride = self._order_on_device(order), stride
        self._clear_costs()
        watched = [c for c in callbacks if type(c).on_step_end is not Callback.on_step_end]
        for start in range(0, data.rows, stride):
            chosen = order[start : start + stride]
            if data.streamed:
                data.bring(chosen)
                rows.x, rows.y, rows.weights = source.x, source.y, source.weights
            self._run_step((len(chosen), data.labels, data.weights is not None, limit))
            for callback in watched:
                callback.on_step_end(self, self._done - 1)
            if self._stop_reason:
                break

    def _order(self, rows: int, stride: int) -> Any:
        """Which rows each batch takes; rising within a batch, which reads memory and files in order."""
        if not self.shuffle:
            return np.arange(rows)
        order = self._rng.permutation(rows)
        whole = rows // stride * stride
        order[:whole].reshape(-1, stride).sort(axis=1)
        order[whole:].sort()
        return order

    def _order_on_device(self, order: Any) -> Array:
        """The order, in the same place in every epoch: captured steps go by where it lies."""
        if self._order_buffer is None or len(self._order_buffer) != len(order):
            self._order_buffer = self.backend.xp.empty(len(order), np.int64)
        self._order_buffer[...] = self.backend.asarray(order)
        return self._order_buffer

    def _epoch_rates(self, epoch: int, epochs: int, batches: int) -> Any:
        """The learning rate of each step of the epoch, written to the device."""
        in_fit = np.arange(epoch * batches, (epoch + 1) * batches)
        factors = self.schedule.factors(in_fit, epochs * batches, batches)
        taken = np.arange(self._steps_taken, self._steps_taken + batches)
        return self._write_rates(taken, factors)

    def _write_rates(self, steps: Any, factors: Any) -> Any:
        rates = np.empty((len(steps), 3))
        rates[:, 0] = self.optimizer.learning_rate * factors
        update, hyperparameters = self._running.update, self._running.hyperparameters
        rates[:, 1], rates[:, 2] = update.factors(rates[:, 0], steps + 1.0, **hyperparameters)
        self._rates[: len(steps)] = self.backend.asarray(rates)
        return rates[:, 0]

    # A step.

    def _form(self, array: Any) -> Form | None:
        """The form of an array that lies dense where the network computes, or of none; None for anything
        else."""
        backend = self.backend
        if array is None:
            return (), None
        if type(array) is not backend.xp.ndarray or not backend.owns(array):
            return None
        return (array.shape, array.dtype) if array.flags.c_contiguous else None

    def _checked(self, x: Any, y: Any, sample_weight: Any) -> tuple[Array, Array, Array | None]:
        """A batch as a step takes it, on the backend, with its shapes and types checked."""
        x, y = check_shapes(x, y, self.network.cost_function, self.network.sizes)
        weights = check_weights(sample_weight, len(x), values=False)
        x, y = move(x, self.backend), move(y, self.backend)
        return x, y, None if weights is None else move(weights, self.backend)

    def _prepare_steps(self) -> None:
        """The rates and the costs of the next steps on their own; what changes either drops them."""
        self._write_rates(np.arange(self._steps_taken, self._steps_taken + STEPS_AHEAD), 1.0)
        self._clear_costs()
        self._ahead = STEPS_AHEAD

    def _clear_costs(self) -> None:
        """Before the first step of an epoch, or of those prepared on their own."""
        self._counters[1] = 0
        self._costs.fill(0)
        self._done = self._ahead = 0

    def _run_step(self, key: StepKey) -> None:
        """Replay the step for batches like this."""
        replay = self._steps.get(key) or self._capture(key)
        with np.errstate(all="ignore"):  # what overflows here is told as divergence
            replay()
        self._steps_taken += 1
        self._done += 1

    def _capture(self, key: StepKey) -> Callable[[], None]:
        """Capture the step for batches like this, and keep it."""
        rows, labels, _, limit = key
        while len(self._steps) >= STEPS_KEPT:
            del self._steps[next(iter(self._steps))]
        problem = self.network.problem(self._counters, self._dropout_seed)
        workspace = Workspace(
            problem, rows, "train", limit=limit, labels=labels, loss_scale=self._loss_scale
        )
        self._steps[key] = self.backend.capture(lambda: self._step(problem, workspace))
        return self._steps[key]

    def _step(self, problem: Problem, workspace: Workspace) -> None:
        """Backpropagation over the workspace's shards, then the update."""
        backend, optimizer, gradient = self.backend, self._running, self._gradients[0]
        loss_scale, options = self._loss_scale, optimizer.update_options
        backpropagate(
            problem,
            workspace,
            self._rows,
            self._views,
            optimizer.accumulates,
            self._costs,
        )
        shard_gradients = self._gradients[1 : len(workspace.shards)]
        if optimizer.clip_norm is not None:
            for other in shard_gradients:
                backend.add(other, gradient)
            shard_gradients = []
            if loss_scale is not None:
                backend.multiply(gradient, loss_scale[1:], gradient)
                options = replace(options, skips=True)
            backend.weighted_sum(gradient, None, self._squared_norm)
        network = self.network
        backend.update(
            UpdateRule(optimizer.update, optimizer.hyperparameters, options),
            ParameterArrays(network.parameters, gradient, self._state, network.layout.n_weights),
            StepVariables(self._rates, self._counters, self._squared_norm),
            shard_gradients,
        )
        if loss_scale is not None:
            backend.adapt_loss_scale(loss_scale, self._squared_norm)
        backend.advance(self._counters)

    @property
    def _limit(self) -> int | None:
        return self.batch_size if self.accumulate > 1 else None

    def _make_room(self, batches: list[int], steps: int) -> None:
        """Gradients, costs and rates for batches of these sizes and so many steps in an epoch.

        Where there was less room before, what was captured in it is dropped.
        """
        xp, network = self.backend.xp, self.network
        sizes = widths(network.layers)
        shards = max(len(self.backend.plan(rows, sizes, self._limit)) for rows in batches)
        for _ in range(len(self._gradients), shards):
            self._gradients.append(xp.empty(network.layout.size, network.dtype))
            self._views.append(network.layout.views(self._gradients[-1]))
        room = self._costs.shape
        if room[0] < shards or room[1] < steps:
            shape = max(shards, room[0]), max(steps, room[1])
            self._costs = xp.full(shape, math.nan, np.float64)
            self._rates = xp.zeros((shape[1], 3), np.float64)
            self._steps, self._ahead = {}, 0

    # What a fit can go back to.

    def _let_go(self) -> None:
        """Hold no data when nothing runs."""
        rows = self._rows
        rows.x = rows.y = rows.weights = rows.order = None

    def _finite(self) -> bool:
        """Whether every parameter is."""
        return bool(self.backend.xp.isfinite(self.network.parameters).all())

    @property
    def _lasting(self) -> tuple[Array, ...]:
        """What one step leaves to the next, but for the parameters."""
        gradient = self._gradients[:1] if self._running.accumulates else []
        loss_scale = [] if self._loss_scale is None else [self._loss_scale]
        return (*gradient, *self._state, self._counters, *loss_scale)

    def _keep(self, snapshot: Snapshot) -> None:
        snapshot.take(self._steps_taken, (self.network.parameters, *self._lasting))

    def _restore(self, snapshot: Snapshot) -> None:
        self._steps_taken = snapshot.give_back((self.network.parameters, *self._lasting))
        self._ahead = 0

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let Ctrl-C end training after the current step; a second one ends it at once."""
        previous = signal.getsignal(signal.SIGINT)
        in_main_thread = threading.current_thread() is threading.main_thread()
        if not in_main_thread or previous in (None, signal.SIG_IGN):
            yield
            return

        def interrupt(number: int, frame: Any) -> None:
            signal.signal(signal.SIGINT, previous)
            self.stop("interrupted")

        signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)
