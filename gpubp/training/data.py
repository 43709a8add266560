"""Training data: all of it on the device, or read batch by batch."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..arrays import as_array, is_on_host, is_sparse, move, to_host
from ..backends import Array, Rows, backend_of
from ..network import Network
from ..validation import check_inputs, check_targets, check_weights

__all__ = ["Data"]


class Data:
    """Rows of x, y and sample weights, checked, and brought to the device when they are needed.

    Arrays in memory are checked whole and moved to the device once. A numpy.memmap, or anything else
    that is not an array but has a shape and can be sliced (an h5py data set, say), is read and checked
    a batch at a time: rows in rising order, by one slice where they are neighbours, else by an index
    array or, where that fails, one by one.
    """

    def __init__(
        self, network: Network, x: Any, y: Any, sample_weight: Any = None, name: str = ""
    ) -> None:
        self._network, self._name = network, name
        backend, cost, dtype = network.backend, network.cost_function, network.dtype
        n_in, n_out = network.sizes[0], network.sizes[-1]
        self.streamed = _is_sliceable(x)
        if self.streamed:
            if len(x.shape) != 2 or x.shape[1] != n_in:
                raise ValueError(f"{name}x has shape {tuple(x.shape)}, expected (rows, {n_in})")
            if not x.shape[0]:
                raise ValueError(f"{name}x has no rows, expected at least one")
            self.rows = int(x.shape[0])
        else:
            x = check_inputs(x, n_in, f"{name}x", dtype=network.input_dtype)
            self.rows = len(x)
        self._streamed_y = _is_sliceable(y)
        if self._streamed_y and y.shape[0] != self.rows:
            raise ValueError(f"{name}y has {y.shape[0]} rows, expected {self.rows}, as x has")
        if not self._streamed_y:
            y = check_targets(y, cost, self.rows, n_out, f"{name}y", dtype=dtype)
        self.streamed = self.streamed or self._streamed_y
        self.labels = len(y.shape) == 1 and cost.targets == "class"
        weights = check_weights(sample_weight, self.rows, f"{name}sample_weight", dtype=dtype)
        self.weights = None if weights is None else to_host(weights)
        self.source = Rows(None)
        if not self.streamed:
            try:
                self.source = self._resident(x, y, weights)
            except MemoryError:
                warnings.warn(
                    f"{name}x and {name}y have no room in memory, on {backend.name}: they are brought"
                    " there a batch at a time, which is slower",
                    RuntimeWarning,
                    stacklevel=2,
                )
                self.streamed = True
        if self.streamed:
            self._x, self._y, self._feed = x, y, backend.feed()

    def _resident(self, x: Array, y: Array, weights: Array | None) -> Rows:
        """All rows on the device."""
        backend = self._network.backend
        return Rows(
            backend.asarray(move(x, backend)),
            backend.asarray(move(y, backend)),
            None if weights is None else move(weights, backend),
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
        network = self._network
        n_in, n_out = network.sizes[0], network.sizes[-1]
        x_name, y_name = f"a batch of {self._name}x", f"a batch of {self._name}y"
        x = check_inputs(_read(x_name, self._x, rows), n_in, x_name, dtype=network.input_dtype)
        y = check_targets(
            _read(y_name, self._y, rows),
            network.cost_function,
            len(rows),
            n_out,
            y_name,
            dtype=network.dtype,
        )
        weights = None if self.weights is None else self.weights[rows]
        self.source.x, self.source.y = self._bring("x", x), self._bring("y", y)
        self.source.weights = None if weights is None else self._bring("weights", weights)

    def _bring(self, name: str, array: Array) -> Array:
        """One batch's rows on the device."""
        if is_on_host(array):
            return self._feed(name, array)
        return move(array, self._network.backend)


def _is_sliceable(data: Any) -> bool:
    if isinstance(data, np.memmap):
        return True
    array_like = (
        backend_of(data) is not None or hasattr(data, "__array__") or hasattr(data, "__dlpack__")
    )
    has_rows = hasattr(data, "shape") and hasattr(data, "__getitem__") and not is_sparse(data)
    return has_rows and (not array_like or type(data).__module__.partition(".")[0] == "h5py")


def _read(name: str, data: Any, rows: Any) -> Any:
    first, last = int(rows[0]), int(rows[-1])
    if last - first == len(rows) - 1:
        return as_array(name, data[first : last + 1])
    try:
        return as_array(name, data[rows])
    except (TypeError, IndexError, KeyError):
        return np.concatenate([as_array(name, data[int(k) : int(k) + 1]) for k in rows])
