"""One network's training step: the gradient of a batch, then the optimizer's update."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..backends import Array, Rows
from ..kernels import PRECISIONS
from ..kernels.scaling import fresh_loss_scale
from ..layers import Parameters
from ..network import Network
from ..signals import uninterrupted
from .captures import Replay, StepsInARow
from .data import BatchForm
from .layer_rates import LayerRates
from .optimizer_state import OptimizerState, zeros_for
from .optimizers import Optimizer
from .step_numbers import STEPS_AHEAD, StepNumbers
from .step_runs import StepRuns

__all__ = ["TrainingStep"]


class TrainingStep(StepRuns):
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

    Raises
    ------
    ValueError, TypeError
        If `layer_rates` does not fit the network.

    See Also
    --------
    gpubp.Trainer : Makes the step's batches, epochs and rates.

    Examples
    --------
    Two steps on one batch, on which the weight w = 1 has the cost ½ w²:

    >>> import gpubp
    >>> import numpy as np
    >>> from gpubp.training import BatchForm, TrainingStep
    >>> network = gpubp.Network((1, 1), biases=False)
    >>> network.parameters = [1.0]
    >>> step = TrainingStep(network, gpubp.SGD(0.25), dropout_seed=0)
    >>> step.rows.set(np.float32([[1.0]]), np.float32([[0.0]]), None)
    >>> form = BatchForm(rows=1, block_limit=None, labels=False, weighted=False)
    >>> with network.backend.use():
    ...     step.make_room([form], steps=2)
    ...     rates = step.prepare(steps=2)
    ...     step.run(form, steps=2)
    >>> step.costs().tolist(), network.parameters.tolist()
    ([0.5, 0.28125], [0.5625])
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

    def make_room(self, forms: Iterable[BatchForm], steps: int) -> None:
        """Allocate gradients for batches of these forms, and rates and costs for `steps` steps.

        Captured steps are dropped if an array must grow.

        Parameters
        ----------
        forms : iterable of BatchForm
            The forms of the batches.
        steps : int
            The number of steps from one `prepare` to the next.

        Examples
        --------
        >>> import gpubp
        >>> from gpubp.training import BatchForm, TrainingStep
        >>> step = TrainingStep(gpubp.Network((1, 1)), gpubp.SGD(0.25), dropout_seed=0)
        >>> step.make_room([BatchForm(32, None, labels=False, weighted=False)], steps=3)
        >>> step.prepare(steps=3).tolist()
        [0.25, 0.25, 0.25]
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

        Examples
        --------
        >>> import gpubp
        >>> import numpy as np
        >>> from gpubp.training import TrainingStep
        >>> step = TrainingStep(gpubp.Network((1, 1)), gpubp.SGD(0.5), dropout_seed=0)
        >>> step.prepare(steps=2, factors=np.array([1.0, 0.5])).tolist()
        [0.5, 0.25]
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
        """Read the mean cost of each batch since `prepare`, before its update; waits for the device.

        Returns
        -------
        float64 array of shape (steps_done,)
            The costs.

        Examples
        --------
        The output is 0, then ½, where 1 is wanted.

        >>> import gpubp
        >>> trainer = gpubp.Trainer(gpubp.Network((1, 1), initializer="zeros"), gpubp.SGD(0.5))
        >>> trainer.step([[0.0]], [[1.0]])
        >>> step = trainer.training_step
        >>> trainer.step([[0.0]], [[1.0]])
        >>> step.costs().tolist()
        [0.5, 0.125]
        """
        return self._numbers.mean_costs(self.steps_done)

    def penalties(self) -> Any:
        """Read ½ l2 Σ w² of each batch, as `costs` does; 0 without `sums_squares`.

        Returns
        -------
        float64 array of shape (steps_done,)
            The penalties.

        Examples
        --------
        >>> import gpubp
        >>> network = gpubp.Network((1, 1), biases=False)
        >>> network.parameters = [2.0]
        >>> trainer = gpubp.Trainer(network, gpubp.SGD(l2=0.5))
        >>> trainer.training_step.sums_squares = True
        >>> trainer.step([[1.0]], [[2.0]])
        >>> trainer.training_step.penalties().tolist()  # ½ · 0.5 · 2²
        [1.0]
        """
        return self._numbers.penalties(self.optimizer.l2, self.steps_done)

    @property
    def last_cost(self) -> float:
        """Read the mean cost of the last step's batch, NaN before the first step; waits for the device."""
        return self._numbers.last_cost(self.steps_done)

    def release(self) -> None:
        """Drop the data, and the rates that no step has used.

        Examples
        --------
        >>> import gpubp
        >>> trainer = gpubp.Trainer(gpubp.Network((1, 1), initializer="zeros"), gpubp.SGD(0.5))
        >>> trainer.step([[0.0]], [[1.0]])
        >>> step = trainer.training_step
        >>> step.steps_prepared > 0
        True
        >>> step.release()
        >>> step.steps_prepared, step.rows.x
        (0, None)
        """
        self.rows.clear()
        self.steps_prepared = 0
