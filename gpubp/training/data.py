"""Training data: all of it on the device, or read batch by batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends import Array, Backend, Rows, backend_of
from ..kernels import Cost
from ..validation import as_array, check_inputs, check_targets, check_weights, move

__all__ = ["Data"]


class Data:
    """Rows of x, y and sample weights, checked, and brought to the device when they are needed.

    Arrays in memory are checked whole and moved to the device once. A numpy.memmap, or anything else
    that is not an array but has a shape and can be sliced (an h5py data set, say), is read and checked
    a batch at a time: rows in rising order, by one slice where they are neighbours, else by an index
    array or, where that fails, one by one.
    """

    def __init__(
        self,
        backend: Backend,
        cost: Cost,
        sizes: tuple[int, int],
        x: Any,
        y: Any,
        sample_weight: Any = None,
        name: str = "",
    ) -> None:
        self._backend, self._cost, self._sizes, self._name = backend, cost, sizes, name
        n_in, n_out = sizes
        self.streamed = _is_sliceable(x)
        if self.streamed:
            if len(x.shape) != 2 or x.shape[1] != n_in:
                raise ValueError(f"{name}x has shape {tuple(x.shape)}, expected (rows, {n_in})")
            if not x.shape[0]:
                raise ValueError(f"{name}x has no rows, expected at least one")
            self.rows = int(x.shape[0])
        else:
            x = check_inputs(x, n_in, f"{name}x")
            self.rows = len(x)
        self._streamed_y = _is_sliceable(y)
        if self._streamed_y and y.shape[0] != self.rows:
            raise ValueError(f"{name}y has {y.shape[0]} rows, expected {self.rows}, as x has")
        if not self._streamed_y:
            y = check_targets(y, cost, self.rows, n_out, f"{name}y")
        self.streamed = self.streamed or self._streamed_y
        self.labels = len(y.shape) == 1 and cost.targets == "class"
        weights = check_weights(sample_weight, self.rows, f"{name}sample_weight")
        self.weights = None if weights is None else _host(weights)
        if self.streamed:
            self._x, self._y = x, y
            self.source = Rows(None)
        else:
            device_weights = None if weights is None else move(weights, backend)
            self.source = Rows(
                backend.asarray(move(x, backend)), backend.asarray(move(y, backend)), device_weights
            )

    def total_weight(self, rows: Any) -> float:
        """The weight of a batch in a mean over all: its number of rows, or their sample weights' sum."""
        return float(
            len(rows) if self.weights is None else self.weights[rows].sum(dtype=np.float64)
        )

    def bring(self, rows: Any) -> None:
        """Read the batch of these rows, in rising order, to the device, if it is not there."""
        if not self.streamed:
            return
        n_in, n_out = self._sizes
        x_name, y_name = f"a batch of {self._name}x", f"a batch of {self._name}y"
        x = check_inputs(_read(x_name, self._x, rows), n_in, x_name)
        y = check_targets(_read(y_name, self._y, rows), self._cost, len(rows), n_out, y_name)
        weights = None if self.weights is None else self.weights[rows]
        self.source.x = move(x, self._backend)
        self.source.y = move(y, self._backend)
        self.source.weights = None if weights is None else self._backend.asarray(weights)


def _is_sliceable(data: Any) -> bool:
    if isinstance(data, np.memmap):
        return True
    array_like = (
        isinstance(data, np.ndarray)
        or hasattr(data, "__array__")
        or hasattr(data, "__dlpack__")
        or backend_of(data) is not None
    )
    has_rows = hasattr(data, "shape") and hasattr(data, "__getitem__")
    return has_rows and (not array_like or type(data).__module__.partition(".")[0] == "h5py")


def _host(array: Array) -> Any:
    owner = backend_of(array)
    return np.asarray(array) if owner is None else owner.to_numpy(array)


def _read(name: str, data: Any, rows: Any) -> Any:
    first, last = int(rows[0]), int(rows[-1])
    if last - first == len(rows) - 1:
        return as_array(name, data[first : last + 1])
    try:
        return as_array(name, data[rows])
    except (TypeError, IndexError, KeyError):
        return np.concatenate([np.asarray(data[int(k) : int(k) + 1]) for k in rows])
