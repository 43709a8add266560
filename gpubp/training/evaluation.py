"""Evaluate a network: cost and accuracy on data that are not for training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..backends import Array, Rows
from ..backprop import evaluate
from ..batches import is_batch, is_batches
from ..kernels.messages import shown
from ..network import Network
from ..workspace import Workspace
from .batch_stream import BatchStream
from .data import BatchForm, Dataset
from .metrics import Metric, Predictions

__all__ = ["Evaluation", "Score"]

CHUNK_ROWS = 8192
"""The number of rows that are evaluated at a time, unless training batches are larger."""

FORMS_KEPT = 8
"""The most forms of batches with a captured evaluation and its buffers."""


@dataclass(frozen=True)
class Score:
    """The result of an evaluation.

    Attributes
    ----------
    cost : float
        The mean cost.
    accuracy : float or None
        The share of right classes or labels, from 0 to 1; None if the cost is not for classes or labels.
    metrics : dict of str to float
        The metrics by name.
    """

    cost: float
    accuracy: float | None
    metrics: Mapping[str, float] = field(default_factory=dict)


class Evaluation:
    """Evaluates a network on the same data at each call.

    For costs of classes, accuracy is the (weighted) share of rows whose largest output is at the class with
    the largest target. For costs of labels, it is the share of labels on the right side of 1/2.

    Parameters
    ----------
    network : Network
        The network to evaluate, with its parameters at the time of the call.
    data : tuple (x, y) or (x, y, sample_weight), or iterable of batches
        The data, as in `Trainer.fit`.
    batch_size : int
        The rows of a training batch. At least this many rows are evaluated at a time, except of an
        iterable, whose batches are evaluated as they come.
    epochs : int
        The number of evaluations to come: an iterator has one.
    metrics : dict of Metric, optional
        Metrics to compute, by name; by default none.

    Attributes
    ----------
    data : Dataset or BatchStream
        The data.

    Raises
    ------
    ValueError
        If x, y or sample_weight does not fit the network; the message names it.
    """

    def __init__(
        self,
        network: Network,
        data: Any,
        batch_size: int,
        epochs: int,
        metrics: Mapping[str, Metric] | None = None,
    ) -> None:
        self._network, self._metrics = network, metrics or {}
        self.data: Dataset | BatchStream
        if _gives_batches(data):
            self.data = BatchStream(network, data, epochs, "validation_data")
        else:
            self.data = Dataset(network, *_triple(data), "validation ")
        self._chunk_rows = max(batch_size, CHUNK_ROWS)
        self._rows = Rows(None)
        self._counters = network.backend.zeros(2, np.int64)
        self._captured: dict[BatchForm, tuple[Callable[[], None], Array, Array]] = {}

    def __call__(self, epoch: int) -> Score:
        """Evaluate the network with its current parameters, after this epoch, counted from 0."""
        data, rows = self.data, self._rows
        cost = right = total = 0.0
        predictions = Predictions(self._metrics, self._network.cost_function)
        for count, weight in data.chunks(rows, self._chunk_rows, epoch):
            form = BatchForm(count, None, data.labels, data.weighted, data.sparse)
            replay, costs, outputs = self._captured_for(form)
            costs.fill(0)
            replay()
            cost += weight * float(self._network.backend.to_numpy(costs).sum())
            right += weight * self._accuracy(outputs)
            total += weight
            predictions.add(rows.y, outputs)
        counted = self._network.cost_function.targets in ("class", "unit")
        return Score(cost / total, right / total if counted else None, predictions.scores())

    def _captured_for(self, form: BatchForm) -> tuple[Callable[[], None], Array, Array]:
        """Return the captured evaluation of rows of this form, and its arrays of costs and outputs."""
        if form not in self._captured:
            while len(self._captured) >= FORMS_KEPT:
                del self._captured[next(iter(self._captured))]
            network = self._network
            problem = network.problem(self._counters)
            outputs = network.backend.empty((form.rows, network.sizes[-1]), network.dtype)
            kind = {"labels": form.labels, "sparse": form.sparse}
            workspace = Workspace(problem, form.rows, "cost", outputs=outputs, **kind)
            costs = network.backend.zeros((len(workspace.shards), 1), np.float64)
            replay = network.backend.capture(
                lambda: evaluate(problem, workspace, self._rows, costs)
            )
            self._captured[form] = replay, costs, outputs
        return self._captured[form]

    def _accuracy(self, outputs: Array) -> float:
        """Return the share of right rows in the last chunk; 0 if the cost is not for classes or labels."""
        xp, y, weights = self._network.backend.xp, self._rows.y, self._rows.weights
        targets = self._network.cost_function.targets
        if targets == "class":
            expected = y if y.ndim == 1 else xp.argmax(y, axis=1)
            right = xp.argmax(outputs, axis=1) == expected
        elif targets == "unit":
            right = xp.mean((outputs > 0.5) == (y > 0.5), axis=1, dtype=np.float64)
        else:
            return 0.0
        if weights is None:
            return float(right.mean())
        weights = weights.astype(np.float64)
        return float((right * weights).sum() / weights.sum()) if float(weights.sum()) else 0.0


def _gives_batches(data: Any) -> bool:
    """Whether validation data are batches; a tuple or list may also be x, y and sample weights."""
    if isinstance(data, tuple | list):
        return bool(data) and all(map(is_batch, data))
    return is_batches(data)


def _triple(data: Any) -> tuple[Any, Any, Any]:
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        came = f"has {len(data)} entries" if isinstance(data, tuple | list) else f"is {shown(data)}"
        expected = "(x, y), (x, y, sample_weight) or an iterable of such batches"
        raise ValueError(f"validation_data {came}, expected {expected}")
    x, y, *rest = data
    return x, y, rest[0] if rest else None
