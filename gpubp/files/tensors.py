"""Write and read safetensors files.

A safetensors file is the length of its header (8 bytes), the header (JSON), and the tensors' bytes. gpubp
writes and reads the header itself: the library orders metadata at random, maps the file, and accepts
duplicate keys.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import CorruptFileError
from .header import CODES, LARGEST_HEADER, Entry, header_text, parse_header, parse_json
from .names import check_regular, corrupt, file_name, naming
from .whole import write_whole

__all__ = ["TensorFile", "write_tensors"]


def write_tensors(path: Any, tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Write tensors to a safetensors file, whole or not at all; the same content gives the same bytes.

    Parameters
    ----------
    path : path-like
        The file to write.
    tensors : mapping of str to numpy.ndarray
        The tensors; floats, or integers with or without sign.
    metadata : mapping of str to str
        Further text; "checksum" is added, with the SHA-256 of each tensor and of all else.

    Raises
    ------
    TypeError
        If `path` is no path, a tensor has another dtype, or metadata are not str.
    ValueError
        If names and metadata need more than 1 MiB.
    OSError
        If the file cannot be written, as in `write_whole`.
    """
    path = file_name(path)
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"metadata has {key!r}: {value!r}, expected str: str")
    arrays = {name: _copied(name, array) for name, array in tensors.items()}
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))  # aligns the data
    start, entries = 0, {}
    for name in names:
        stop = start + arrays[name].nbytes
        entries[name] = Entry(_native(arrays[name]), arrays[name].shape, start, stop)
        start = stop
    data = {name: _sha256(array) for name, array in arrays.items()}
    checksum = {"data": data, "header": _header_checksum(metadata, entries, data)}
    header = header_text({**metadata, "checksum": json.dumps(checksum, sort_keys=True)}, entries)
    if len(header) > LARGEST_HEADER:
        raise ValueError(
            f"names and metadata need {len(header)} bytes, expected at most {LARGEST_HEADER}"
        )
    write_whole(
        path, [len(header).to_bytes(8, "little"), header, *(arrays[name] for name in names)]
    )


def _copied(name: str, array: Any) -> Any:
    """Copy a tensor, as little-endian: another thread may change it after its checksum."""
    if _native(array) not in CODES:
        known = ", ".join(map(str, CODES))
        raise TypeError(f"{name} has dtype {array.dtype}, expected one of {known}")
    return np.array(array, array.dtype.newbyteorder("<"), order="C")


def _native(array: Any) -> np.dtype[Any]:
    dtype: np.dtype[Any] = array.dtype.newbyteorder("=")
    return dtype


def _sha256(array: Any) -> str:
    return hashlib.sha256(array.reshape(-1).view(np.uint8)).hexdigest()


def _header_checksum(
    metadata: Mapping[str, str], entries: Mapping[str, Entry], data: Mapping[str, str]
) -> str:
    """Compute the SHA-256 of metadata, names, dtypes, shapes and the tensors' checksums.

    The places of the tensors in the file do not matter: another program may have laid it out anew.
    """
    others = sorted((key, value) for key, value in metadata.items() if key != "checksum")
    tensors = sorted((name, str(e.dtype), e.shape, data[name]) for name, e in entries.items())
    return hashlib.sha256(json.dumps([others, tensors]).encode()).hexdigest()


def _data_checksums(
    metadata: Mapping[str, str], entries: Mapping[str, Entry]
) -> dict[str, str] | None:
    """Check the header's checksum; return the tensors' checksums, or None if the file has none."""
    if "checksum" not in metadata:
        return None
    checksum = parse_json(metadata["checksum"])
    if not isinstance(checksum, dict) or checksum.keys() != {"data", "header"}:
        raise ValueError("its checksum is damaged")
    data: Any = checksum["data"]
    if not isinstance(data, dict) or data.keys() != entries.keys():
        raise ValueError("its checksum is damaged")
    if checksum["header"] != _header_checksum(metadata, entries, data):
        raise ValueError("its header does not match its checksum")
    return data


class TensorFile:
    """A safetensors file that is open for reading; a context manager that closes it.

    Only the header has been read and checked: it fits the file's size exactly. The caller checks names,
    shapes and dtypes, and only then calls `read`, which needs as much memory as the tensors.

    Parameters
    ----------
    path : path-like
        The file to read. Nothing in it is executed.

    Attributes
    ----------
    path : str
        The file.
    metadata : dict of str to str
        The text in the header.
    tensors : dict of str to Entry
        The dtype and shape of each tensor.

    Raises
    ------
    TypeError
        If `path` is no path.
    CorruptFileError
        If this is not a whole safetensors file.
    OSError
        If the file cannot be opened. Folders, FIFOs, sockets and devices are refused.
    """

    def __init__(self, path: Any) -> None:
        self.path = file_name(path)
        with naming(self.path):
            self._file = open(self.path, "rb", buffering=0, opener=_open_without_waiting)  # noqa: SIM115
            try:
                status = os.fstat(self._file.fileno())
                check_regular(self.path, status.st_mode)
                self.metadata, self.tensors = self._header(status.st_size)
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _header(self, size: int) -> tuple[dict[str, str], dict[str, Entry]]:
        if size < 8:
            raise self._not_whole(f"it has {size} bytes, expected at least 8")
        length, most = int.from_bytes(self._bytes(8), "little"), min(size - 8, LARGEST_HEADER)
        if length > most:
            raise self._not_whole(f"its header needs {length} bytes, expected at most {most}")
        content, self._data_start = self._bytes(length), 8 + length
        try:
            metadata, entries = parse_header(content.decode("utf-8"), size - self._data_start)
            self._checksums = _data_checksums(metadata, entries)
        except ValueError as error:
            raise self._not_whole(str(error)) from None
        return metadata, entries

    def _bytes(self, count: int) -> bytearray:
        content = bytearray(count)
        self._read_into(memoryview(content))
        return content

    def _read_into(self, rest: memoryview) -> None:
        while rest:
            count = self._file.readinto(rest)
            if not count:
                raise self._not_whole("it became shorter while it was read")
            rest = rest[count:]

    def _not_whole(self, reason: str) -> CorruptFileError:
        return corrupt(self.path, f"is not a whole safetensors file: {reason}")

    def read(self, names: Iterable[str] | None = None) -> dict[str, Any]:
        """Read tensors, and check their checksums if the metadata has some.

        Parameters
        ----------
        names : iterable of str, optional
            The names of the tensors; by default all.

        Returns
        -------
        dict of str to numpy.ndarray
            The tensors by their names.

        Raises
        ------
        CorruptFileError
            If the file has become shorter, or a tensor does not match its checksum.
        OSError
            If the file cannot be read.
        """
        with naming(self.path):
            return {name: self._read(name) for name in (self.tensors if names is None else names)}

    def _read(self, name: str) -> Any:
        entry = self.tensors[name]
        array: Any = np.empty(entry.shape, entry.dtype.newbyteorder("<"))
        self._file.seek(self._data_start + entry.start)
        self._read_into(memoryview(array.reshape(-1).view(np.uint8)))
        if self._checksums is not None and self._checksums[name] != _sha256(array):
            raise self._not_whole(f"the data of {name!r} do not match their checksum")
        return array.astype(entry.dtype, copy=False)


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; without O_NONBLOCK, a FIFO would wait for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
