"""How well a model predicts a table whose target is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from .model import Model
from .table import Table
from .values import Findings

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model.

    Attributes
    ----------
    rows : int
        The number of rows with a target.
    without_target : int
        The number of rows that have none, which are left out.
    scores : dict of str to float
        accuracy and log_loss, or r2, rmse and mae.
    classes : list of dict
        For each class: precision, recall, f1 and rows; of a regression empty.
    confusion : int array of shape (classes, classes)
        How many rows of a class (row) were predicted to be of a class (column).
    actual, predicted : arrays of shape (rows,)
        Classes or values, and the predictions.
    """

    rows: int
    without_target: int
    scores: dict[str, float]
    classes: list[dict[str, Any]]
    confusion: Any
    actual: Any
    predicted: Any

    def to_dict(self) -> dict[str, Any]:
        """Convert the scores to numbers, lists and text, for JSON."""
        told: dict[str, Any] = {"rows": self.rows, "rows_without_target": self.without_target}
        told |= {name: None if math.isnan(v) else v for name, v in self.scores.items()}
        if self.classes:
            told |= {"classes": self.classes, "confusion": self.confusion.tolist()}
        return told


def evaluate(
    model: Model, table: Table, target: str | None = None, findings: Findings | None = None
) -> Evaluation:
    """Compare a model's predictions with a table's target.

    Parameters
    ----------
    model : Model
        The model.
    table : Table
        The table.
    target : str, optional
        Its target column; by default the model's.
    findings : Findings, optional
        What is found in the rows is added.

    Returns
    -------
    Evaluation
        The scores.

    Raises
    ------
    ValueError
        If the table has no such column, or the column holds what the model does not predict.
    """
    name = table.column(model.target.name if target is None else target)
    actual, outputs = [], []
    for start, raw, computed in model.outputs(table, findings, (name,)):
        present, y = model.target.read(table.name, raw[name], start)
        actual.append(y)
        outputs.append(computed[present])
    y, computed = np.concatenate(actual), np.concatenate(outputs)
    if not len(y):
        raise ValueError(f"column {name!r} of {table.name} has no values, expected the target")
    classifies = model.target.classifies
    scores, classes, confusion = _of_classes(model, y, computed) if classifies else _of_numbers(
        y, model.decide(computed)
    )  # fmt: skip
    actual_values = model.target.labels[y] if classifies else y
    return Evaluation(
        len(y),
        table.rows - len(y),
        scores,
        classes,
        confusion,
        actual_values,
        model.decide(computed),
    )


def _of_classes(model: Model, y: Any, probabilities: Any) -> tuple[dict[str, float], Any, Any]:
    chosen = probabilities.argmax(axis=1)
    numbers = np.arange(len(model.target.classes))
    least = np.finfo(probabilities.dtype).tiny
    own = np.maximum(probabilities[np.arange(len(y)), y].astype(np.float64), least)
    scores = {"accuracy": float(np.mean(chosen == y)), "log_loss": float(-np.log(own).mean())}
    measured = precision_recall_fscore_support(y, chosen, labels=numbers, zero_division=0)
    classes = [
        {"class": label, "precision": float(p), "recall": float(r), "f1": float(f), "rows": int(n)}
        for label, p, r, f, n in zip(model.target.classes, *measured, strict=True)
    ]
    return scores, classes, confusion_matrix(y, chosen, labels=numbers)


def _of_numbers(y: Any, predicted: Any) -> tuple[dict[str, float], Any, Any]:
    errors = y - predicted
    spread = np.sum(np.square(y - y.mean()))
    r2 = 1 - float(np.sum(np.square(errors)) / spread) if spread else math.nan
    rmse = float(np.sqrt(np.mean(np.square(errors))))
    return (
        {"r2": r2, "rmse": rmse, "mae": float(np.mean(np.abs(errors)))},
        [],
        np.zeros((0, 0), int),
    )
