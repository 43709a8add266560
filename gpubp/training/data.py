"""Training data: data sets, which are on the device or read batch by batch."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from ..arrays import is_on_host, is_sparse, move, take, to_host
from ..backends import Array, Rows, SparseRows
from ..data_validation import (
    check_inputs,
    check_target_shape,
    check_targets,
    check_weights,
)
from ..network import Network
from ..sources import Source, is_source
from ..sparse import place
from .block_groups import BlockGroups
from .order import DataOrder

__all__ = ["BatchForm", "Dataset"]

CHECKED_ROWS = 32
"""The most rows of a data set whose checksum a checkpoint contains."""


class Dataset:
    """Rows of x, y and sample weights, which are checked and moved to the device.

    Arrays in memory are checked completely and moved to the device once. Other data are streamed: a
    numpy.memmap, arrays of h5py, zarr and dask, or any object with a shape that can be sliced. They are
    read and checked batch by batch. The rows of a batch are read in rising order. A sparse x is in memory,
    and so is its y.

    Parameters
    ----------
    network : Network
        The network that the rows are for.
    x : array or sparse matrix of shape (rows, n_in), or a sliceable object of that shape
        Inputs.
    y : array of shape (rows,) or (rows, n_out), or a sliceable object of that shape
        Labels or targets.
    sample_weight : array of shape (rows,), optional
        Sample weights, not negative.
    name : str, default ""
        A prefix for messages: "" or "validation ".

    Attributes
    ----------
    streamed : bool
        Whether rows are read batch by batch.
    sparse : bool
        Whether x is sparse.
    labels : bool
        Whether y holds integer labels.
    x, y : arrays, SparseRows or Source
        The data; on the device unless they are streamed.
    weights : array of shape (rows,), on the host, or None
        The sample weights.
    failed : bool
        Whether streamed rows could not be read, or did not fit the network.

    Raises
    ------
    ValueError
        If x, y or sample_weight does not fit the network; the message names it.
    """

    def __init__(
        self, network: Network, x: Any, y: Any, sample_weight: Any = None, name: str = ""
    ) -> None:
        self._network, self._name, self.failed = network, name, False
        backend, cost, dtype = network.backend, network.cost_function, network.dtype
        n_in, n_out = network.sizes[0], network.sizes[-1]
        self.streamed, self.sparse = is_source(x) or is_source(y), is_sparse(x)
        if self.sparse and self.streamed:
            came = f"{name}y is read batch by batch"
            raise ValueError(f"{came}, expected an array in memory, because {name}x is sparse")
        if is_source(x):
            x = Source(f"{name}x", x)
            x.check_width(n_in)
        else:
            x = check_inputs(x, n_in, f"{name}x", dtype=network.input_dtype)
        self._rows = int(x.shape[0])
        if is_source(y):
            y = Source(f"{name}y", y)
            check_target_shape(f"{name}y", y.shape, cost, len(self), n_out)
        else:
            y = check_targets(y, cost, len(self), n_out, f"{name}y", dtype=dtype)
        self.labels = len(y.shape) == 1 and cost.targets == "class"
        weights = check_weights(sample_weight, len(self), f"{name}sample_weight", dtype=dtype)
        self.weights = None if weights is None else to_host(weights)
        self.x, self.y, self._weights_on_device = x, y, None
        self._counts: tuple[int, Any] = 0, None  # a stride, and the rows of each batch
        if not self.streamed:
            try:
                self.x, self.y, self._weights_on_device = self._on_device(x, y, weights)
            except MemoryError:
                if self.sparse:
                    raise
                warnings.warn(
                    f"{name}x and {name}y have no room in memory, on {backend.name}: they are brought"
                    " there a batch at a time, which is slower",
                    RuntimeWarning,
                    stacklevel=2,
                )
                self.streamed = True
        if self.streamed:
            self._feed = backend.feed()
            self.x = x if isinstance(x, Source) else Source(f"{name}x", x)
            self.y = y if isinstance(y, Source) else Source(f"{name}y", y)

    def __len__(self) -> int:
        return self._rows

    @property
    def weighted(self) -> bool:
        """Whether rows have sample weights."""
        return self.weights is not None

    def steps(self, stride: int) -> int:
        """Return the number of batches of `stride` rows, of which the last may have fewer."""
        return -(-len(self) // stride)

    def draw(
        self, order: DataOrder, stride: int, shuffle: bool | str, *, keeps_state: bool
    ) -> None:
        """Draw the order of an epoch, as `DataOrder.draw` does; `shuffle` is that of a trainer."""
        groups = self._groups(shuffle)
        order.draw(len(self), stride, shuffle=bool(shuffle), groups=groups, keeps_state=keeps_state)

    def catch_up(self, order: DataOrder, shuffle: bool | str) -> None:
        """Draw the orders that a RandomState had drawn before a checkpoint."""
        order.catch_up(len(self), self._groups(shuffle))

    def _groups(self, shuffle: bool | str) -> BlockGroups | None:
        """Return the blocks of x that stay near each other; rows in memory are one block."""
        if shuffle != "blocks" or not self.streamed:
            return None
        self.x.keep_blocks()
        self.y.keep_blocks()
        return BlockGroups(self.x.starts, self.x.row_bytes)

    def batches(
        self, rows: Rows, order: DataOrder, epoch: int, first: int = 0
    ) -> Iterator[tuple[int, int]]:
        """Set `rows` to an epoch's batches, one after another.

        If all data are on the device, `rows` is set to all of them once, and captured steps find their
        batches by the order.

        Parameters
        ----------
        rows : Rows
            The rows that a training step reads.
        order : DataOrder
            The order of this epoch.
        epoch : int
            The number of the epoch, counted from 0, for error messages.
        first : int, default 0
            The number of the first batch, counted from 0.

        Yields
        ------
        size, count : int
            The number of rows of a batch, and the number of batches in a row of that size that `rows` is
            ready for.

        Raises
        ------
        ValueError, OSError, RuntimeError
            If a batch that is streamed cannot be read or does not fit the network. The message names epoch
            and batch, counted from 1, and the row, counted from 0.
        """
        if self.streamed:
            for batch, chosen in enumerate(islice(order, first, None), first):
                self._read(rows, chosen, f"in epoch {epoch + 1}, batch {batch + 1}")
                yield len(chosen), 1
            return
        on_device = order.on_device(self._network.backend)
        rows.set(self.x, self.y, self._weights_on_device, on_device, order.stride)
        whole, rest = divmod(len(self), order.stride)
        if first < whole:
            yield order.stride, whole - first
        if rest and first <= whole:
            yield rest, 1

    def chunks(self, rows: Rows, size: int, epoch: int) -> Iterator[tuple[int, float]]:
        """Set `rows` to the data, at most `size` neighbouring rows at a time, after this epoch.

        Yields
        ------
        count, weight : int, float
            The number of rows, and their weight in a mean over all rows (`total_weight`).

        Raises
        ------
        ValueError, OSError, RuntimeError
            As in `batches`.
        """
        for start in range(0, len(self), size):
            chosen = np.arange(start, min(start + size, len(self)))
            if self.streamed:
                self._read(rows, chosen, f"after epoch {epoch + 1}")
            else:
                cut, weights = slice(start, start + size), self._weights_on_device
                rows.set(self.x[cut], self.y[cut], None if weights is None else weights[cut])
            yield len(chosen), self.total_weight(chosen)

    def described(self, shuffle: bool | str = False) -> dict[str, Any]:
        """Describe the data for a checkpoint: the number of rows, and a checksum of some of them.

        Parameters
        ----------
        shuffle : bool or "blocks", default False
            How the rows are shuffled. With "blocks", the description has a checksum of the blocks.

        Returns
        -------
        dict
            The same for the same rows, also on another backend. Other data have another description, unless
            they differ only in other rows.
        """
        chosen = np.unique(np.linspace(0, len(self) - 1, CHECKED_ROWS).astype(np.int64))
        parts = (
            [self.x.read(chosen), self.y.read(chosen)]
            if self.streamed
            else [*self._taken_from_x(chosen), take(self.y, chosen)]
        )
        if self.weights is not None:
            parts.append(self.weights[chosen])
        checksum = 0
        for part in parts:
            checksum = zlib.crc32(to_host(part).astype(np.float64).tobytes(), checksum)
        blocks = {}
        if self.streamed and shuffle == "blocks":
            blocks = {"checksum of blocks": zlib.crc32(self.x.starts.astype("<i8"))}
        return {"number of rows": len(self), "checksum of rows": checksum, **blocks}

    def _taken_from_x(self, chosen: Any) -> list[Array]:
        """Return these rows of an x in memory; of a sparse x, what it stores of them."""
        if not isinstance(self.x, SparseRows):
            return [take(self.x, chosen)]
        return list(self.x.moved(to_host).take(chosen).arrays)

    def total_weight(self, chosen: Any) -> float:
        """Return a batch's weight in a mean over all rows: its row count, or its sum of sample weights."""
        if self.weights is None:
            return float(len(chosen))
        return float(self.weights[chosen].sum(dtype=np.float64))

    def batch_weights(self, order: DataOrder) -> Any:
        """Return the weight of each batch of an epoch in a mean over all rows: see `total_weight`."""
        if self.weights is None:
            if self._counts[0] != order.stride:
                counts = np.full(-(-len(self) // order.stride), float(order.stride))
                counts[-1] -= len(counts) * order.stride - len(self)
                counts.flags.writeable = False
                self._counts = order.stride, counts
            return self._counts[1]
        starts = np.arange(0, len(self), order.stride)
        return np.add.reduceat(self.weights[order.rows], starts, dtype=np.float64)

    def _on_device(
        self, x: Array | SparseRows, y: Array, weights: Array | None
    ) -> tuple[Array | SparseRows, Array, Array | None]:
        """Move all rows to the device."""
        network, backend = self._network, self._network.backend
        placed = place(x, backend, network.dtype, network.precision)
        return (
            placed if self.sparse else backend.asarray(placed),
            backend.asarray(move(y, backend)),
            None if weights is None else move(weights, backend),
        )

    def _read(self, rows: Rows, chosen: Any, when: str) -> None:
        """Read and check the rows with these rising indices, and set `rows` to them."""
        try:
            x, y = self._checked(chosen)
        except (ValueError, OSError, RuntimeError) as error:
            self.failed = True
            raise type(error)(f"{error} ({when})") from error.__cause__
        weights = None if self.weights is None else self._bring("weights", self.weights[chosen])
        rows.set(self._bring("x", x), self._bring("y", y), weights)

    def _checked(self, chosen: Any) -> tuple[Array, Array]:
        """Read and check x and y of these rows."""
        network, name = self._network, self._name
        n_in, n_out = network.sizes[0], network.sizes[-1]
        x = check_inputs(
            self.x.read(chosen), n_in, f"{name}x", dtype=network.input_dtype, rows=chosen
        )
        y = check_targets(
            self.y.read(chosen),
            network.cost_function,
            len(chosen),
            n_out,
            f"{name}y",
            dtype=network.dtype,
            rows=chosen,
        )
        return x, y

    def _bring(self, name: str, array: Array) -> Array:
        """Move one batch's rows to the device."""
        if is_on_host(array):
            return self._feed(name, array)
        return move(array, self._network.backend)


class BatchForm(NamedTuple):
    """The properties of a batch that a captured step depends on.

    Attributes
    ----------
    rows : int
        The number of rows.
    block_limit : int or None
        The most rows of a block; with None, the backend chooses it.
    labels : bool
        Whether targets are integer labels.
    weighted : bool
        Whether rows have sample weights.
    sparse : bool, default False
        Whether x is sparse.

    See Also
    --------
    gpubp.Trainer.form_of : Makes the form of a trainer's batch.

    Examples
    --------
    >>> from gpubp.training import BatchForm
    >>> BatchForm(rows=32, block_limit=None, labels=True, weighted=False)
    BatchForm(rows=32, block_limit=None, labels=True, weighted=False, sparse=False)
    """

    rows: int
    block_limit: int | None
    labels: bool
    weighted: bool
    sparse: bool = False
