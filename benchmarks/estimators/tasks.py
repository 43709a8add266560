"""What the estimators' table measures: data sets, parameters, and the grid of tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import scipy.sparse

from ...kernels.typing import Array

__all__ = ["CANDIDATES", "DATA", "FOLDS", "SEEDS", "Data", "Task", "quick_tasks", "tasks"]

DEFAULT, WIDE = (100,), (256, 256)
SEEDS = 5
FOLDS = 5
CANDIDATES: Mapping[str, Sequence[Any]] = {
    "hidden_layer_sizes": [(50,), (100,), (50, 50)],
    "alpha": [1e-4, 1e-2],
    "learning_rate_init": [1e-3, 1e-2],
}
"""The grid that is searched: 12 candidates."""


@dataclass(frozen=True)
class Data:
    """A data set.

    Attributes
    ----------
    name : str
        The name in options, results and reports.
    about : str
        Its size, in words.
    shape : tuple of int
        Rows and columns of X.
    is_classification : bool
        Whether y holds classes.
    make : callable
        A function that returns X and y in float64.
    epochs : int
        Epochs of a fit by adam and sgd.
    iterations : int
        Iterations of a fit by lbfgs.
    is_scored : bool
        Whether scores of several seeds are compared: a small set of real data.
    """

    name: str
    about: str
    shape: tuple[int, int]
    is_classification: bool
    make: Callable[[], tuple[Any, Array]]
    epochs: int
    iterations: int
    is_scored: bool = False

    def in_dtype(self, dtype: str) -> tuple[Any, Array]:
        """Make X and y with X in this dtype; a regressor's y too."""
        x, y = self.make()
        return x.astype(dtype), y if self.is_classification else y.astype(dtype)


def _packaged(name: str) -> tuple[Array, Array]:
    """Load a data set of scikit-learn's, with columns of mean 0 and deviation 1."""
    from sklearn import datasets  # noqa: PLC0415

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    deviation = x.std(axis=0)
    deviation[deviation == 0] = 1.0
    if y.dtype.kind == "f":
        y = (y - y.mean()) / y.std()
    return (x - x.mean(axis=0)) / deviation, y


@cache
def _digits() -> tuple[Array, Array]:
    return _packaged("digits")


@cache
def _breast_cancer() -> tuple[Array, Array]:
    return _packaged("breast_cancer")


@cache
def _diabetes() -> tuple[Array, Array]:
    return _packaged("diabetes")


@cache
def _housing() -> tuple[Array, Array]:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((20_000, 8))
    hidden = np.tanh(x @ rng.standard_normal((8, 12)))
    return x, hidden @ rng.standard_normal(12) / 3 + 0.1 * rng.standard_normal(len(x))


@cache
def _cover() -> tuple[Array, Array]:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((50_000, 54))
    hidden = np.tanh(x @ rng.standard_normal((54, 20)) / 3)
    return x, (hidden @ rng.standard_normal((20, 7))).argmax(axis=1)


@cache
def _text() -> tuple[Any, Array]:
    rng = np.random.default_rng(3)
    x = scipy.sparse.random(20_000, 20_000, 0.002, "csr", np.float64, random_state=rng)
    return x, (x @ rng.standard_normal(20_000) > 0).astype(int)


@cache
def _few_rows() -> tuple[Array, Array]:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((300, 5))
    return x, np.sin(x[:, 0]) + x[:, 1] * x[:, 2] + 0.1 * rng.standard_normal(300)


DATA: Mapping[str, Data] = {
    data.name: data
    for data in (
        Data("digits", "1797 × 64, 10 classes", (1797, 64), True, _digits, 20, 20, True),
        Data("breast-cancer", "569 × 30, 2 classes", (569, 30), True, _breast_cancer, 60, 30, True),
        Data("diabetes", "442 × 10, regression", (442, 10), False, _diabetes, 60, 60, True),
        Data("few-rows", "300 × 5, regression, made up", (300, 5), False, _few_rows, 60, 60),
        Data("housing", "20,000 × 8, regression, made up", (20_000, 8), False, _housing, 3, 6),
        Data("cover", "50,000 × 54, 7 classes, made up", (50_000, 54), True, _cover, 1, 1),
        Data(
            "text",
            "20,000 × 20,000, 0.2 % filled (CSR), 2 classes, made up",
            (20_000, 20_000),
            True,
            _text,
            1,
            2,
        ),
    )
}


@dataclass(frozen=True)
class Task:
    """One piece of work.

    Attributes
    ----------
    data : str
        The name of the data set.
    work : str
        "fit", "predict", or "search": GridSearchCV over `CANDIDATES` with `FOLDS` folds.
    solver : str
        "adam", "sgd" or "lbfgs".
    hidden : tuple of int
        Widths of the hidden layers; in a search the candidates have their own.
    dtype : str
        The dtype of X, "float32" or "float64". Both libraries compute in it.
    """

    data: str
    work: str
    solver: str
    hidden: tuple[int, ...]
    dtype: str

    @property
    def is_dense_fit(self) -> bool:
        """Whether the task is one fit of dense rows."""
        return self.work == "fit" and self.data != "text"

    def parameters(self) -> dict[str, Any]:
        """Make the parameters of the estimator: as many epochs for both libraries, whatever the loss."""
        data = DATA[self.data]
        return {
            "hidden_layer_sizes": self.hidden,
            "solver": self.solver,
            "max_iter": data.iterations if self.solver == "lbfgs" else data.epochs,
            "tol": 0.0,
            "n_iter_no_change": 10**6,
            "random_state": 0,
        }


def tasks() -> list[Task]:
    """List the tasks of a whole run."""
    dense = [
        Task(name, "fit", solver, hidden, dtype)
        for name in ("digits", "breast-cancer", "diabetes", "housing", "cover")
        for solver in ("adam", "sgd", "lbfgs")
        for hidden in (DEFAULT, WIDE)
        for dtype in ("float32", "float64")
    ]
    others = [
        Task(name, work, solver, DEFAULT, dtype)
        for name, work, solver in (
            ("few-rows", "fit", "lbfgs"),
            ("text", "fit", "adam"),
            ("text", "predict", "adam"),
            ("digits", "search", "adam"),
        )
        for dtype in ("float32", "float64")
    ]
    others += [Task("text", "fit", solver, DEFAULT, "float32") for solver in ("sgd", "lbfgs")]
    return dense + others


def quick_tasks() -> list[Task]:
    """List the tasks of a quick run: small data, default layers."""
    chosen = {("digits", "adam"), ("diabetes", "adam"), ("few-rows", "lbfgs")}
    return [
        task
        for task in tasks()
        if (task.data, task.solver) in chosen and (task.work, task.hidden) == ("fit", DEFAULT)
    ]
