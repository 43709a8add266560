"""Open files of data as tables, of which rows are read when they are needed."""

from __future__ import annotations

import gzip
import io
import os
import sys
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from polars import selectors

from ..errors import CorruptFileError, unknown_name
from ..files import check_is_file
from ..kernels.messages import shortened
from .table import Table
from .text import read_text

__all__ = ["FORMATS", "chosen", "open_table", "table_of"]

FORMATS = ("csv", "tsv", "parquet", "npy", "npz")
"""The names of the formats of `open_table`.

Examples
--------
>>> import gpubp.tables
>>> gpubp.tables.FORMATS
('csv', 'tsv', 'parquet', 'npy', 'npz')
"""

GZIP = b"\x1f\x8b"
"""What files begin with that gzip has compressed."""

_SUFFIXES = {
    ".csv": "csv", ".txt": "csv", ".tsv": "tsv", ".tab": "tsv", ".parquet": "parquet", ".pq": "parquet",
    ".npy": "npy", ".npz": "npz",
}  # fmt: skip


class MemoryTable(Table):
    """A table in memory."""

    def __init__(self, name: str, frame: Any, notes: Sequence[str] = ()) -> None:
        super().__init__(name, dict(frame.schema), frame.height, notes)
        self._frame = frame

    def read(self, start: int, stop: int, columns: Sequence[str] | None = None) -> Any:
        part = self._frame.slice(start, stop - start)
        return part if columns is None else chosen(part, columns)


def chosen(frame: Any, columns: Sequence[str]) -> Any:
    """Take columns of a polars.DataFrame; its `select` takes names such as "^a$" and "*" for patterns."""
    return pl.DataFrame([frame.get_column(name) for name in columns])


class ParquetTable(Table):
    """A Parquet file, of which only the row groups and columns are read that hold what is asked for."""

    streams = True

    def __init__(self, name: str, source: Any) -> None:
        self._source = source
        with _damage(name, "Parquet"):
            scan = self._scan()
            schema = dict(scan.collect_schema())
            rows = int(scan.select(pl.len()).collect().item())
        super().__init__(name, schema, rows)

    def read(self, start: int, stop: int, columns: Sequence[str] | None = None) -> Any:
        with _damage(self.name, "Parquet"):
            scan = self._scan().slice(start, stop - start)
            if columns is None:
                return scan.collect()
            return chosen(scan.select(selectors.by_name(*columns)).collect(), columns)

    def _scan(self) -> Any:
        return pl.scan_parquet(self._source, glob=False, hive_partitioning=False)


class ArrayTable(Table):
    """The columns x0, x1, ... of an array (rows, columns), which may be a map of a file."""

    streams = True

    def __init__(self, name: str, array: Any) -> None:
        if array.ndim == 1 and array.dtype.names:
            self._columns = {name: array[name] for name in array.dtype.names}
        elif array.ndim == 2:
            self._columns = {f"x{k}": array[:, k] for k in range(array.shape[1])}
        else:
            raise ValueError(
                f"{name} has an array of shape {array.shape}, expected (rows, columns)"
            )
        self._array = array
        first = pl.DataFrame({key: _known(np.asarray(c[:1])) for key, c in self._columns.items()})
        super().__init__(name, dict(first.schema), len(array))

    def read(self, start: int, stop: int, columns: Sequence[str] | None = None) -> Any:
        rows = np.array(self._array[start:stop])  # one read of neighbours, then its columns
        names = list(self._columns) if columns is None else list(columns)
        if rows.dtype.names:
            return pl.DataFrame({name: _known(rows[name]) for name in names})
        return pl.DataFrame({name: _known(rows[:, int(name[1:])]) for name in names})


def open_table(path: Any, format: str | None = None) -> Table:
    """Open a file of data.

    Parameters
    ----------
    path : path-like
        A CSV, TSV, Parquet, .npy or .npz file, which gzip may have compressed, or "-" for
        standard input.
    format : str, optional
        "csv", "tsv", "parquet", "npy" or "npz"; by default it follows the suffix, and standard input is
        CSV.

    Returns
    -------
    Table
        The table. Of Parquet and .npy files rows are read when they are needed.

    Raises
    ------
    CorruptFileError
        If the file is damaged, or is not what it should be.
    ValueError
        If the format is unknown or the table has no rows or two columns with one name.
    OSError
        If the file cannot be read.

    See Also
    --------
    train : Trains a model of the table.
    Plan : Shows what its columns are.

    Examples
    --------
    >>> import gpubp.tables, polars
    >>> rows = {"id": range(6), "size": [1.5, 2.5, 4.5, 5.5, 7.5, 9.0], "kind": ["a", "b"] * 3}
    >>> polars.DataFrame(rows).write_parquet("rows.parquet")
    >>> table = gpubp.tables.open_table("rows.parquet")
    >>> table.rows, list(table.schema), table.streams
    (6, ['id', 'size', 'kind'], True)
    """
    path = os.fspath(path)
    name = "standard input" if path == "-" else path
    if path != "-":
        check_is_file(path, "a file of data")
    format = _format_of(path, format)
    if path == "-":
        return _opened(name, format, _decompressed(name, sys.stdin.buffer.read()))
    with open(path, "rb") as file:
        if format in ("parquet", "npy") and file.seekable():  # a pipe is not
            begin = file.read(6)
            if format == "parquet" and not begin.startswith(GZIP):
                return ParquetTable(name, path)
            if format == "npy" and begin == b"\x93NUMPY":
                return ArrayTable(name, _array(name, path, mmap_mode="r"))
            file.seek(0)
        return _opened(name, format, _decompressed(name, file.read()))


