"""One network's training step: the gradient of a batch, then the optimizer's update."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..backends import Array, Backend, Rows
from ..kernels import PRECISIONS
from ..kernels.scaling import fresh_loss_scale
from ..layers import Parameters
from ..network import Network
from ..signals import uninterrupted
from .captures import Replay, StepsInARow, call_each
from .data import BatchForm
from .halves import StepArrays, StepHalves
from .layer_rates import LayerRates
from .optimizer_state import OptimizerState, zeros_for
from .optimizers import Optimizer
from .state import HasState
from .step_numbers import STEPS_AHEAD, StepNumbers

__all__ = ["TrainingStep"]

STEPS_KEPT = 8
"""The most forms of batches with a captured step and its buffers."""


class TrainingStep(HasState):
    """The training step of one network: it updates the network by one batch at each run.

    A step has two halves. The first half computes the gradient of the batch in `rows`. The second half
    updates the parameters and the optimizer's state. `run` captures both halves for each form of batch, and
    replays them, for one step or for several in a row. `halves` returns them uncaptured: one capture can
    then contain steps of several networks on one backend.

    Between the halves `reduce` is called with the flat gradient of the whole batch: the gradients of all
    shards are added, and the loss scale is divided out. `reduce` may change the gradient in place, for
    example by an all-reduce over processes. With `reduce`, the gradient and the velocity of SGD with
    momentum have separate memory. Without it they may share a buffer.

    `take` copies the state that one step passes to the next, and `restore` restores it. A pickle or a copy
    contains this state, but neither data nor buffers.

    Kernels that are compiled in the background become ready at any moment. A step uses those that were
    ready when it was made, until `renew_kernels`.

    The methods compute on the current device: call them within ``network.backend.use()``.

    Parameters
    ----------
    network : Network
        The network to train, in place.
    optimizer : Optimizer
        The optimizer; its state begins at zero.
    dropout_seed : int
        Seed of the dropout masks.
    reduce : callable, optional
        A function that every step calls between the captured halves, whose result is ignored. Its argument
        is the gradient, a flat array in the order of ``network.parameters``, with 0 for frozen layers.
    layer_rates : sequence of float, optional
        A factor of the learning rate for each layer except the input, 0 for a frozen layer; as in
        `Trainer`. By default all are 1.

    Raises
    ------
    ValueError, TypeError
        If `layer_rates` does not fit the network.

    Attributes
    ----------
    network : Network
        The network.
    rows : Rows
        The rows that steps read.
    captured : dict of BatchForm to callable
        The captured steps of the latest forms.
    steps_taken, steps_done : int
        The number of steps since the optimizer's state began, and since `prepare`.
    steps_prepared : int
        The number of steps that `prepare` has written rates for; 0 when these are out of date.
    in_use : threading.RLock
        A lock for the one thread that uses the step. The step itself does not take it.
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        *,
        dropout_seed: int,
        reduce: Callable[[Array], object] | None = None,
        layer_rates: Sequence[float] | None = None,
    ) -> None:
        self.network, self.rows = network, Rows(None)
        self._layer_rates = LayerRates.of(layer_rates, len(network.layers))
        self._reduce, self._dropout_seed, self._sums_squares = reduce, dropout_seed, False
        self.captured: dict[BatchForm, Replay] = {}
        self._in_a_row: dict[BatchForm, StepsInARow] = {}
        self.steps_taken = self.steps_done = self.steps_prepared = 0
        self._kernels = self.backend.kernels
        self.in_use = threading.RLock()
        scaled = network.precision is not None and PRECISIONS[network.precision].scaled
        with self.backend.use():
            self._gradients: list[Array] = zeros_for(network, "the gradient", 1)
            self._views: list[list[Parameters]] = [network.layout.views(self._gradients[0])]
            self._loss_scale = self.backend.asarray(fresh_loss_scale()) if scaled else None
            self._optimizer_state = OptimizerState(
                *(network, optimizer, self._gradients[0]),
                gradient_apart=reduce is not None,
                scaled=scaled,
            )
            self._squared_norm = self.backend.zeros(1, np.float64)
            self._counters = self.backend.zeros(2, np.int64)
            self._numbers = StepNumbers(self.backend, STEPS_AHEAD, len(self._layer_rates.distinct))

    def __reduce__(self) -> tuple[Any, ...]:
        given = partial(TrainingStep, dropout_seed=self._dropout_seed, reduce=self._reduce)
        make = partial(given, layer_rates=self.layer_rates)
        lasting = {name: self.backend.to_numpy(array) for name, array in self._lasting.items()}
        return make, (self.network, self.optimizer), (self.steps_taken, self.sums_squares, lasting)

    def __setstate__(self, state: tuple[int, bool, dict[str, Any]]) -> None:
        self.steps_taken, self.sums_squares, lasting = state
        with self.backend.use():
            for name, array in self._lasting.items():
                array[...] = self.backend.asarray(lasting[name])

    @property
    def backend(self) -> Backend:
        """The network's backend."""
        return self.network.backend

    @property
    def dropout_seed(self) -> int:
        """The seed of the dropout masks; captured steps are dropped if another is set."""
        return self._dropout_seed

    @dropout_seed.setter
    def dropout_seed(self, dropout_seed: int) -> None:
        if dropout_seed != self._dropout_seed:
            self._dropout_seed = dropout_seed
            self._forget_captures()

    @property
    def sums_squares(self) -> bool:
        """Whether steps compute Σ w² for `penalties`; captured steps are dropped if it changes."""
        return self._sums_squares

    @sums_squares.setter
    def sums_squares(self, sums_squares: bool) -> None:
        if sums_squares != self._sums_squares:
            self._sums_squares = sums_squares
            self._forget_captures()

    @property
    def loss_scale(self) -> float:
        """The factor of the cost in the backward pass; 1 unless the precision is float16."""
        return 1.0 if self._loss_scale is None else float(self._loss_scale[0])

    @property
    def gradient(self) -> Array:
        """The flat gradient; valid between the halves, if the step was made with `reduce`."""
        return self._gradients[0]

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer.

        If another optimizer is set, the state is kept if both run the same update with the same state.
        Otherwise the state begins at zero.
        """
        return self._optimizer_state.optimizer

    @optimizer.setter
    def optimizer(self, optimizer: Optimizer) -> None:
        if optimizer != self.optimizer:
            self.steps_prepared = 0
            if not optimizer.differs_in_rate_alone(self.optimizer):  # no captured step holds a rate
                self._forget_captures()
            if not self._optimizer_state.change(optimizer):
                self.steps_taken = 0

    @property
    def layer_rates(self) -> tuple[float, ...] | None:
        """The layers' factors of the learning rate; captured steps are dropped if they change."""
        return self._layer_rates.given

    @layer_rates.setter
    @uninterrupted
    def layer_rates(self, layer_rates: Sequence[float] | None) -> None:
        rates = LayerRates.of(layer_rates, len(self.network.layers))
        if rates != self._layer_rates:
            self._layer_rates, self.steps_prepared = rates, 0
            self._forget_captures()
            self._numbers.hold_factors(len(rates.distinct))
            if not self._optimizer_state.plan.beta:  # else it is the velocity
                self._gradients[0].fill(0)

    def make_room(self, forms: Iterable[BatchForm], steps: int) -> None:
        """Allocate gradients for batches of these forms, and rates and costs for `steps` steps.

        `steps` is the number of steps from one `prepare` to the next. Captured steps are dropped if an
        array must grow.
        """
        problem = self.network.problem(self._counters, self._dropout_seed)
        with self.backend.keep_kernels(self._kernels):
            shards = [problem.shards(f.rows, f.block_limit, f.sparse) for f in forms]
        self._allocate(max(shards, default=1), steps)

    @uninterrupted
    def _allocate(self, shards: int, steps: int) -> None:
        more = zeros_for(self.network, "the shards' gradients", shards - len(self._gradients))
        self._gradients += more
        self._views += map(self.network.layout.views, more)
        if self._numbers.make_room(shards, steps):
            self.steps_prepared = 0
            self._forget_captures()

    @uninterrupted
    def prepare(
        self,
        steps: int | None = None,
        factors: Any = 1.0,
        costs: Any = (),
        penalty_factors: Any = 1.0,
    ) -> Any:
        """Write the learning rates of the next steps to the device, and clear the costs.

        Parameters
        ----------
        steps : int, optional
            The number of steps, no more than `make_room` was asked for. By default `STEPS_AHEAD`.
        factors : float or array of shape (steps,)
            The factor of the optimizer's learning rate, in all steps or in each.
        costs : array of shape (steps_done,), optional
            The costs of the steps that have been done already, as `costs` returned them: the next step is
            the one after them. By default none has been done.
        penalty_factors : float or array of shape (steps,)
            The factor of the penalties l1 and l2, in all steps or in each; by default 1.

        Returns
        -------
        float64 array of shape (steps,), on the host
            The learning rates.
        """
        steps, done = STEPS_AHEAD if steps is None else steps, len(costs)
        taken, state = self.steps_taken - done, self._optimizer_state
        rates = state.rates(factors, penalty_factors, taken, steps)
        self._numbers.prepare(rates, costs)
        for number, factor in self._layer_rates.others:
            others = state.compute_rates(factor * factors, penalty_factors, taken, steps)
            self._numbers.set_rates(number, others)
        self._counters[1] = done
        self.steps_done, self.steps_prepared = done, steps
        return rates[:, 0]

    def costs(self) -> Any:
        """Read the mean cost of each batch since `prepare`, before its update; waits for the device."""
        return self._numbers.mean_costs(self.steps_done)

    def penalties(self) -> Any:
        """Read ½ l2 Σ w² of each batch, as `costs` does; 0 without `sums_squares`."""
        return self._numbers.penalties(self.optimizer.l2, self.steps_done)

    @property
    def last_cost(self) -> float:
        """Read the mean cost of the last step's batch, NaN before the first step; waits for the device."""
        return self._numbers.last_cost(self.steps_done)

    @property
    def steps_at_once(self) -> int:
        """The number of steps on batches of one form to run together, if nothing comes between them."""
        return self.backend.steps_at_once if self._reduce is None else 1

    def run(self, form: BatchForm, steps: int = 1) -> None:
        """Run one step on the batch in `rows`, or several steps in a row, each on its batch in `rows`.

        Ctrl-C waits for the end of the steps, which are then counted.

        Raises
        ------
        ValueError
            `steps` is below 1.
        RuntimeError
            There are no rows, or there is no room for so many more steps before `prepare`.
        """
        replay = self._captured(form, steps)
        self._replay(replay if steps == 1 else self._in_a_row[form][steps], steps)

    def run_some(self, form: BatchForm, most: int) -> int:
        """Run at least one step and at most `most`, as `run` does; return how many.

        They are as many as the backend runs together, in some milliseconds: a caller can look at what may
        stop training in between. The errors are those of `run`.
        """
        at_once = self.steps_at_once
        if self._reduce is None and at_once == 1:
            return self._replay(self._captured(form, most), 1, most)
        self.run(form, steps := at_once if most >= at_once else 1)
        return steps

    def _captured(self, form: BatchForm, steps: int) -> Replay:
        """Return the captured step, after a check that so many can run."""
        if steps < 1:
            raise ValueError(f"steps is {steps}, expected at least 1")
        # A captured step does not check these, and would read or write outside its arrays.
        if self.rows.x is None:
            raise RuntimeError("a training step has no rows to run on")
        if self.steps_done + steps > self._numbers.room:
            raise RuntimeError(f"{self.steps_done} steps were run; prepare comes before another")
        return self.captured.get(form) or self._capture(form)

    @uninterrupted
    def _replay(self, replay: Replay, steps: int, most: int = 1) -> int:
        """Run what makes `steps` captured steps at most `most` times; count and return the steps."""
        # If a step fails, no step is prepared.
        prepared, self.steps_prepared = self.steps_prepared, 0
        steps *= self.backend.replay_some(replay, most)
        self.steps_prepared = prepared
        self.count(steps)
        return steps

    def count(self, steps: int = 1) -> None:
        """Count steps, for example of a capture of `halves`."""
        self.steps_taken += steps
        self.steps_done += steps

    def release(self) -> None:
        """Drop the data, and the rates that no step has used."""
        self.rows.clear()
        self.steps_prepared = 0

    def _capture(self, form: BatchForm) -> Replay:
        """Capture the step for batches of this form, and store it in `captured`."""
        while len(self.captured) >= STEPS_KEPT:
            oldest = next(iter(self.captured))
            del self.captured[oldest]
            self._in_a_row.pop(oldest, None)
        halves, capture = self._halves(form), self.backend.capture
        with self.backend.keep_kernels(self._kernels):
            if self._reduce is None:
                replay = capture(halves.run)
                self._in_a_row[form] = StepsInARow(self.backend, replay, halves)
            else:
                # `reduce` may write to the gradient of frozen layers, which no half overwrites.
                reduce = partial(self._reduce, self.gradient)
                calls: list[Callable[[], object]] = [capture(halves.gradient), *halves.clear_frozen]
                replay = partial(call_each, [*calls, reduce, capture(halves.update)])
                self._in_a_row[form] = StepsInARow(self.backend, replay, None)
        self.captured[form] = replay
        return replay

    def renew_kernels(self) -> None:
        """Use the kernels that are ready now; captured steps are dropped if there are new ones."""
        if self._kernels != self.backend.kernels:
            self._kernels = self.backend.kernels
            self._forget_captures()

    def _forget_captures(self) -> None:
        self.captured, self._in_a_row = {}, {}

    def halves(self, form: BatchForm) -> tuple[Callable[[], None], Callable[[], None]]:
        """Return a step's two halves for batches of this form, neither run nor captured.

        Both halves call only verbs of the backend, and share new buffers. ``backend.capture`` can capture
        them several times, or together with halves of other steps. Call `make_room` and `prepare` before,
        and `count` after every replay. The halves do not call `reduce`: the caller does so between them. A
        capture is out of date after `make_room` has allocated memory or `optimizer` has been set.

        Parameters
        ----------
        form : BatchForm
            The form of the batches.

        Returns
        -------
        gradient, update : callable
            Functions that compute the gradient of the batch, and update parameters and state.
        """
        halves = self._halves(form)
        return halves.gradient, halves.update

    def _halves(self, form: BatchForm) -> StepHalves:
        arrays = StepArrays(
            *(self.rows, self._gradients, self._views, self._counters, self._numbers),
            *(self._squared_norm, self._loss_scale),
        )
        with self.backend.keep_kernels(self._kernels):
            return StepHalves(
                *(self.network, form, arrays, self._optimizer_state),
                layer_rates=self._layer_rates,
                dropout_seed=self._dropout_seed,
                gradient_is_read=self._reduce is not None,
                sums_squares=self.sums_squares,
            )
