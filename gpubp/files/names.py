"""What files have in common: their names, their kinds, and errors that name them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import CorruptFileError, suggestion
from ..kernels.messages import shown

__all__ = ["about_file", "check_is_file", "check_regular", "corrupt", "file_name", "naming"]

LONGEST_MESSAGE = 300


def file_name(path: Any) -> str:
    """Return the path as a str; raise TypeError if it is none."""
    try:
        name = os.fsdecode(path)
    except TypeError:
        raise TypeError(f"path is {shown(path)}, expected the name of a file") from None
    if "\0" in name:
        raise ValueError(f"path is {shown(path)}, expected the name of a file")
    return name


def about_file(path: str, what: str) -> str:
    """Make a message of bounded length: the path, then `what`, which may quote the file's content."""
    half = LONGEST_MESSAGE // 2
    name = path if len(path) <= half else f"...{path[3 - half :]}"
    text = f"{name} {' '.join(what[:LONGEST_MESSAGE].split())}"
    return text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 3]}..."


def corrupt(path: str, what: str) -> CorruptFileError:
    """Make the error that says what is wrong with a file, as `about_file` does."""
    return CorruptFileError(about_file(path, what))


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Give the system's errors this file's name; OSError chooses the subclass by the number."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename == path:
            raise
        raise OSError(error.errno, error.strerror, path) from error


def check_regular(path: str, mode: int) -> None:
    """Refuse folders, FIFOs, sockets and devices."""
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "this is a folder, expected a file", path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "this is a device, FIFO or socket, expected a file", path)


def check_is_file(path: str, expected: str) -> None:
    """Check that a file exists; the error suggests the nearest name in its folder."""
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder, expected {expected}")
    if not os.path.exists(path):
        folder, name = os.path.split(path)
        try:
            hint = suggestion(name, os.listdir(folder or "."))
        except OSError:
            hint = f"there is no folder {folder}"
        raise FileNotFoundError(f"there is no file {path}{hint and f'; {hint}'}")
