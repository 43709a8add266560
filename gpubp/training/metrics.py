"""Metrics: a user's functions of targets and predictions, computed on validation data after each epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import to_host
from ..backends import Array
from ..errors import unknown_name
from ..kernels import Cost
from ..kernels.messages import shown
from ..keywords import tells_keywords
from .early_stopping import EarlyStopping

__all__ = ["Metric", "Predictions", "as_metrics", "check_monitor"]


@tells_keywords
@dataclass(frozen=True)
class Metric:
    """A function of targets and predictions, such as those of `sklearn.metrics`.

    A fit calls it after each epoch with all validation data, as NumPy arrays. The meaning of predictions
    depends on the cost. For costs of classes, y and predictions are the classes: integers of shape (rows,).
    For costs of labels they are 0 or 1, as integers. For all other costs they are numbers. One column has
    the shape (rows,), several (rows, n_out). Sample weights are not passed.

    Parameters
    ----------
    function : callable
        A function (y, predictions) -> number.
    of : {"predictions", "outputs"}, default "predictions"
        With "outputs", the function gets the network's outputs instead of classes or labels, as
        `roc_auc_score` needs them.

    Raises
    ------
    TypeError, ValueError
        If `function` is no function, or `of` is another text.

    Examples
    --------
    Predictions of labels are 0 or 1; outputs are the probabilities behind them.

    >>> import gpubp
    >>> from sklearn.metrics import f1_score, roc_auc_score
    >>> network = gpubp.Network((1, 1), output="sigmoid")
    >>> network.parameters = [2.0, 0.0]
    >>> metrics = {"f1": f1_score, "auc": gpubp.Metric(roc_auc_score, of="outputs")}
    >>> trainer = gpubp.Trainer(network, gpubp.SGD(0.01), metrics=metrics)
    >>> x, y = [[-2.0], [-1.0], [1.0], [2.0]], [[0], [0], [1], [1]]
    >>> trainer.fit(x, y, epochs=1, validation_data=(x, y)).validation_metrics
    {'f1': [1.0], 'auc': [1.0]}
    """

    function: Callable[[Any, Any], float]
    of: str = "predictions"

    def __post_init__(self) -> None:
        if not callable(self.function) or isinstance(self.function, type):
            raise TypeError(
                f"function is {shown(self.function)}, expected a function (y, predictions)"
            )
        if self.of not in ("predictions", "outputs"):
            raise ValueError(f"of is {shown(self.of)}, expected 'predictions' or 'outputs'")


def as_metrics(metrics: Any) -> dict[str, Metric]:
    """Convert the setting: metrics or functions (y, predictions) by name; None means none."""
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping):
        expected = "a dict such as {'f1': sklearn.metrics.f1_score}"
        raise TypeError(f"metrics is {shown(metrics)}, expected {expected}")
    made: dict[str, Metric] = {}
    for name, metric in metrics.items():
        if not isinstance(name, str) or not name or name in ("cost", "accuracy"):
            raise ValueError(
                f"metrics has the name {shown(name)}, expected a text other than 'cost' and 'accuracy'"
            )
        if isinstance(metric, Metric):
            made[name] = metric
        elif callable(metric) and not isinstance(metric, type):
            made[name] = Metric(metric)
        else:
            expected = "a function (y, predictions) or a Metric"
            raise TypeError(f"metrics has {shown(metric)} as {name!r}, expected {expected}")
    return made


def check_monitor(
    stopping: EarlyStopping | None, metrics: Mapping[str, Metric], cost: Cost, *, validates: bool
) -> None:
    """Check that a fit computes its metrics, and what early stopping monitors, else raise a ValueError."""
    expected = "expected validation_data or validation_split in fit"
    if metrics and not validates:
        raise ValueError(f"metrics has {shown([*metrics])}, {expected}")
    if stopping is None or stopping.monitor == "cost":
        return
    monitor, known = stopping.monitor, ["cost", "accuracy", *metrics]
    if monitor not in known:
        raise unknown_name("monitor", monitor, known)
    if not validates:
        raise ValueError(f"early_stopping monitors {monitor!r}, {expected}")
    if monitor == "accuracy" and cost.targets not in ("class", "unit"):
        raise ValueError(
            f"early_stopping monitors 'accuracy', which cost {cost.name!r} does not have, expected 'cost'"
            " or one of the trainer's metrics"
        )


class Predictions:
    """Targets and outputs of the validation data, which are collected on the host for the metrics.

    Parameters
    ----------
    metrics : dict of Metric
        The metrics by name; without any, nothing is collected.
    cost : Cost
        The network's cost.
    """

    def __init__(self, metrics: Mapping[str, Metric], cost: Cost) -> None:
        self._metrics, self._cost = metrics, cost
        self._targets: list[Any] = []
        self._outputs: list[Any] = []

    def add(self, targets: Array, outputs: Array) -> None:
        """Add the next rows; the arrays may be used again for others."""
        if self._metrics:
            y = to_host(targets)  # of classes, batches may have labels or rows of probabilities
            of_classes = self._cost.targets == "class" and y.ndim == 2
            self._targets.append(y.argmax(axis=1) if of_classes else y.copy())
            self._outputs.append(to_host(outputs).copy())

    def scores(self) -> dict[str, float]:
        """Compute all metrics.

        Raises
        ------
        TypeError
            If a metric gives something else than a number.
        """
        if not self._metrics:
            return {}
        y, outputs = np.concatenate(self._targets), np.concatenate(self._outputs)
        predicted, kind = outputs, self._cost.targets
        if kind == "class":
            predicted = outputs.argmax(axis=1)
        elif kind == "unit":
            y, predicted = (np.asarray(values > 0.5, np.int64) for values in (y, outputs))
        y, outputs, predicted = (_without_one_column(array) for array in (y, outputs, predicted))
        given = {"predictions": predicted, "outputs": outputs}
        return {
            name: _number(name, metric.function(y, given[metric.of]))
            for name, metric in self._metrics.items()
        }


def _without_one_column(array: Any) -> Any:
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def _number(name: str, value: Any) -> float:
    if np.ndim(value) == 0 and isinstance(value, int | float | np.number | np.bool_ | np.ndarray):
        return float(value)
    raise TypeError(f"the metric {name!r} gave {shown(value)}, expected a number")
