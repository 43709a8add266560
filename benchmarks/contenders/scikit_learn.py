"""scikit-learn: the `partial_fit` of its multilayer perceptrons."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels.typing import Array
from ..tasks import AlternatingBatch, Architecture, OptimizerSettings, Weights
from .base import Contender, alternated, import_library

__all__ = ["ScikitLearn"]


class ScikitLearn(Contender):
    """scikit-learn's `partial_fit`, which goes once over the rows that it gets, in batches of `batch_size`.

    Each call checks the data and the model, which takes longer than a small step. Its users give it many
    rows. So steps are timed in calls of up to 64 batches, and an epoch is one call with all rows, which it
    shuffles itself.

    Its Adam adds ε to √v before the bias correction, the others add it after. So ε is chosen such that the
    first steps agree. The loss of a regressor is the mean over the outputs, not their sum.
    """

    name = "scikit-learn"
    library = "scikit-learn"
    activations = ("relu", "tanh")
    steps_at_once = 64

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
        self._outputs = 1 if architecture.is_classifier else architecture.sizes[-1]
        self._tiled: dict[tuple[int, int], tuple[Array, Array]] = {}
        self._model = kind(
            hidden_layer_sizes=architecture.sizes[1:-1],
            activation=architecture.hidden,
            solver=optimizer.name,
            learning_rate_init=optimizer.learning_rate,
            momentum=optimizer.momentum,
            nesterovs_momentum=False,
            epsilon=1e-8 * (1 - 0.999) ** 0.5,
            alpha=0.0,
            batch_size=1,
            shuffle=False,
            random_state=0,
        )
        self._model.partial_fit(self._x[:1], self._targets[0][:1], **self._classes)
        for coefficients, intercepts, (w, b) in zip(
            self._model.coefs_, self._model.intercepts_, architecture.weights(), strict=True
        ):
            coefficients[...], intercepts[...] = w.T, b
        # The call above made the arrays. Without an optimizer, the next call starts a fresh one on them.
        del self._model._optimizer
        self._model.set_params(batch_size=len(batch.x))
        self._steps = 0

    def step(self) -> None:
        self.steps(1)

    def steps(self, count: int) -> None:
        first = self._steps % 2
        self._steps += count
        if (count, first) not in self._tiled:
            self._tiled = {(count, first): alternated(self._x, self._targets, count, first)}
        self._model.partial_fit(*self._tiled[count, first], **self._classes)

    def cost(self) -> float:
        return self._outputs * float(self._model.loss_)

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

    def epoch(self) -> None:
        self._model.set_params(shuffle=True)
        self._model.partial_fit(*self._data, **self._classes)
        self._model.set_params(shuffle=False)
