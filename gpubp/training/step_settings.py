"""What a training step is set to. Captured steps are dropped where they do not fit a new setting."""

from __future__ import annotations

from collections.abc import Sequence

from ..backends import Array, Backend
from ..signals import uninterrupted
from .captures import Replay, StepsInARow
from .data import BatchForm
from .layer_rates import LayerRates
from .optimizers import Optimizer
from .state import HasState
from .step_numbers import StepNumbers

__all__ = ["StepSettings"]


class StepSettings(HasState):
    """The base class of `TrainingStep` with its settings and what it tells of itself."""

    captured: dict[BatchForm, Replay]
    _in_a_row: dict[BatchForm, StepsInARow]
    _dropout_seed: int
    _sums_squares: bool
    _layer_rates: LayerRates
    _gradients: list[Array]
    _numbers: StepNumbers

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

    def _forget_captures(self) -> None:
        self.captured, self._in_a_row = {}, {}
