"""Cost and accuracy on data that is not trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backends import Array, Rows
from ..backprop import evaluate
from ..network import Network
from ..workspace import Workspace
from .data import Data

__all__ = ["Evaluation", "Score"]

CHUNK_ROWS = 8192
"""Rows that are evaluated at a time, where batches are not larger."""


@dataclass(frozen=True)
class Score:
    """Mean cost, and the share of right classes or labels where the cost is one of those."""

    cost: float
    accuracy: float | None


class Evaluation:
    """Evaluates a network on the same data again and again.

    Accuracy is the (weighted) share of rows whose largest output is the class with the largest target,
    for costs of classes; for costs of labels, the share of labels on the right side of 1/2.
    """

    def __init__(self, network: Network, data: Any, batch_size: int) -> None:
        self._network = network
        self._data = Data(network, *_triple(data), "validation ")
        self._chunk = max(batch_size, CHUNK_ROWS)
        self._rows = Rows(None)
        self._counters = network.backend.zeros(2, np.int64)
        self._captured: dict[int, tuple[Callable[[], None], Array, Array]] = {}

    def __call__(self) -> Score:
        """Evaluate the network as it is now."""
        data, rows, source = self._data, self._rows, self._data.source
        cost = right = total = 0.0
        for start in range(0, data.rows, self._chunk):
            chosen = np.arange(start, min(start + self._chunk, data.rows))
            data.bring(chosen)
            cut = slice(None) if data.streamed else slice(start, start + self._chunk)
            rows.x, rows.y = source.x[cut], source.y[cut]
            rows.weights = None if source.weights is None else source.weights[cut]
            replay, costs, outputs = self._capture(len(chosen))
            costs.fill(0)
            replay()
            weight = data.total_weight(chosen)
            cost += weight * float(self._network.backend.to_numpy(costs).sum())
            right += weight * self._accuracy(outputs, rows)
            total += weight
        counted = self._network.cost_function.targets in ("class", "unit")
        return Score(cost / total, right / total if counted else None)

    def _capture(self, count: int) -> tuple[Callable[[], None], Array, Array]:
        if count not in self._captured:
            network = self._network
            problem = network.problem(self._counters)
            outputs = network.backend.empty((count, network.sizes[-1]), network.dtype)
            workspace = Workspace(problem, count, "cost", labels=self._data.labels, outputs=outputs)
            costs = network.backend.zeros((len(workspace.shards), 1), np.float64)
            replay = network.backend.capture(
                lambda: evaluate(problem, workspace, self._rows, costs)
            )
            self._captured[count] = replay, costs, outputs
        return self._captured[count]

    def _accuracy(self, outputs: Array, rows: Rows) -> float:
        xp, y = self._network.backend.xp, rows.y
        targets = self._network.cost_function.targets
        if targets == "class":
            expected = y if y.ndim == 1 else xp.argmax(y, axis=1)
            right = xp.argmax(outputs, axis=1) == expected
        elif targets == "unit":
            right = xp.mean((outputs > 0.5) == (y > 0.5), axis=1, dtype=np.float64)
        else:
            return 0.0
        if rows.weights is None:
            return float(right.mean())
        weights = rows.weights.astype(np.float64)
        return float((right * weights).sum() / weights.sum()) if float(weights.sum()) else 0.0


def _triple(data: Any) -> tuple[Any, Any, Any]:
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        raise ValueError("validation_data is not (x, y) or (x, y, sample_weight)")
    x, y, *rest = data
    return x, y, rest[0] if rest else None
