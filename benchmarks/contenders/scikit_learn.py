"""scikit-learn: the `partial_fit` of its multilayer perceptrons."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels.typing import Array
from ..tasks import AlternatingBatch, Architecture, OptimizerSettings, Weights
from .base import Contender, import_library

__all__ = ["ScikitLearn"]


class ScikitLearn(Contender):
    """scikit-learn's `partial_fit`.

    Its Adam adds ε to √v before the bias correction, the others add it after. So ε is chosen such that the
    first steps agree. A call with more rows than `batch_size` would take several steps, so `batch_size` is
    the number of rows of the batch.
    """

    name = "scikit-learn"

    def open(self) -> str:
        self._sklearn = import_library("sklearn.neural_network", "scikit-learn")
        return f"CPU, NumPy {np.__version__}"

    def load(
        self, architecture: Architecture, optimizer: OptimizerSettings, batch: AlternatingBatch
    ) -> None:
        self._x = batch.x
        targets = batch.targets
        kind = self._sklearn.MLPRegressor
        self._classes: dict[str, Any] = {}
        if architecture.is_classifier:
            kind = self._sklearn.MLPClassifier
            self._classes = {"classes": np.arange(architecture.sizes[-1])}
        elif targets[0].shape[1] == 1:
            targets = targets[0].ravel(), targets[1].ravel()
        self._targets = targets
        self._model = kind(
            hidden_layer_sizes=architecture.sizes[1:-1],
            solver=optimizer.name,
            learning_rate_init=optimizer.learning_rate,
            momentum=optimizer.momentum,
            nesterovs_momentum=False,
            epsilon=1e-8 * (1 - 0.999) ** 0.5,
            alpha=0.0,
            shuffle=False,
            random_state=0,
        )
        self._fit(self._x[:1], self._targets[0][:1])
        for coefficients, intercepts, (w, b) in zip(
            self._model.coefs_, self._model.intercepts_, architecture.weights(), strict=True
        ):
            coefficients[...], intercepts[...] = w.T, b
        # The call above made the arrays. Without an optimizer, the next call starts a fresh one on them.
        del self._model._optimizer
        self._model.set_params(batch_size=len(batch.x))
        self._steps = 0

    def _fit(self, x: Array, y: Array) -> None:
        self._model.set_params(batch_size=len(x))
        self._model.partial_fit(x, y, **self._classes)

    def step(self) -> None:
        self._model.partial_fit(self._x, self._next(self._targets), **self._classes)

    def cost(self) -> float:
        return float(self._model.loss_)

    def parameters(self) -> Weights:
        return [
            (np.array(w.T), np.array(b))
            for w, b in zip(self._model.coefs_, self._model.intercepts_, strict=True)
        ]

    def predict(self) -> Array:
        if self._classes:
            return self._model.predict_proba(self._x)
        return self._model.predict(self._x).reshape(len(self._x), -1)

    def load_epoch(self, data: AlternatingBatch) -> None:
        y = data.targets[0]
        self._data = data.x, y.ravel() if y.shape[-1] == 1 else y
        self._rng = np.random.default_rng(0)

    def epoch(self) -> None:
        x, y = self._data
        order = self._rng.permutation(len(x))
        for start in range(0, len(x), len(self._x)):
            rows = order[start : start + len(self._x)]
            self._model.partial_fit(x[rows], y[rows], **self._classes)
