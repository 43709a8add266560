"""Train the estimators by batches, with scikit-learn's numbers and stopping rules."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import is_classifier
from sklearn.model_selection import train_test_split

from ..arrays import home_of, move, take, to_host
from ..backends import Array
from ..errors import DivergenceError
from ..network import Network
from ..training import Callback, History, Optimizer, Trainer, get_optimizer
from ..training.callbacks import as_callbacks
from ..training.checkpoint import as_checkpoint
from ..training.optimizers import OPTIMIZERS
from .progress import bar_of
from .rates import Rate, rate_of
from .record import Record
from .validation_data import Rows

__all__ = ["fit_batches", "trainer_of"]

SMALLEST_RATE = 1e-6  # "adaptive" ends training when the learning rate is this small or smaller.

# The optimizers' names of parameters, and the estimators' names.
_PARAMETERS = {
    "momentum": "momentum",
    "nesterov": "nesterovs_momentum",
    "beta1": "beta_1",
    "beta2": "beta_2",
    "epsilon": "epsilon",
}
# The forms of the optimizers that scikit-learn has.
_FORMS = {"sgd": {"rate_in_velocity": True}, "adam": {"epsilon_hat": True}}


class _Progress(Callback):
    """Updates the record, changes the learning rate, and stops training."""

    def __init__(
        self,
        settings: Any,
        record: Record,
        rows: int,
        weighted: bool,
        loss_factor: float,
        score: Callable[[], float] | None,
        incremental: bool,
    ) -> None:
        self.settings, self.record, self.rows = settings, record, rows
        self.weighted, self.loss_factor, self.score = weighted, loss_factor, score
        self.incremental = incremental
        self._penalties: Any = np.zeros(0)  # of the epoch's steps before a checkpoint
        self._within_epoch = self._converged = False

    def on_fit_begin(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        self._trainer = trainer
        trainer.training_step.sums_squares = trainer.optimizer.l2 > 0
        starts = trainer.batch_size * np.arange(steps_per_epoch)
        self._counts = np.minimum(trainer.batch_size, self.rows - starts)
        goes_on = self.incremental and self.record.best_parameters is not None
        if self.score is None:
            self.record.best_parameters = None  # those of earlier calls with early stopping
        elif not goes_on:
            self.record.best_parameters = trainer.network.parameters.copy()

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        self._within_epoch = True

    def on_epoch_end(self, trainer: Trainer, history: History) -> None:
        score = None if self.score is None else self.score()
        self.add_epoch(len(history), self._loss(trainer, history), score)
        self._within_epoch, self._penalties = False, np.zeros(0)
        self._change_rate(trainer)

    def _loss(self, trainer: Trainer, history: History) -> float:
        """Compute the mean over the epoch's rows of their batches' losses, each before its update."""
        step, cost = trainer.training_step, history.cost[-1]
        counts = self._counts[: step.steps_done]
        if (
            self.weighted
        ):  # scikit-learn weighs batches by their rows, and the history by sample weights
            cost = float(counts @ step.costs() / counts.sum())
        penalty = float(counts @ self._all_penalties() / counts.sum()) if step.sums_squares else 0.0
        return self.loss_factor * cost + penalty

    def _all_penalties(self) -> Any:
        """Read the penalties of the epoch's steps, including those before a checkpoint."""
        penalties = self._trainer.training_step.penalties()
        penalties[: len(self._penalties)] = self._penalties
        return penalties

    def add_epoch(self, number: int, loss: float, score: float | None) -> None:
        """Add an epoch to the record. What is not a number counts as an improvement, as in scikit-learn."""
        record, settings = self.record, self.settings
        record.loss_curve.append(loss)
        record.seen += self.rows
        if settings.verbose:
            print(f"Iteration {number}, loss = {loss:.8f}")
        if score is None:
            fails = loss > record.best_loss - settings.tol
            record.best_loss = min(record.best_loss, loss)
        else:
            record.scores.append(score)
            if settings.verbose:
                print(f"Validation score: {score:f}")
            fails = score < record.best_score + settings.tol
            if score > record.best_score:
                record.best_score = score
                record.best_parameters = self._trainer.network.parameters.copy()
        record.waited = record.waited + 1 if fails else 0

    def state(self) -> dict[str, Any]:
        record = {item.name: getattr(self.record, item.name) for item in fields(Record)}
        lists = {name: np.array(record[name], np.float64) for name in ("loss_curve", "scores")}
        best = record.pop("best_parameters")
        arrays = lists if best is None else {**lists, "best_parameters": to_host(best)}
        penalties = self._all_penalties() if self._within_epoch else np.zeros(0)
        return record | arrays | {"penalties": penalties, "converged": self._converged}

    def restore(self, state: dict[str, Any]) -> None:
        record = self.record
        best = record.best_parameters
        for item in fields(Record):
            value = state.get(item.name)
            setattr(record, item.name, value.tolist() if isinstance(value, np.ndarray) else value)
        if best is not None:
            best[...] = move(state["best_parameters"], home_of(best))
        record.best_parameters = best
        self._penalties = state["penalties"]
        if state["converged"]:
            self._trainer.stop("converged")

    def _change_rate(self, trainer: Trainer) -> None:
        settings, record, rate = self.settings, self.record, trainer.schedule
        assert isinstance(rate, Rate)
        plan = settings.learning_rate if settings.solver == "sgd" else "constant"
        if plan == "invscaling":
            rate.current = rate.initial / (record.seen + 1) ** float(settings.power_t)
        if record.waited <= settings.n_iter_no_change:
            return
        if plan == "adaptive" and rate.current > SMALLEST_RATE:
            rate.current /= 5
            record.waited = 0
            consequence = f"Setting learning rate to {rate.current:f}"
        else:
            self._converged = True
            trainer.stop("converged")
            consequence = f"{'Learning rate too small. ' if plan == 'adaptive' else ''}Stopping."
        if settings.verbose:
            watched = "Training loss" if self.score is None else "Validation score"
            print(
                f"{watched} did not improve more than tol={settings.tol:f} for"
                f" {settings.n_iter_no_change} consecutive epochs. {consequence}"
            )


