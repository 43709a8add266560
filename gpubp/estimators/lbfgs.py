"""Train the estimators by L-BFGS, on all rows at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import numpy as np
import scipy.optimize
from sklearn.exceptions import ConvergenceWarning

from ..backends import Array
from ..backends.numpy.blas_threads import on_one_thread
from ..network import Network
from ..training import SGD, BatchForm, History, TrainingStep
from ..training.data import Dataset
from ..training.order import DataOrder

__all__ = ["fit_lbfgs"]


class _Objective:
    """The loss and its gradient, as functions of the parameters.

    Each call replays the first half of one captured training step.
    """

    def __init__(
        self,
        network: Network,
        X: Any,
        targets: Array,
        weights: Array | None,
        alpha: float,
        loss_factor: float,
    ) -> None:
        self._network, self._loss_factor = network, loss_factor
        self._data = Dataset(network, X, targets, weights)
        rows = len(self._data)
        self._order = DataOrder(np.random.default_rng(0))
        self._order.draw(rows, rows, shuffle=False)
        total = self._data.total_weight(self._order.rows)
        self._l2 = alpha / total if total else 0.0
        # A step with `reduce` adds up the whole gradient in its first half.
        self._step = TrainingStep(
            network, SGD(l2=self._l2), dropout_seed=0, reduce=lambda gradient: None
        )
        self._step.sums_squares = True
        self._form = BatchForm(
            rows=rows,
            labels=self._data.labels,
            weighted=self._data.weights is not None,
            block_limit=None,
            sparse=self._data.sparse,
        )
        self._step.make_room([self._form], 1)
        next(self._data.batches(self._step.rows, self._order, 0))  # all rows, in every call
        self.latest = np.nan

    @cached_property
    def _compute(self) -> Callable[[], None]:
        """The captured half."""
        return self._network.backend.capture(self._step.halves(self._form)[0])

    def __call__(self, theta: Any) -> tuple[float, Any]:
        network, step = self._network, self._step
        network.parameters[...] = network.backend.asarray(theta)
        step.prepare(1)
        with np.errstate(all="ignore"):
            self._compute()
        step.count()
        gradient = network.backend.to_numpy(step.gradient).astype(np.float64)
        n_weights = network.layout.n_weights
        gradient[:n_weights] += self._l2 * theta[:n_weights]
        # With several outputs, scikit-learn's squared error is the mean over them, but its gradient is that
        # of the sum. The same numbers give the same steps.
        cost = float(step.costs()[0])
        self.latest = self._loss_factor * cost + float(step.penalties()[0])
        return self.latest, gradient


def fit_lbfgs(
    settings: Any,
    network: Network,
    X: Any,
    targets: Array,
    weights: Array | None,
    loss_factor: float,
) -> tuple[History, float]:
    """Train by L-BFGS, from the network's parameters.

    Parameters
    ----------
    settings : BaseMLP
        The estimator.
    network : Network
        The network to train.
    X, targets, weights, loss_factor
        As in `fit_batches`.

    Returns
    -------
    history : History
        The record of the fit; its costs contain the penalty, and there is one for each iteration.
    loss : float
        The last loss, with the penalty.
    """
    history, to_numpy = History(), network.backend.to_numpy
    with network.backend.use(), network.backend.keep_kernels():
        objective = _Objective(network, X, targets, weights, settings.alpha, loss_factor)

        def report(theta: Any) -> None:
            history.cost.append(objective.latest)
            if settings.verbose:
                print(f"Iteration {len(history)}, loss = {objective.latest:.8f}")

        minimize = partial(
            scipy.optimize.minimize,
            objective,
            to_numpy(network.parameters).astype(np.float64),
            jac=True,
            method="L-BFGS-B",
            callback=report,
            options={
                "maxiter": settings.max_iter,
                "maxfun": settings.max_fun,
                "gtol": settings.tol,
            },
        )
        result = on_one_thread(minimize)
    network.parameters = result.x
    history.best_epoch = len(history) - 1
    history.stopped = str(result.message) if result.status else "converged"
    if result.status:
        _warn_of_no_convergence(result, settings)
    return history, float(result.fun)


def _warn_of_no_convergence(result: Any, settings: Any) -> None:
    """Warn in words that contain scikit-learn's."""
    iterations = min(result.nit, settings.max_iter)
    more = ""
    if iterations == settings.max_iter:
        more = (
            "\nIncrease the number of iterations to improve the convergence"
            f" (max_iter={settings.max_iter})."
        )
    warnings.warn(
        f"lbfgs failed to converge after {iterations} iteration(s) (status={result.status}):\n"
        f"{result.message}\n{more}\n"
        "You might also want to scale the data as shown in:\n"
        "    https://scikit-learn.org/stable/modules/preprocessing.html",
        ConvergenceWarning,
        stacklevel=6,
    )