def table_of(data: Any) -> Table:
    """Make a table of a polars or pandas DataFrame, a dict of columns, or an array (rows, columns)."""
    if isinstance(data, pl.DataFrame):
        return MemoryTable("the frame", data)
    if isinstance(data, np.ndarray):
        return ArrayTable("the array", data)
    columns = dict(data) if isinstance(data, dict) else {name: data[name] for name in data.columns}
    return MemoryTable("the frame", pl.DataFrame([_series(*item) for item in columns.items()]))


def _series(name: Any, values: Any) -> Any:
    """Convert a column of pandas or NumPy; what pandas calls missing is null."""
    values = getattr(values, "array", values)  # of a pandas.Series
    array = np.asarray(values)
    if array.dtype.kind in "fiubMUS":
        return pl.Series(str(name), _known(array))
    missing = values.isna() if hasattr(values, "isna") else np.zeros(len(array), bool)
    items = [None if gap else value for value, gap in zip(array.tolist(), missing, strict=True)]
    return pl.Series(str(name), items, strict=False)


def _known(array: Any) -> Any:
    """Convert dtypes that polars does not know: byte orders, float16, longdouble, bytes, units of time."""
    if array.dtype.kind in "mM":
        return array.astype(f"{array.dtype.kind}8[us]")
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8", "replace")
    dtype = array.dtype.newbyteorder("=")
    known = {"e": np.dtype(np.float32), "g": np.dtype(np.float64)}
    return array.astype(known.get(dtype.char, dtype), copy=False)


def _format_of(path: str, format: str | None) -> str:
    if format is not None:
        if format not in FORMATS:
            raise unknown_name("format", format, FORMATS)
        return format
    if path == "-":
        return "csv"
    suffix = os.path.splitext(path.removesuffix(".gz"))[1].lower()
    if suffix not in _SUFFIXES:
        came = f"the suffix {suffix!r}" if suffix else "no suffix"
        raise ValueError(
            f"{path} has {came}, expected one of {', '.join(_SUFFIXES)}; --format names the format"
        )
    return _SUFFIXES[suffix]


def _decompressed(name: str, content: bytes) -> bytes:
    if not content.startswith(GZIP):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise CorruptFileError(f"{name} is damaged: {shortened(error)} (gzip)") from None


def _opened(name: str, format: str, content: bytes) -> Table:
    if not content:
        raise CorruptFileError(f"{name} is empty, expected a table")
    if format in ("csv", "tsv"):
        frame, notes = read_text(name, content, "\t" if format == "tsv" else None)
        return MemoryTable(name, frame, notes)
    if format == "parquet":
        return ParquetTable(name, io.BytesIO(content))
    array = _array(name, io.BytesIO(content))
    if format == "npz":
        return _of_arrays(name, array)
    if not isinstance(array, np.ndarray):
        raise CorruptFileError(
            f"{name} is an .npz file, expected one array (--format npz reads it)"
        )
    return ArrayTable(name, array)


def _array(name: str, file: Any, **options: Any) -> Any:
    """Read NumPy's file, without objects, which would be pickles."""
    try:
        return np.load(file, allow_pickle=False, **options)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise CorruptFileError(
            f"{name} is not a NumPy file of numbers: {shortened(error)}"
        ) from None


def _of_arrays(name: str, arrays: Any) -> Table:
    """Make a table of an .npz file: each array is a column, or the columns x0, x1, ... of x."""
    if not isinstance(arrays, np.lib.npyio.NpzFile):
        raise CorruptFileError(f"{name} is not an .npz file, expected an archive of arrays")
    columns: dict[str, Any] = {}
    for key in arrays.files:
        try:
            array = arrays[key]
        except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
            raise CorruptFileError(
                f"{name} has a damaged array {key!r}: {shortened(error)}"
            ) from None
        if not isinstance(array, np.ndarray):
            raise CorruptFileError(f"{name} has the member {key!r}, which is no array")
        if array.ndim not in (1, 2):
            raise ValueError(
                f"{name} has the array {key!r} of shape {array.shape}, expected 1 or 2 axes"
            )
        is_x = key in ("x", "X")
        if array.ndim == 1 or (array.shape[1] == 1 and not is_x):
            made = {key: array.reshape(-1)}
        else:
            stem = "x" if is_x else f"{key}_"
            made = {f"{stem}{k}": array[:, k] for k in range(array.shape[1])}
        twice = columns.keys() & made.keys()
        if twice:
            raise ValueError(
                f"{name} has two columns named {min(twice)!r}, expected a name of its own for each"
            )
        columns |= made
    lengths = {key: len(column) for key, column in columns.items()}
    if len(set(lengths.values())) > 1:
        low, high = min(lengths, key=lambda k: lengths[k]), max(lengths, key=lambda k: lengths[k])
        raise ValueError(
            f"{name} has {lengths[low]} rows of {low} and {lengths[high]} of {high}, expected as many"
        )
    return MemoryTable(name, pl.DataFrame([_series(*item) for item in columns.items()]))


class _damage:
    """A context that turns polars' errors, and its panics, into an error that names the file."""

    def __init__(self, name: str, kind: str) -> None:
        self._name, self._kind = name, kind

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, pl.exceptions.PolarsError) or "Panic" in type(error).__name__:
            said = shortened(str(error).partition("\n")[0])
            raise CorruptFileError(
                f"{self._name} is not a whole {self._kind} file: {said}"
            ) from None
