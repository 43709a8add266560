"""Plan a model for a table, and train it."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from sklearn.preprocessing import StandardScaler

from ..backends import get_backend
from ..network import Network
from ..training import Callback, EarlyStopping, History, Trainer
from ..validation import check_number
from .columns import Wishes, describe_columns
from .model import Model
from .parts import Parts, Stream, inputs_of
from .preparation import learn_preparation
from .reading import table_of
from .settings import Settings
from .table import Table
from .targets import choose_target

__all__ = ["Outcome", "Plan", "Watcher", "train"]

BYTES_OF_A_PART = 2**27
"""About how much memory the inputs of a part take when rows are streamed."""


class Watcher(Callback):
    """A callback that learns, before training, what it will see of the data."""

    def on_rows(self, x: Any, y: Any, rows: int, spread: float) -> None:
        """Called once, before training.

        Parameters
        ----------
        x : array of shape (at most 512, inputs)
            The first inputs.
        y : array of shape (at most 512,) or (at most 512, 1)
            Their targets.
        rows : int
            The number of rows to train on.
        spread : float
            The variance of a regression's held-out targets, in the network's unit; else NaN.
        """


@dataclass(frozen=True)
class Outcome:
    """The result of training.

    Attributes
    ----------
    model : Model
        The model.
    history : History
        The record of training.
    actual : array of shape (held-out rows,)
        The classes or values of the rows that were held out.
    predicted : array of shape (held-out rows,)
        What the model predicts for them.

    Examples
    --------
    >>> import gpubp.tables, polars
    >>> rows = {"petal": [1.4, 1.3, 1.5, 1.7, 4.7, 4.5, 4.9, 4.0] * 5}
    >>> rows["kind"] = (["setosa"] * 4 + ["virginica"] * 4) * 5
    >>> polars.DataFrame(rows).write_csv("iris.csv")
    >>> plan = gpubp.tables.Plan(gpubp.tables.open_table("iris.csv"), "kind")
    >>> outcome = plan.train(gpubp.tables.Settings(hidden=(), learning_rate=0.1, epochs=30))
    >>> len(outcome.history), len(outcome.predicted)
    (30, 4)
    >>> bool((outcome.predicted == outcome.actual).all())
    True
    """

    model: Model
    history: History
    actual: Any
    predicted: Any


class Plan:
    """What a model of a table will be: its task, and what each column is.

    Parameters
    ----------
    table : Table
        The table.
    target : str
        The target column: its name, or its place (0, 1, ..., or -1 for the last).
    task : {"auto", "classification", "regression"}, default "auto"
        The task. "auto" is classification for text, for true and false, and for few different whole
        numbers, which each occur several times; it is regression for other numbers.
    drop, categorical, numeric : collection of str, default ()
        Columns that are left out, or are categories or numbers, whatever their values look like.
    rows_at_once : int, optional
        The most rows in memory: the table is then read anew in each epoch. By default it is, if it can be,
        where all inputs need more than a third of the free memory.

    Attributes
    ----------
    columns : list of Column
        What each column is.
    target : Target
        The target.
    survey : Survey
        What is known of the target's values.

    Raises
    ------
    ValueError
        If the table has no such column, or cannot be learned from; the message names the column.

    Examples
    --------
    >>> import gpubp.tables, polars
    >>> rows = {"id": range(6), "size": [1.5, 2.5, 4.5, 5.5, 7.5, 9.0], "kind": ["a", "b"] * 3}
    >>> polars.DataFrame(rows).write_csv("rows.csv")
    >>> table = gpubp.tables.open_table("rows.csv")
    >>> plan = gpubp.tables.Plan(table, "kind")
    >>> plan.target.task, plan.target.classes
    ('classification', ('a', 'b'))
    >>> for column in plan.columns:
    ...     print(column.name, column.kind, column.why, sep=": ")
    id: dropped: it counts the rows
    size: number: numbers
    """

    def __init__(
        self,
        table: Table,
        target: str,
        *,
        task: str = "auto",
        drop: Collection[str] = (),
        categorical: Collection[str] = (),
        numeric: Collection[str] = (),
        rows_at_once: int | None = None,
    ) -> None:
        if rows_at_once is not None:
            check_number("rows_at_once", rows_at_once, 2, math.inf, whole=True)
        name = table.column(target)
        self.table = table
        first = rows_at_once or _rows_for(table, len(table.schema))
        wishes = Wishes(drop, categorical, numeric)
        self.columns, survey = describe_columns(table, name, wishes, min(first, table.rows))
        self.target = choose_target(survey, task)
        width = sum(len(c.categories) + 1 for c in self.columns if c.kind != "dropped")
        self.rows_at_once = min(rows_at_once or _rows_for(table, width), table.rows)
        self.survey = survey

    @property
    def streams(self) -> bool:
        """Whether the table is read anew in each epoch."""
        return self.rows_at_once < self.table.rows

    def train(
        self, settings: Settings | None = None, callbacks: Sequence[Callback] = ()
    ) -> Outcome:
        """Train a network.

        Ctrl-C ends training after the current step; the model is then that of the steps so far.

        Parameters
        ----------
        settings : Settings, optional
            How to train.
        callbacks : sequence of Callback, default ()
            Callbacks of the trainer. A `gpubp.tables.training.Watcher` is told of the data, too.

        Returns
        -------
        Outcome
            The model, the record of training, and the predictions for rows that were held out.

        Raises
        ------
        DivergenceError
            If the cost is no longer finite; a lower learning rate may help.

        Examples
        --------
        >>> import gpubp.tables, polars
        >>> rows = {"size": [k / 4 for k in range(40)], "price": [k / 2 + 1 for k in range(40)]}
        >>> polars.DataFrame(rows).write_csv("prices.csv")
        >>> plan = gpubp.tables.Plan(gpubp.tables.open_table("prices.csv"), "price")
        >>> settings = gpubp.tables.Settings(hidden=(), learning_rate=0.1, epochs=100)
        >>> outcome = plan.train(settings)
        >>> outcome.model.training["rows"], len(outcome.actual)
        (36, 4)
        >>> bool(abs(outcome.predicted - outcome.actual).max() < 0.5)
        True
        """
        settings = settings or Settings()
        began = time.perf_counter()
        parts = Parts(
            self.table, self.columns, self.target, self.rows_at_once, settings.validation_split,
            settings.seed,
        )  # fmt: skip
        model, counts, validation = self._learn(parts, settings)
        inputs = inputs_of(model.preparation, model.target, model.network.dtype)
        rows = sum(counts)
        if not self.streams:
            part = parts[0]
            x, y = inputs(part.frame[part.train], part.y[part.train])
            shown = x[:512], y[:512]
            callbacks, shuffle = list(callbacks), settings.shuffle
        else:
            stream = Stream(
                parts, counts, inputs, model.network.sizes[0], settings.shuffle, settings.seed
            )
            x, y, shuffle = stream.x, stream.y, False
            shown = stream.take(0, min(512, rows))
            callbacks = [_Epochs(stream), *callbacks]
        held_out = inputs(*validation) if len(validation[1]) else None
        spread = math.nan
        if held_out is not None and not model.target.classifies:
            spread = float(np.var(held_out[1], dtype=np.float64))
        for callback in callbacks:
            if isinstance(callback, Watcher):
                callback.on_rows(*shown, rows, spread)
        trainer = Trainer(
            model.network,
            settings.make_optimizer(),
            batch_size=settings.batch_size_for(rows),
            schedule=settings.schedule,
            shuffle=shuffle,
            early_stopping=EarlyStopping(settings.patience or settings.epochs)
            if held_out
            else None,
            callbacks=callbacks,
            seed=settings.seed,
        )
        history = trainer.fit(x, y, epochs=settings.epochs, validation_data=held_out)
        model.training = _account(history, rows, len(validation[1]), spread)
        model.training["seconds"] = time.perf_counter() - began
        outputs = held_out and model.network.predict(held_out[0])
        predicted = model.decide(outputs) if held_out else np.zeros(0)
        actual = model.target.labels[validation[1]] if model.target.classifies else validation[1]
        return Outcome(model, history, actual, predicted)

    def _learn(self, parts: Parts, settings: Settings) -> tuple[Model, list[int], tuple[Any, Any]]:
        """Learn means, and make the network; return the rows to train on, and those held out."""
        counts: list[int] = []
        held_out: list[tuple[Any, Any]] = []
        scaler = StandardScaler()

        def trained() -> Any:
            for part in parts:
                counts.append(len(part.train))
                held_out.append((part.frame[part.held_out], part.y[part.held_out]))
                if not self.target.classifies and len(part.train):
                    scaler.partial_fit(part.y[part.train][:, None])
                yield part.frame[part.train]

        preparation = learn_preparation(self.columns, trained())
        target = self.target
        if not target.classifies:
            target = target.scaled(float(scaler.mean_[0]), float(scaler.scale_[0]))
        width = len(preparation.get_feature_names_out())
        classes = len(target.classes)
        network = Network(
            (width, *settings.hidden, classes or 1),
            hidden=settings.activation,
            output="softmax" if target.classifies else "identity",
            dtype=settings.dtype,
            backend=settings.backend,
            dropout=settings.dropout if settings.hidden else 0.0,
            seed=settings.seed,
            precision=settings.precision,
        )
        if (
            not target.classifies
        ):  # the first predictions are the mean, where few rows need no unlearning
            network.layers[-1].weights = np.zeros((1, network.sizes[-2]), network.dtype)
        validation = (
            pl.concat([frame for frame, _ in held_out]),
            np.concatenate([y for _, y in held_out]),
        )
        return Model(list(self.columns), target, preparation, network), counts, validation


def _account(history: History, rows: int, held_out: int, spread: float) -> dict[str, Any]:
    """Describe training in numbers and text, for the model's file and for JSON."""
    best = history.best_epoch
    score: float | None = None
    if held_out and best >= 0:
        score = r_squared(history.validation_cost[best], spread)
        score = history.validation_accuracy[best] if history.validation_accuracy else score
    return {
        "rows": rows,
        "held_out": held_out,
        "epochs": len(history),
        "best_epoch": best + 1,
        "cost": history.cost[best] if best >= 0 else None,
        "validation_cost": history.validation_cost[best] if held_out and best >= 0 else None,
        "validation_score": score,
        "stopped": history.stopped,
    }


