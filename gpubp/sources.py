"""Read rows of data that need not fit in memory, and check that they are the rows that were asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np

from .arrays import as_array, home_of, is_sparse, namespace
from .backends import Array, backend_of
from .foreign import refusal
from .kernels.messages import shortened, shown

__all__ = ["READ_BYTES", "Source", "is_source", "rows_at_once"]

BLOCK_BYTES = 2**20
"""About the bytes of a block of neighbouring rows, of data without chunks."""

KEPT_BYTES = 2**28
"""The most bytes of chunks that a source keeps. Two of dask's default size, 128 MiB, have room."""

READ_BYTES = 2**26
"""The most bytes that are read at once from front to back."""

LIBRARIES = ("h5py", "zarr", "dask.array")
"""Libraries whose arrays are read by slices, though NumPy could convert them as a whole."""


def is_source(data: Any) -> bool:
    """Whether the data are to be read by slices: a memmap, or an object with a shape that is no array."""
    if isinstance(data, np.ndarray):
        return isinstance(data, np.memmap)
    try:
        has_shape = hasattr(data, "shape")
    except Exception:  # as of a data set of a closed file, which `Source` tells
        return True
    if not has_shape or not hasattr(data, "__getitem__") or is_sparse(data):
        return False
    array_like = (
        backend_of(data) is not None or hasattr(data, "__array__") or hasattr(data, "__dlpack__")
    )
    return not array_like or any(
        f"{kind.__module__}.".startswith(f"{library}.")
        for kind in type(data).__mro__
        for library in LIBRARIES
    )


