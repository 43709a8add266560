"""Train the estimators: by batches with scikit-learn's stopping rules, or by L-BFGS."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import scipy.optimize
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from ..arrays import home_of, is_sparse, move, take, to_host
from ..backends import Array
from ..network import Network
from ..training import Callback, Checkpoint, History, Optimizer, Trainer, get_optimizer
from ..training.optimizers import OPTIMIZERS
from ..training.schedules import Schedule

__all__ = ["Record", "fit_batches", "fit_lbfgs"]

SMALLEST_RATE = 1e-6  # "adaptive" ends training when the learning rate is this small or smaller.

# The optimizers' names of parameters, and the estimators' names.
_PARAMETERS = {
    "momentum": "momentum",
    "nesterov": "nesterovs_momentum",
    "beta1": "beta_1",
    "beta2": "beta_2",
    "epsilon": "epsilon",
}


@dataclass
class Record:
    """The record of training, which warm starts and partial_fit continue.

    Attributes
    ----------
    loss_curve : list of float
        The loss of each epoch, with penalties.
    best_loss : float
        The lowest loss.
    scores : list of float
        The score on the held-out rows after each epoch.
    best_score : float
        The highest score.
    waited : int
        The number of epochs since the last improvement.
    seen : int
        The number of rows trained on.
    """

    loss_curve: list[float] = field(default_factory=list)
    best_loss: float = math.inf
    scores: list[float] = field(default_factory=list)
    best_score: float = -math.inf
    waited: int = 0
    seen: int = 0


@dataclass
class _Rate(Schedule):
    """The same factor for all steps of an epoch; `_Progress` changes it between epochs."""

    current: float = field(default=1.0, init=False)

    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        return np.full(len(steps), self.current)


class _Progress(Callback):
    """Updates the record, changes the learning rate, and stops training."""

    def __init__(
        self,
        settings: Any,
        record: Record,
        optimizer: Optimizer,
        rows: int,
        score: Callable[[], float] | None,
    ) -> None:
        self.settings, self.record, self.optimizer = settings, record, optimizer
        self.rows, self.score = rows, score
        self.best_parameters: Array | None = None
        self._penalty, self._share = 0.0, 0.0
        self._converged = False

    def on_fit_begin(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        self._stop = trainer.stop
        self._penalty = _penalty(trainer.network, self.optimizer.l2)
        self._share = (steps_per_epoch - 1) / (2 * steps_per_epoch)
        if self.score is not None:
            self.best_parameters = trainer.network.parameters.copy()

    def on_epoch_end(self, trainer: Trainer, history: History) -> None:
        record, settings = self.record, self.settings
        # Add the mean of the penalties before each step, assuming that every step changes them equally.
        before, self._penalty = self._penalty, _penalty(trainer.network, self.optimizer.l2)
        loss = history.cost[-1] + before + self._share * (self._penalty - before)
        record.loss_curve.append(loss)
        record.seen += self.rows
        if self.score is None:
            improved = loss <= record.best_loss - settings.tol
            record.best_loss = min(record.best_loss, loss)
            shown = ""
        else:
            score = self.score()
            record.scores.append(score)
            improved = score >= record.best_score + settings.tol
            if score > record.best_score:
                record.best_score = score
                self.best_parameters = trainer.network.parameters.copy()
            shown = f", validation score {score:.6f}"
        record.waited = 0 if improved else record.waited + 1
        if settings.verbose:
            print(f"epoch {len(history)}, loss {loss:.8f}{shown}")
        self._change_rate(trainer)

    def state(self) -> dict[str, Any]:
        record = asdict(self.record)
        lists = {name: np.array(record[name], np.float64) for name in ("loss_curve", "scores")}
        best = {} if self.best_parameters is None else {"best": to_host(self.best_parameters)}
        return record | lists | best | {"penalty": self._penalty, "converged": self._converged}

    def restore(self, state: dict[str, Any]) -> None:
        for item in fields(Record):
            value = state[item.name]
            setattr(
                self.record, item.name, value.tolist() if isinstance(value, np.ndarray) else value
            )
        self._penalty = state["penalty"]
        if self.best_parameters is not None:
            self.best_parameters[...] = move(state["best"], home_of(self.best_parameters))
        if state["converged"]:
            self._stop("converged")

    def _change_rate(self, trainer: Trainer) -> None:
        settings, record, rate = self.settings, self.record, trainer.schedule
        assert isinstance(rate, _Rate)
        plan = settings.learning_rate if settings.solver == "sgd" else "constant"
        if plan == "invscaling":
            rate.current = (record.seen + 1) ** -float(settings.power_t)
        if record.waited <= settings.n_iter_no_change:
            return
        if plan == "adaptive" and self.optimizer.learning_rate * rate.current > SMALLEST_RATE:
            rate.current /= 5
            record.waited = 0
        else:
            self._converged = True
            trainer.stop("converged")


def _rows_of(array: Array | None, chosen: Any) -> Array | None:
    return None if array is None else take(array, chosen)


def _mean_weight(weights: Array | None) -> float:
    """Return the mean sample weight; 1 if all are 0, an error that the trainer reports."""
    if weights is None:
        return 1.0
    return float(weights.sum(dtype=np.float64)) / len(weights) or 1.0


def _penalty(network: Network, l2: float) -> float:
    """Compute ½ l2 Σ w²."""
    if not l2:
        return 0.0
    backend = network.backend
    total = backend.zeros(1, np.float64)
    backend.weighted_sum(network.parameters[: network.layout.n_weights], None, total)
    return 0.5 * l2 * float(total[0])


def fit_batches(
    settings: Any,
    network: Network,
    X: Any,
    targets: Array,
    weights: Array | None,
    *,
    rng: Any,
    record: Record,
    trainer: Trainer | None,
    epochs: int,
    checkpoint: Checkpoint | None,
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
    rng : numpy.random.RandomState
        The generator of the held-out rows, then of a new trainer's seed.
    record : Record
        The record of earlier fits; it is updated.
    trainer : Trainer or None
        The trainer of the last fit. If the solver is the same, it is used again, with its optimizer's
        state.
    epochs : int
        The number of passes over the data.
    checkpoint : Checkpoint or None
        Where checkpoints are written. With warm_start, training goes on from the newest.

    Returns
    -------
    trainer : Trainer
        The trainer of this fit.
    history : History
        The record of this fit.
    """
    score = None
    if settings.early_stopping:
        train, held_out = _split(settings, targets, rng)
        data = X, targets, weights
        score = _scorer(settings, network, *(_rows_of(array, held_out) for array in data))
        X, targets, weights = (_rows_of(array, train) for array in data)
    rows = int(X.shape[0])
    batch_size = 200 if settings.batch_size == "auto" else int(settings.batch_size)
    if settings.batch_size != "auto" and batch_size > rows:
        _warn(f"batch_size is {batch_size}, but there are {rows} rows; it is taken as {rows}")
    batch_size = min(batch_size, rows)
    optimizer = _optimizer(settings, settings.alpha / (batch_size * _mean_weight(weights)))
    if trainer is None or type(trainer.optimizer) is not type(optimizer):
        seed = int(rng.randint(np.iinfo(np.int32).max))
        trainer = Trainer(network, optimizer, schedule=_Rate(), seed=seed)
    trainer.optimizer = optimizer
    trainer.batch_size, trainer.shuffle = batch_size, bool(settings.shuffle)
    progress = _Progress(settings, record, optimizer, rows, score)
    trainer.callbacks, trainer.checkpoint = [progress], checkpoint
    if checkpoint is not None and settings.warm_start and checkpoint.newest is not None:
        trainer.resume(checkpoint.folder)
    try:
        history = trainer.fit(X, targets, epochs=epochs, sample_weight=weights)
    finally:
        trainer.callbacks = []
    if progress.best_parameters is not None:
        network.parameters = progress.best_parameters
    if history.stopped == "interrupted":
        goes_on = (
            "" if checkpoint is None else "; fit goes on from the checkpoint with warm_start=True"
        )
        _warn(f"training was interrupted by the user{goes_on}")
    return trainer, history