def _rows_of(array: Array | None, chosen: Any) -> Array | None:
    return None if array is None else take(array, chosen)


def fit_batches(
    settings: Any,
    network: Network,
    X: Any,
    targets: Array,
    weights: Array | None,
    scored: Rows | None,
    *,
    loss_factor: float,
    rng: Any,
    record: Record,
    trainer: Trainer | None,
    incremental: bool,
) -> tuple[Trainer, History]:
    """Train by batches, with the estimator's parameters.

    Parameters
    ----------
    settings : BaseMLP
        The estimator.
    network : Network
        The network to train.
    X : array or CSR matrix of shape (n_samples, n_features)
        Inputs.
    targets : array of shape (n_samples,) or (n_samples, n_outputs)
        Targets in the network's form.
    weights : array of shape (n_samples,) or None
        Sample weights.
    scored : Rows or None
        The rows that early stopping scores; by default a share of X.
    loss_factor : float
        The loss that is reported, as a part of the network's cost; the penalty is added to it.
    rng : numpy.random.RandomState
        The generator of the held-out rows, then of the batch order.
    record : Record
        The record of earlier fits; it is updated.
    trainer : Trainer or None
        The trainer of the last fit. If the solver is the same, it is used again, with its optimizer's
        state.
    incremental : bool
        Whether this is a call of partial_fit: one epoch, without checkpoints. Early stopping then restores
        the best parameters only when it says stop.

    Returns
    -------
    trainer : Trainer
        The trainer of this fit.
    history : History
        The record of this fit.

    Raises
    ------
    DivergenceError
        If the loss is no longer finite. With early stopping, the network has its best parameters instead,
        and the record has NaN for the remaining epochs.
    """
    if settings.early_stopping and scored is None:
        train, held_out = _split(settings, targets, rng)
        data = X, targets, weights
        scored = Rows(*(_rows_of(array, held_out) for array in data))
        X, targets, weights = (_rows_of(array, train) for array in data)
    score = None if scored is None else _scorer(settings, network, *scored)
    rows = int(X.shape[0])
    batch_size = _batch_size(settings, rows)
    trainer = trainer_of(settings, network, rng, trainer)
    trainer.batch_size, trainer.shuffle = batch_size, bool(settings.shuffle)
    trainer.layer_rates = settings.layer_rates
    progress = _Progress(
        settings, record, rows, weights is not None, loss_factor, score, incremental
    )
    trainer.callbacks = [progress, *as_callbacks(settings.callbacks)]
    if settings.progress and not incremental:
        trainer.callbacks.append(bar_of(record, rows))
    checkpoint = None if incremental else as_checkpoint(settings.checkpoint)
    trainer.checkpoint = checkpoint
    if checkpoint is not None and settings.warm_start and checkpoint.newest is not None:
        trainer.resume(checkpoint.folder)
    epochs = 1 if incremental else int(settings.max_iter)
    try:
        history = trainer.fit(X, targets, epochs=epochs, sample_weight=weights)
    except DivergenceError as error:
        history = _without_divergence(error, progress, epochs)
    finally:
        trainer.callbacks = []
    if record.best_parameters is not None and (not incremental or history.stopped == "converged"):
        network.parameters = record.best_parameters
    if not incremental:
        record.best_parameters = None
    if history.stopped == "interrupted":
        goes_on = (
            "" if checkpoint is None else " fit goes on from the checkpoint with warm_start=True."
        )
        warnings.warn(f"Training interrupted by user.{goes_on}", stacklevel=5)
    return trainer, history


