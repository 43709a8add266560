"""Write and read safetensors files.

A safetensors file is the length of its header (8 bytes), the header (JSON), and the tensors' bytes. gpubp
writes and reads the header itself: the library orders metadata at random, maps the file, and accepts
duplicate keys.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import CorruptFileError
from .header import CODES, LARGEST_HEADER, Entry, parse_header
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
        Further text; "checksum" is added: the SHA-256 of all names, values and other metadata.

    Raises
    ------
    TypeError
        If `path` is no path, a tensor has another dtype, or metadata are not str.
    ValueError
        If names and metadata need more than 4 MiB.
    OSError
        If the file cannot be written, as in `write_whole`.
    """
    path = file_name(path)
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"metadata has {key!r}: {value!r}, expected str: str")
    arrays = {name: _little_endian(name, tensors[name]) for name in sorted(tensors)}
    header: dict[str, Any] = {"__metadata__": {**metadata, "checksum": _checksum(metadata, arrays)}}
    ordered = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))  # aligns the data
    start = 0
    for name in ordered:
        array = arrays[name]
        header[name] = {
            "dtype": CODES[_native(array)],
            "shape": array.shape,
            "data_offsets": [start, start + array.nbytes],
        }
        start += array.nbytes
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > LARGEST_HEADER:
        raise ValueError(
            f"names and metadata need {len(text)} bytes, expected at most {LARGEST_HEADER}"
        )
    write_whole(path, [len(text).to_bytes(8, "little"), text, *(arrays[name] for name in ordered)])


def _little_endian(name: str, array: Any) -> Any:
    if _native(array) not in CODES:
        raise TypeError(
            f"{name} has dtype {array.dtype}, expected one of {', '.join(map(str, CODES))}"
        )
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def _native(array: Any) -> np.dtype[Any]:
    dtype: np.dtype[Any] = array.dtype.newbyteorder("=")
    return dtype


def _checksum(metadata: Mapping[str, str], arrays: Mapping[str, Any]) -> str:
    """Compute the SHA-256 of little-endian arrays and metadata; their places in the file do not matter."""
    others = {key: value for key, value in metadata.items() if key != "checksum"}
    digest = hashlib.sha256(json.dumps(others, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, CODES[_native(array)], array.shape]).encode())
        digest.update(array.reshape(-1).view(np.uint8))
    return digest.hexdigest()


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
            return parse_header(content.decode("utf-8"), size - self._data_start)
        except ValueError as error:
            raise self._not_whole(str(error)) from None

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

    def read(self) -> dict[str, Any]:
        """Read all tensors, and check the checksum if the metadata has one.

        Returns
        -------
        dict of str to numpy.ndarray
            The tensors by their names.

        Raises
        ------
        CorruptFileError
            If the file has become shorter, or its content does not match the checksum.
        OSError
            If the file cannot be read.
        """
        arrays: dict[str, Any] = {}
        with naming(self.path):
            for name, entry in self.tensors.items():
                arrays[name] = np.empty(entry.shape, entry.dtype.newbyteorder("<"))
                self._file.seek(self._data_start + entry.start)
                self._read_into(memoryview(arrays[name].reshape(-1).view(np.uint8)))
        expected = self.metadata.get("checksum")
        if expected is not None and expected != _checksum(self.metadata, arrays):
            raise corrupt(self.path, "is damaged: its content does not match its checksum")
        return {name: array.astype(_native(array), copy=False) for name, array in arrays.items()}


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; without O_NONBLOCK, a FIFO would wait for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
