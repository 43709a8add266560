"""The rows of a table in parts: one part if they fit into memory, else as many as are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from .columns import Column, used
from .preparation import prepared
from .table import Table
from .targets import Target
from .values import Findings, conform

__all__ = ["Part", "Parts", "Stream"]

MOST_HELD_OUT = 100_000
"""The most rows that are held out."""


@dataclass(frozen=True)
class Part:
    """Neighbouring rows of a table, without those that have no target.

    Attributes
    ----------
    frame : polars.DataFrame
        The columns in the form of `values.conform`.
    y : array of shape (rows,)
        The numbers of the classes, or the values to predict.
    train, held_out : int64 arrays
        The rows to train on, and those to validate on.
    """

    frame: Any
    y: Any
    train: Any
    held_out: Any


class Parts:
    """A table cut into parts, each of which is read when it is needed.

    Parameters
    ----------
    table : Table
        The table.
    columns : sequence of Column
        What its columns are.
    target : Target
        The target.
    rows_at_once : int
        The most rows of a part.
    split : float
        The share of rows that are held out.
    seed : int
        The seed of the held-out rows.
    """

    def __init__(
        self,
        table: Table,
        columns: Sequence[Column],
        target: Target,
        rows_at_once: int,
        split: float,
        seed: int,
    ) -> None:
        self._table, self._columns, self._target = table, columns, target
        self._rows_at_once, self._seed = rows_at_once, seed
        self._split = min(split, MOST_HELD_OUT / table.rows) if split else 0.0
        self._whole: Part | None = None

    def __len__(self) -> int:
        return len(range(0, self._table.rows, self._rows_at_once))

    def __iter__(self) -> Iterator[Part]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, number: int) -> Part:
        """Read a part."""
        if self._whole is not None:
            return self._whole
        start = number * self._rows_at_once
        stop = min(start + self._rows_at_once, self._table.rows)
        raw = self._table.read(start, stop, [*used(self._columns), self._target.name])
        name = self._table.name
        present, y = self._target.read(name, raw[self._target.name], start)
        frame = conform(name, raw, self._columns, Findings(), start).filter(present)
        part = Part(frame, y, *self._divided(y, self._seed + number))
        if len(self) == 1:
            self._whole = part
        return part

    def _divided(self, y: Any, seed: int) -> tuple[Any, Any]:
        """Choose the rows to hold out: of each class the same share, if each has enough rows."""
        rows = np.arange(len(y))
        held_out = round(self._split * len(y)) if len(self) > 1 else -(-self._split * len(y) // 1)
        if not 0 < held_out < len(y):
            return rows, rows[:0]
        classes = y if self._target.classifies else None
        if classes is not None:
            counts = np.bincount(classes)
            if counts[counts > 0].min() < 2 or min(held_out, len(y) - held_out) < np.sum(
                counts > 0
            ):
                classes = None
        train, chosen = train_test_split(
            rows, test_size=int(held_out), random_state=seed, stratify=classes
        )
        return np.sort(train), np.sort(chosen)


class Stream:
    """Rows to train on that do not fit into memory, for a Trainer that does not shuffle.

    The parts come in a new order in each epoch, and so do the rows of each part. The trainer reads one
    batch after another, so each part is read once in an epoch.

    Parameters
    ----------
    parts : Parts
        The parts.
    counts : sequence of int
        The number of rows to train on of each part.
    inputs : callable
        Makes inputs and targets (x, y) of a part's frame and y.
    width : int
        The number of inputs.
    shuffle : bool
        Whether to draw an order for each epoch; otherwise the order is the table's.
    seed : int
        The seed of the orders.

    Attributes
    ----------
    x, y : Side
        The inputs and the targets, which can be sliced.
    """

    def __init__(
        self, parts: Parts, counts: Sequence[int], inputs: Any, width: int, shuffle: bool, seed: int
    ) -> None:
        self._parts, self._counts, self._inputs = parts, np.array(counts), inputs
        self._shuffle, self._seed = shuffle, seed
        self._loaded: tuple[int, Any, Any] = -1, None, None
        self._served: tuple[tuple[int, int], tuple[Any, Any]] = (-1, -1), (None, None)
        rows = int(self._counts.sum())
        first = parts[0]
        _, y = inputs(first.frame[:0], first.y[:0])  # for its shape
        self.x, self.y = Side(self, 0, (rows, width)), Side(self, 1, (rows, *y.shape[1:]))
        self.begin_epoch(0)

    def begin_epoch(self, epoch: int) -> None:
        """Draw the order of the parts for an epoch."""
        self._epoch = epoch
        self._order = np.arange(len(self._counts))
        if self._shuffle:
            np.random.default_rng([self._seed, epoch]).shuffle(self._order)
        self._ends = np.cumsum(self._counts[self._order])
        self._loaded, self._served = (-1, None, None), ((-1, -1), (None, None))

    def take(self, start: int, stop: int) -> tuple[Any, Any]:
        """Return inputs and targets of these rows in the epoch's order."""
        if self._served[0] != (start, stop):
            pieces = []
            first, last = np.searchsorted(self._ends, [start, stop - 1], side="right")
            for place in range(int(first), int(last) + 1):
                begin = int(self._ends[place]) - int(self._counts[self._order[place]])
                cut = slice(max(start - begin, 0), stop - begin)
                x, y = self._load(place)
                pieces.append((x[cut], y[cut]))
            whole = tuple(np.concatenate(side) if len(side) > 1 else side[0]
                          for side in zip(*pieces, strict=True))  # fmt: skip
            self._served = (start, stop), (whole[0], whole[1])
        return self._served[1]

    def _load(self, place: int) -> tuple[Any, Any]:
        """Read and shuffle the part at this place in the epoch's order."""
        if self._loaded[0] != place:
            self._loaded = -1, None, None  # gives its memory back before the next part is read
            number = int(self._order[place])
            part = self._parts[number]
            rows = part.train
            if self._shuffle:
                rows = np.random.default_rng([self._seed, self._epoch, number]).permutation(rows)
            self._loaded = (place, *self._inputs(part.frame[rows], part.y[rows]))
        return self._loaded[1:]


@dataclass(frozen=True)
class Side:
    """The inputs or the targets of a stream, as `gpubp.Trainer` reads them: by slices."""

    stream: Stream
    number: int
    shape: tuple[int, ...]

    def __getitem__(self, rows: slice) -> Any:
        """Read neighbouring rows."""
        return self.stream.take(rows.start, rows.stop)[self.number]


def inputs_of(preparation: Any, target: Target, dtype: Any) -> Any:
    """Make the function that makes inputs and targets of a frame and y."""

    def make(frame: Any, y: Any) -> tuple[Any, Any]:
        x = prepared(preparation, frame, dtype)
        if target.classifies:
            return x, y
        return x, ((y - target.mean) / target.scale).astype(dtype)[:, None]

    return make