def _scorer(
    settings: Any, network: Network, X: Any, targets: Array, weights: Array | None
) -> Callable[[], float]:
    """Give a function that scores the network, as it then is, on held-out rows."""
    targets, weights = to_host(targets), to_host(weights)

    def score() -> float:
        return float(settings._score(to_host(network.predict(X)), targets, weights))

    return score


def _split(settings: Any, targets: Array, rng: Any) -> tuple[Any, Any]:
    """Split rows into training rows and held-out rows, as scikit-learn does.

    With two classes, both parts have the same proportion of the classes.
    """
    two_classes = is_classifier(settings) and targets.ndim > 1 and targets.shape[1] == 1
    train, held_out = train_test_split(
        np.arange(len(targets)),
        random_state=rng,
        test_size=settings.validation_fraction,
        stratify=to_host(targets) if two_classes else None,
    )
    if len(held_out) < 2:
        raise ValueError(
            f"validation_fraction is {settings.validation_fraction}, which of {len(targets)} rows"
            " holds out fewer than the 2 that a score needs"
        )
    return train, held_out


def _optimizer(settings: Any, l2: float) -> Optimizer:
    fields = OPTIMIZERS[settings.solver].__dataclass_fields__
    parameters = {
        own: getattr(settings, name) for own, name in _PARAMETERS.items() if own in fields
    }
    rate = float(settings.learning_rate_init)
    return get_optimizer(settings.solver, learning_rate=rate, l2=l2, **parameters)