def r_squared(cost: float, spread: float) -> float | None:
    """Compute R² from the mean of half the squared error; None without a variance."""
    return 1 - 2 * cost / spread if spread > 0 else None


class _Epochs(Callback):
    """Draws a stream's order before each epoch."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        self._stream.begin_epoch(epoch)


def _rows_for(table: Table, width: int) -> int:
    """Return how many rows to read at once: all, unless they need much memory and can be streamed."""
    free = get_backend("numpy").free_memory()
    needed = table.rows * width * 24  # the values, and inputs in float64 and in the network's dtype
    if not table.streams or free is None or needed < free / 3:
        return table.rows
    return max(1024, BYTES_OF_A_PART // (8 * width))


def train(
    data: Any,
    target: str,
    *,
    task: str = "auto",
    drop: Collection[str] = (),
    categorical: Collection[str] = (),
    numeric: Collection[str] = (),
    rows_at_once: int | None = None,
    callbacks: Sequence[Callback] = (),
    **settings: Any,
) -> Model:
    """Train a model of a table.

    Parameters
    ----------
    data : Table, DataFrame, dict of columns, or array of shape (rows, columns)
        A table that `open_table` has opened, or data of polars, pandas or NumPy.
    target : str
        The target column: its name, or its place (0, 1, ..., or -1 for the last).
    task, drop, categorical, numeric, rows_at_once
        As in `Plan`.
    callbacks : sequence of Callback, default ()
        Callbacks of the trainer.
    **settings
        The fields of `Settings`.

    Returns
    -------
    Model
        The trained model.

    Raises
    ------
    ValueError
        If the table has no such column or cannot be learned from, or a setting is not valid.
    TypeError
        If a setting is none of `Settings`.
    DivergenceError
        If the cost is no longer finite; a lower learning rate may help.

    See Also
    --------
    Plan : Shows what the columns are before training, and tests the model on held-out rows after it.

    Examples
    --------
    A linear model of price = 2 size + 1:

    >>> import gpubp.tables
    >>> rows = {"size": [k / 4 for k in range(40)], "price": [k / 2 + 1 for k in range(40)]}
    >>> model = gpubp.tables.train(rows, "price", hidden=(), learning_rate=0.1, epochs=100)
    >>> model.predict({"size": [10.0, 20.0]}).round().tolist()
    [21.0, 41.0]
    """
    chosen = Settings(**settings)
    table = data if isinstance(data, Table) else table_of(data)
    plan = Plan(
        table, target, task=task, drop=drop, categorical=categorical, numeric=numeric,
        rows_at_once=rows_at_once,
    )  # fmt: skip
    return plan.train(chosen, callbacks).model
