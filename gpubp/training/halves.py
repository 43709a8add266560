"""A training step's two halves: the gradient of a batch, then the update of the parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ..backends import Array, Rows
from ..backprop import NOTHING, backpropagate
from ..kernels import StepVariables
from ..layers import Parameters
from ..network import Network
from ..problem import Rounding
from ..workspace import Workspace
from .data import BatchForm
from .layer_rates import LayerRates
from .optimizer_state import OptimizerState
from .step_numbers import StepNumbers
from .update_parts import UpdatePart, UpdateParts

__all__ = ["StepArrays", "StepHalves"]


@dataclass(frozen=True)
class StepArrays:
    """What a network's steps read and write, whatever the form of their batches.

    Attributes
    ----------
    rows : Rows
        The rows of the batches.
    gradients : list of arrays of shape (size,)
        The gradient of each shard; the first becomes that of the whole batch.
    views : list of lists of Parameters
        The views of each gradient.
    counters : array of int64, shape (2,)
        The steps since training began, and since `StepNumbers.prepare`.
    numbers : StepNumbers
        The rates and costs of the steps.
    squared_norm : array of float64, shape (1,)
        The squared norm of the gradient, if the update needs it.
    loss_scale : array of float64, shape (3,), or None
        The loss scale; None if the loss is not scaled.
    """

    rows: Rows
    gradients: list[Array]
    views: list[list[Parameters]]
    counters: Array
    numbers: StepNumbers
    squared_norm: Array
    loss_scale: Array | None


class StepHalves:
    """The halves of a step on batches of one form, with buffers of their own.

    Parameters
    ----------
    network : Network
        The network to train.
    form : BatchForm
        The form of the batches.
    arrays : StepArrays
        What the steps read and write.
    optimizer_state : OptimizerState
        The optimizer and its state.
    layer_rates : LayerRates
        The factors of the layers' learning rates.
    dropout_seed : int
        Seed of the dropout masks.
    gradient_is_read : bool
        Whether the gradient of the whole batch is read between the halves.
    sums_squares : bool
        Whether to compute Σ w².
    """

    def __init__(
        self,
        network: Network,
        form: BatchForm,
        arrays: StepArrays,
        optimizer_state: OptimizerState,
        *,
        layer_rates: LayerRates,
        dropout_seed: int,
        gradient_is_read: bool,
        sums_squares: bool,
    ) -> None:
        self._network, self._arrays, self._optimizer_state = network, arrays, optimizer_state
        self._sums_squares = sums_squares
        self._problem = network.problem(arrays.counters, dropout_seed)
        self._workspace = Workspace(
            *(self._problem, form.rows, "train"),
            limit=form.block_limit,
            labels=form.labels,
            sparse=form.sparse,
            loss_scale=arrays.loss_scale,
        )
        shards = self._workspace.shards
        shard_gradients = arrays.gradients[1 : len(shards)]
        # If the whole gradient is read before the update, the first half adds up the shards.
        if gradient_is_read or optimizer_state.plan.needs_norm:
            self._added, self._left = shard_gradients, []
        else:
            self._added, self._left = [], shard_gradients
        # The gradients of an `apart` block may still run on a branch, for which the update would not wait.
        whole_only = gradient_is_read or optimizer_state.plan.needs_norm or shards[0][-1].apart
        self._parts = self._all = UpdateParts.by_rate(network.layout, layer_rates)
        whole_only = whole_only or self._all != UpdateParts.whole(network.layout)
        if network.backend.updates_beside and len(shards) == 1 and not whole_only:
            self._parts = UpdateParts.by_layer(network.layout)
        self._views = [
            [
                view if trained else None
                for view, trained in zip(views, layer_rates.trained, strict=True)
            ]
            for views in arrays.views
        ]

    @property
    def clear_frozen(self) -> list[Callable[[], None]]:
        """Functions that set the gradient of frozen layers, which no half writes, to 0."""
        pairs = zip(self._arrays.views[0], self._views[0], strict=True)
        frozen = [array for views, used in pairs if used is None for array in views]
        return [partial(array.fill, 0) for array in frozen if array is not None]

    def run(self, steps: int = 1) -> None:
        """Run steps in a row. The first rounds the weights; then each update rounds them for the next."""
        # Where steps are captured together, the last one rounds too. A single step has then compiled every
        # kernel that several need: none is compiled during a capture.
        always = self._network.backend.steps_at_once > 1
        for k in range(steps):
            rounding = self._problem.rounding if always or k < steps - 1 else None
            after_layer = {
                layer: partial(self._update, part, rounding, advances=False)
                for layer, part in self._parts.beside.items()
            }
            self.gradient(weights_are_rounded=k > 0, after_layer=after_layer)
            self.update(self._parts.after, rounding)

    def gradient(
        self,
        *,
        weights_are_rounded: bool = False,
        after_layer: Mapping[int, Callable[[], None]] = NOTHING,
    ) -> None:
        """Compute the gradient of the batch, divided by the loss scale."""
        problem = self._problem
        if weights_are_rounded and problem.rounding is not None:
            problem = replace(problem, rounding=replace(problem.rounding, is_current=True))
        arrays, backend = self._arrays, self._network.backend
        gradient, beta = arrays.gradients[0], self._optimizer_state.plan.beta
        if self._sums_squares:
            weights = self._network.parameters[: self._network.layout.n_weights]
            backend.weighted_sum(weights, weights, arrays.numbers.squares, arrays.counters)
        backpropagate(
            *(problem, self._workspace, arrays.rows, self._views, beta),
            *(arrays.numbers.costs, after_layer),
        )
        for place, _ in self._all.after:
            for shard_gradient in self._added:
                backend.add(shard_gradient[place], gradient[place])
            if arrays.loss_scale is not None:
                backend.multiply(gradient[place], arrays.loss_scale[1:], gradient[place])

    def update(self, parts: Sequence[UpdatePart] = (), rounding: Rounding | None = None) -> None:
        """Update the parameters that are trained, or these parts of them, and advance the counters."""
        arrays, whole = self._arrays, self._all.after
        self._optimizer_state.compute_norm(arrays.squared_norm, [place for place, _ in whole])
        *before, last = parts or whole
        for part in before:
            self._update(part, rounding, advances=False)
        self._update(last, rounding, advances=True)
        if arrays.loss_scale is not None:
            self._network.backend.adapt_loss_scale(arrays.loss_scale, arrays.squared_norm)

    def _update(self, part: UpdatePart, rounding: Rounding | None, *, advances: bool) -> None:
        """Update a part of the parameters and of the optimizer's state."""
        arrays, rates = self._arrays, self._arrays.numbers.rates[part.factor]
        variables = StepVariables(rates, arrays.counters, arrays.squared_norm)
        self._optimizer_state.update(variables, self._left, part.place, rounding, advances=advances)