def fit_lbfgs(
    settings: Any, network: Network, twin: Network, X: Any, targets: Array, weights: Array | None
) -> History:
    """Train by L-BFGS, from the network's parameters.

    Parameters
    ----------
    settings : BaseMLP
        The estimator.
    network : Network
        The network to train.
    twin : Network
        A float64 copy of the network, which computes costs and gradients.
    X, targets, weights
        As in `fit_batches`.

    Returns
    -------
    History
        The record of the fit; its costs contain the penalty.
    """
    backend, n_weights = twin.backend, twin.layout.n_weights
    X, targets = X if is_sparse(X) else move(X, backend), move(targets, backend)
    l2 = settings.alpha / (X.shape[0] * _mean_weight(weights))
    history, latest = History(), [math.nan]

    def objective(theta: Any) -> tuple[float, Any]:
        twin.parameters = theta
        computed = twin.backprop(X, targets, weights)
        gradient, w = backend.to_numpy(computed.gradient), theta[:n_weights]
        gradient[:n_weights] += l2 * w
        latest[0] = computed.cost + 0.5 * l2 * float(w @ w)
        return latest[0], gradient

    def report(theta: Any) -> None:
        history.cost.append(latest[0])
        if settings.verbose:
            print(f"iteration {len(history)}, loss {latest[0]:.8f}")

    result = scipy.optimize.minimize(
        objective,
        network.backend.to_numpy(network.parameters).astype(np.float64),
        jac=True,
        method="L-BFGS-B",
        callback=report,
        options={"maxiter": settings.max_iter, "maxfun": settings.max_fun, "gtol": settings.tol},
    )
    network.parameters = result.x
    history.cost[-1:] = [float(result.fun)]
    history.best_epoch = len(history) - 1
    history.stopped = "epochs" if result.nit >= settings.max_iter else "converged"
    if result.status:
        history.stopped = str(result.message)
        _warn(
            f"lbfgs did not converge in {result.nit} iterations (max_iter={settings.max_iter},"
            f" max_fun={settings.max_fun}): {result.message}; scaling X may help",
            ConvergenceWarning,
        )
    return history


def _warn(message: str, category: type[Warning] = UserWarning) -> None:
    warnings.warn(message, category, stacklevel=5)
