"""What a trainer tells of itself: its state, its repr, and which learning rate suits its data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ..backends import Backend, on_device
from .optimizers import Optimizer, get_optimizer
from .order import DataOrder
from .range_test import LearningRateCurve, range_test
from .schedules import Constant
from .step import TrainingStep

__all__ = ["TrainerProperties"]


class TrainerProperties:
    """The base class of `Trainer` with its state and its repr."""

    _training_step: TrainingStep
    _order: DataOrder
    _stop_reason: str

    @property
    def backend(self) -> Backend:
        """The network's backend."""
        return self._training_step.backend

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer, which may be set to another, also by its name, between fits and by callbacks.

        The state is kept if both run the same update with the same state, for example Adam with other
        hyperparameters. Otherwise the state begins at zero.

        Examples
        --------
        >>> import gpubp
        >>> trainer = gpubp.Trainer(gpubp.Network((1, 1)), "adam")
        >>> trainer.optimizer = "sgd"
        >>> trainer.optimizer
        SGD(learning_rate=0.01)
        """
        return self._training_step.optimizer

    @optimizer.setter
    @on_device
    def optimizer(self, optimizer: str | Optimizer) -> None:
        self._training_step.optimizer = get_optimizer(optimizer)

    @property
    def learning_rate(self) -> float:
        """η, the optimizer's learning rate, which the schedule multiplies.

        It may be set between fits, and by callbacks: it then counts from the next step on. The optimizer's
        state is kept. A checkpoint contains the rate that a callback has set.

        Examples
        --------
        >>> import gpubp
        >>> trainer = gpubp.Trainer(gpubp.Network((1, 1)), gpubp.Adam(1e-3))
        >>> trainer.learning_rate /= 2
        >>> trainer.optimizer
        Adam(learning_rate=0.0005)
        """
        return self.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: float) -> None:
        self.optimizer = replace(self.optimizer, learning_rate=learning_rate)

    @property
    def layer_rates(self) -> tuple[float, ...] | None:
        """The layers' factors of the learning rate; they may be set as `learning_rate` may.

        Examples
        --------
        The first layer is frozen: the weights are 1 and 1 before the step, and η is 0.5.

        >>> import gpubp
        >>> network = gpubp.Network((1, 1, 1), biases=False)
        >>> network.parameters = [1.0, 1.0]
        >>> trainer = gpubp.Trainer(network, gpubp.SGD(0.5), layer_rates=[0.0, 1.0])
        >>> trainer.step([[1.0]], [[0.0]])
        >>> network.parameters.tolist()
        [1.0, 0.5]
        """
        return self._training_step.layer_rates

    @layer_rates.setter
    @on_device
    def layer_rates(self, layer_rates: Sequence[float] | None) -> None:
        self._training_step.layer_rates = layer_rates

    @property
    def training_step(self) -> TrainingStep:
        """The step that the trainer runs."""
        return self._training_step

    @property
    def order(self) -> DataOrder:
        """The order of the rows. Between fits its generator may be set to another."""
        return self._order

    @property
    @on_device
    def loss_scale(self) -> float:
        """The factor of the cost in the backward pass.

        With precision "float16" it is a power of two, and training adapts it. A step whose scaled gradient
        overflows changes no parameter. With other precisions the factor is 1.
        """
        return self._training_step.loss_scale

    @property
    @on_device
    def step_cost(self) -> float:
        """The mean cost of the last step's batch, computed before its update.

        The last step was made by `step` or by `fit`; callbacks see the latest. The cost is NaN before the
        first step, also of a copy. To read it waits for the device.

        Examples
        --------
        >>> import gpubp
        >>> trainer = gpubp.Trainer(gpubp.Network((1, 1), initializer="zeros"))
        >>> trainer.step([[1.0]], [[2.0]])
        >>> trainer.step_cost  # ½ (2 - 0)²
        2.0
        """
        return self._training_step.last_cost

    @property
    def stop_reason(self) -> str:
        """The argument of `stop` in the latest fit; "" if it was not called.

        Examples
        --------
        >>> import gpubp
        >>> trainer = gpubp.Trainer(
        ...     gpubp.Network((1, 1)), callbacks=[lambda trainer, history: trainer.stop("one is enough")]
        ... )
        >>> len(trainer.fit([[0.0]], [[0.0]], epochs=10)), trainer.stop_reason
        (1, 'one is enough')
        """
        return self._stop_reason

    def find_learning_rate(
        self,
        x: Any,
        y: Any = None,
        *,
        low: float = 1e-7,
        high: float = 10.0,
        steps: int = 100,
        sample_weight: Any = None,
        seed: int = 0,
    ) -> LearningRateCurve:
        """Train a copy of the network with rising learning rates, to see which of them suits (Smith 2017).

        The copy has the trainer's batch size, layer rates and optimizer, whose state begins at zero, but
        neither its schedule nor its callbacks. Network and trainer stay as they are. The test ends early
        when the cost has risen to four times its minimum. Small batches need more steps, because their
        costs differ more.

        Parameters
        ----------
        x, y : arrays of shape (rows, n_in) and (rows, n_out) or (rows,)
            The data, as in `fit`. A step is made on each batch, for several epochs if they are few.
        low, high : float, default 1e-7 and 10
            The first and the last learning rate, above 0; they rise by the same factor from step to step.
        steps : int, default 100
            The number of steps, at least 10.
        sample_weight : array of shape (rows,), optional
            Sample weights, as in `fit`.
        seed : int, default 0
            Seed of the order of the rows and of dropout.

        Returns
        -------
        LearningRateCurve
            The costs, the `suggestion`, and `plot`.

        Raises
        ------
        ValueError
            If an argument is not valid; the message names it.
        DivergenceError
            If the cost of the first batch is not finite.

        Examples
        --------
        >>> import gpubp
        >>> x, y = [[-1.0], [0.0], [1.0]], [[-1.0], [1.0], [3.0]]
        >>> trainer = gpubp.Trainer(gpubp.Network((1, 1), seed=0), gpubp.SGD(0.5), batch_size=3)
        >>> curve = trainer.find_learning_rate(x, y)
        >>> print(f"{curve.learning_rates[0]:.0e} to {curve.learning_rates[-1]:.0e}")
        1e-07 to 1e+01
        >>> 0.01 < curve.suggestion < 1
        True
        >>> trainer.learning_rate = curve.suggestion
        """
        return range_test(self, x, y, sample_weight, low=low, high=high, steps=steps, seed=seed)

    def __repr__(self) -> str:
        lines = [repr(self._training_step.network), repr(self.optimizer), *_shown_settings(self)]
        listed = "".join(f"    {line},\n" for line in lines)
        return f"{type(self).__name__}(\n{listed})"


def _shown_settings(trainer: Any) -> list[str]:
    """Write the batch size, and the settings that differ from their defaults."""
    early_stopping, checkpoint = trainer.early_stopping, trainer.checkpoint
    written = {
        "schedule": "" if trainer.schedule == Constant() else repr(trainer.schedule),
        "shuffle": "" if trainer.shuffle is True else repr(trainer.shuffle),
        "accumulate": "" if trainer.accumulate == 1 else str(trainer.accumulate),
        "layer_rates": "" if trainer.layer_rates is None else str(trainer.layer_rates),
        "early_stopping": "" if early_stopping is None else repr(early_stopping),
        "callbacks": _listed(map(str, trainer.callbacks)),
        "checkpoint": "" if checkpoint is None else repr(checkpoint),
        "metrics": _listed(map(repr, trainer.metrics)),
    }
    changed = [f"{name}={text}" for name, text in written.items() if text]
    return [f"batch_size={trainer.batch_size}", *changed]


def _listed(texts: Iterable[str]) -> str:
    joined = ", ".join(texts)
    return f"[{joined}]" if joined else ""