def trainer_of(settings: Any, network: Network, rng: Any, earlier: Trainer | None) -> Trainer:
    """Return a trainer of this network, with the state of the earlier one if the solver is the same."""
    optimizer, rate = _optimizer(settings), rate_of(settings)
    if earlier is None or type(earlier.optimizer) is not type(optimizer):
        return Trainer(network, optimizer, schedule=rate, seed=rng)
    known = earlier.schedule
    if type(known) is Rate and known.initial == rate.initial:  # else it is not the rate of this fit
        rate = copy.copy(known)  # after an error the known one is as it was
    if earlier.network is not network:
        trainer = Trainer(network, optimizer, schedule=rate, seed=rng)
        trainer.training_step.restore(earlier.training_step.take())
        return trainer
    earlier.optimizer, earlier.order.rng, earlier.schedule = optimizer, rng, rate
    return earlier


def _without_divergence(error: DivergenceError, progress: _Progress, epochs: int) -> History:
    """Record the remaining epochs as not finite; without early stopping, raise the error."""
    history = error.history
    assert isinstance(history, History)
    if progress.record.best_parameters is None:
        broken = str(error).partition("; the network has")[0]
        raise DivergenceError(
            "Solver produced non-finite parameter weights. The input data may contain large values and"
            f" need to be preprocessed. A lower learning_rate_init or clip_norm may help too: {broken};"
            " the estimator is as it was before",
            error.epoch,
            history,
        ) from None
    for number in range(len(history) + 1, epochs + 1):
        progress.add_epoch(number, math.nan, math.nan)
        history.cost.append(math.nan)
        history.learning_rate.append(math.nan)
        history.seconds.append(0.0)
    return history


def _batch_size(settings: Any, rows: int) -> int:
    if settings.batch_size == "auto":
        return min(200, rows)
    if settings.batch_size > rows:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped:"
            f" batch_size is {settings.batch_size}, but there are {rows} rows",
            stacklevel=6,
        )
    return min(int(settings.batch_size), rows)


def _scorer(
    settings: Any, network: Network, X: Any, targets: Array, weights: Array | None
) -> Callable[[], float]:
    """Give a function that scores the network, as it then is, on held-out rows."""
    targets, weights = to_host(targets), to_host(weights)
    if weights is not None and not weights.any():
        raise ValueError(
            "Sample weights must contain at least one non-zero number, also those of the rows that"
            " early_stopping scores."
        )

    def score() -> float:
        return float(settings._score(to_host(network.predict(X)), targets, weights))

    return score


def _split(settings: Any, targets: Array, rng: Any) -> tuple[Any, Any]:
    """Split rows into training rows and held-out rows, as scikit-learn does.

    With two classes, both parts have the same proportion of the classes.
    """
    two_classes = is_classifier(settings) and targets.ndim > 1 and targets.shape[1] == 1
    given = f"validation_fraction is {settings.validation_fraction}"
    try:
        with config_context(
            skip_parameter_validation=True
        ):  # its errors are then those of their fit
            train, held_out = train_test_split(
                np.arange(len(targets)),
                random_state=rng,
                test_size=settings.validation_fraction,
                stratify=to_host(targets) > 0.5 if two_classes else None,
            )
    except ValueError as error:
        raise ValueError(f"{error} ({given})") from None
    if len(held_out) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            f" ({given}, which of {len(targets)} rows holds out fewer than the 2 that a score needs)"
        )
    return train, held_out


def _optimizer(settings: Any) -> Optimizer:
    fields = OPTIMIZERS[settings.solver].__dataclass_fields__
    parameters: dict[str, Any] = {
        own: getattr(settings, name) for own, name in _PARAMETERS.items() if own in fields
    }
    if settings.weight_decay is not None:
        parameters["weight_decay"] = settings.weight_decay
    return get_optimizer(
        settings.solver,
        learning_rate=float(settings.learning_rate_init),
        l2=float(settings.alpha),
        clip_norm=settings.clip_norm,
        **parameters,
        **_FORMS.get(settings.solver, {}),
    )