def rows_at_once(source: Source, most: int) -> int:
    """Return the number of rows to read at once from front to back: at most `most`, and 64 MiB."""
    return max(1, min(most, READ_BYTES // source.row_bytes))


class Source:
    """Data that are read by slices.

    A kernel that gathers rows trusts their number. So what the data give is checked at every reading.

    Data may be stored in chunks of rows, each of which is read, unpacked or computed as a whole. The latest
    chunks are kept: batches that lie in the same chunks then read them once.

    Parameters
    ----------
    name : str
        The name of the data in error messages.
    data : sliceable object with a shape
        The data: a numpy.memmap, an array of h5py, zarr or dask, or another object with a shape that can be
        sliced.
    kept_bytes : int, optional
        The bytes of blocks that may be kept; two have room in any case. By default
        256 MiB.

    Attributes
    ----------
    shape : tuple of int
        The shape that the data had at first.
    row_bytes : int
        The bytes of a row.
    starts : int64 array of shape (blocks + 1,)
        Where the blocks of neighbouring rows begin, and the number of rows. A block is a chunk, or a part
        of one above 128 MiB. Without chunks it is about 1 MiB.
    keeps_blocks : bool
        Whether blocks are read as a whole, and kept; at first, whether the data have chunks.

    Raises
    ------
    ValueError
        If the shape is not a tuple of whole numbers.
    RuntimeError
        If the data gave no shape but an error, which is the cause: a file may be closed.
    """

    def __init__(self, name: str, data: Any, kept_bytes: int | None = None) -> None:
        self._name, self._data = name, data
        if told := refusal(name, data):
            raise ValueError(told)
        try:
            shape = data.shape
        except Exception as error:
            came = f"{type(error).__name__}: {shortened(error)}"
            raise RuntimeError(f"{name} gave no shape but an error, {came}") from error
        whole = isinstance(shape, tuple | list) and all(
            isinstance(length, int | np.integer) and length >= 0 for length in shape
        )
        if not whole:
            hint = (
                ", as .compute_chunk_sizes() gives" if hasattr(data, "compute_chunk_sizes") else ""
            )
            raise ValueError(
                f"{name} has shape {shown(shape)}, expected a tuple of whole numbers{hint}"
            )
        self.shape = tuple(int(length) for length in shape)
        itemsize = getattr(getattr(data, "dtype", None), "itemsize", 8)
        self.row_bytes = max(1, int(np.prod(self.shape[1:], dtype=object)) * itemsize)
        chunks = _chunk_rows(data, self.shape)
        self.keeps_blocks = bool(chunks)
        self.starts = _starts(chunks, self.shape[0] if shape else 0, self.row_bytes)
        # Kept blocks lie in slots of one array, so that one index finds the rows of a batch.
        blocks = len(self.starts) - 1
        self._slot_rows = int(np.diff(self.starts).max(initial=1))
        kept_bytes = KEPT_BYTES if kept_bytes is None else kept_bytes
        self._slots = min(blocks, max(2, kept_bytes // (self._slot_rows * self.row_bytes)))
        self._slot_of = np.full(blocks, -1)
        self._used = np.zeros(self._slots + 1, np.int64)  # the last entry is of no slot, -1
        self._readings, self._kept = 0, cast(Array, None)

    def __len__(self) -> int:
        return self.shape[0]

    def keep_blocks(self) -> None:
        """Read blocks as a whole from now on, unless the system keeps what was read (of a memmap)."""
        self.keeps_blocks = not isinstance(self._data, np.ndarray)

    def check_width(self, n_in: int) -> None:
        """Check that the data are rows of a network's inputs, else raise a ValueError."""
        if len(self.shape) != 2 or self.shape[1] != n_in:
            raise ValueError(f"{self._name} has shape {self.shape}, expected (rows, {n_in})")
        if not self.shape[0]:
            raise ValueError(f"{self._name} has no rows, expected at least one")

    def parts(self, size: int) -> Iterator[Any]:
        """Yield the indices of all rows, at most `size` neighbours at a time."""
        for start in range(0, len(self), size):
            yield np.arange(start, min(start + size, len(self)))

    def read(self, rows: Any) -> Array:
        """Read the rows with these rising indices.

        Neighbours are read by one slice. Other rows are read by an index array or, if the data take none,
        one by one. If blocks are kept and those of the rows have room, whole blocks are read instead.

        Returns
        -------
        array of shape (rows, ...)
            The rows, until the next reading: they may be a part of what is kept.

        Raises
        ------
        ValueError
            If the data give something else than numbers of the shape that was asked for.
        OSError
            If the data raised an OSError, which is the cause.
        RuntimeError
            If the data raised another error, which is the cause.
        """
        if self.keeps_blocks:
            blocks = np.searchsorted(self.starts, rows, side="right") - 1
            needed = np.unique(blocks)
            if len(needed) <= self._slots:
                return self._from_blocks(rows, blocks, needed)
        return self._read(rows)

    def _from_blocks(self, rows: Any, blocks: Any, needed: Any) -> Array:
        """Return rows of kept blocks, after those that are needed have been read."""
        missing = needed[self._slot_of[needed] < 0]
        self._readings += 1
        self._used[self._slot_of[needed]] = self._readings
        # Neighbours are read by one slice, which dask computes on several threads.
        for run in np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1):
            if len(run):
                self._keep(run)
        places = self._slot_of[blocks] * self._slot_rows + rows - self.starts[blocks]
        first, last = int(places[0]), int(places[-1])
        if len(needed) == 1 and last - first == len(rows) - 1:
            return self._kept[first : last + 1]
        with home_of(self._kept).use():
            return self._kept[places]

    def _keep(self, run: Any) -> None:
        """Read neighbouring blocks, and keep them in the place of those that were needed longest ago."""
        begin = self.starts[run[0]]
        read = self._read(np.arange(begin, self.starts[run[-1] + 1]))
        if self._kept is None:
            with home_of(read).use():
                shape = self._slots * self._slot_rows, *self.shape[1:]
                self._kept = namespace(read).empty(shape, read.dtype)
        for block in run:
            slot = int(self._used[:-1].argmin())
            self._slot_of[self._slot_of == slot] = -1
            self._slot_of[block], self._used[slot] = slot, self._readings
            part = read[self.starts[block] - begin : self.starts[block + 1] - begin]
            place = slot * self._slot_rows
            self._kept[place : place + len(part)] = part

    def _read(self, rows: Any) -> Array:
        first, last = int(rows[0]), int(rows[-1])
        are_neighbours = last - first == len(rows) - 1
        try:
            given = self._data[slice(first, last + 1) if are_neighbours else rows]
            given = given.compute() if hasattr(given, "compute") else given  # dask's are lazy
        except MemoryError:
            raise
        except Exception as error:
            if not are_neighbours and isinstance(error, TypeError | IndexError | KeyError):
                parts = [self._read(rows[k : k + 1]) for k in range(len(rows))]
                return namespace(parts[0]).concatenate(parts)
            kind = OSError if isinstance(error, OSError) else RuntimeError
            came = f"{type(error).__name__}: {shortened(error)}"
            raise kind(f"{self._name} gave no {_listed(rows)} but an error, {came}") from error
        return self._checked(given, rows)

    def _checked(self, given: Any, rows: Any) -> Array:
        name = f"a batch of {self._name}"
        array, expected = as_array(name, given), (len(rows), *self.shape[1:])
        if array.shape != expected:
            raise ValueError(
                f"{name} has shape {array.shape}, expected {expected}, {_listed(rows)}"
            )
        return array


def _chunk_rows(data: Any, shape: tuple[int, ...]) -> list[int]:
    """Return the number of rows of each chunk; an empty list if the data have no chunks."""
    try:
        first = data.chunks[0]
        if isinstance(first, tuple):  # dask: of every chunk
            return [int(rows) for rows in first if rows] if sum(first) == shape[0] else []
        size = int(first)
        return [min(size, shape[0] - k) for k in range(0, shape[0], size)]
    except (AttributeError, TypeError, ValueError, IndexError):
        return []


def _starts(chunks: list[int], rows: int, row_bytes: int) -> Any:
    """Return where blocks begin, and the number of rows."""
    most = max(1, KEPT_BYTES // 2 // row_bytes if chunks else BLOCK_BYTES // row_bytes)
    starts, begin = [0], 0
    for size in chunks or [rows]:
        starts += [min(begin + k + most, begin + size) for k in range(0, size, most)]
        begin += size
    return np.array(starts, np.int64)


def _listed(rows: Any) -> str:
    first, last = int(rows[0]), int(rows[-1])
    if first == last:
        return f"row {first}"
    return f"{len(rows)} rows from row {first} to {last}"
