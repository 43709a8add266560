"""Checks what a command will write, before its work begins."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["check_output", "check_output_folder"]


def check_output(
    option: str,
    path: str | os.PathLike[str],
    suffixes: Sequence[str] = (),
    *,
    makes_folder: bool = False,
) -> None:
    """Check that a file can be written; nothing is changed.

    Parameters
    ----------
    option : str
        The option as it is typed, such as "--output"; the error names it.
    path : path-like
        The file. If it exists, it will be replaced.
    suffixes : sequence of str
        The suffixes that can be written, such as ".png"; by default any.
    makes_folder : bool, default False
        Whether the command makes the folder of the file if it is missing.

    Raises
    ------
    ValueError
        If the file's folder is missing or cannot be written to, if there is a folder or a device with this
        name, or if the suffix is another.
    """
    given, target = os.fspath(path), Path(path)
    if target.is_dir() or given.endswith(("/", os.sep)):
        raise ValueError(f"{option} is {given}, a folder, expected a file")
    if target.exists() and not target.is_file():
        raise ValueError(f"{option} is {given}, a device or a pipe, expected a file")
    if suffixes and target.suffix.lower() not in suffixes:
        *others, last = suffixes
        known = f"{', '.join(others)} or {last}" if others else last
        had = f"has the suffix {target.suffix}" if target.suffix else "has no suffix"
        raise ValueError(f"{option} is {given}, which {had}, expected {known}")
    if makes_folder:
        check_output_folder(option, target.parent)
    elif not target.parent.is_dir():
        raise ValueError(f"{option} is {given}, but there is no folder {target.parent}")
    else:
        _check_writable(option, target.parent)


def check_output_folder(option: str, path: str | os.PathLike[str]) -> None:
    """Check that a folder can be written to, or made if it is missing; nothing is changed.

    Parameters
    ----------
    option : str
        The option as it is typed; the error names it.
    path : path-like
        The folder.

    Raises
    ------
    ValueError
        If it is a file, or cannot be made or written to.
    """
    for folder in (Path(path), *Path(path).absolute().parents):
        if folder.is_dir():
            _check_writable(option, folder)
            return
        if folder.exists() or folder.is_symlink():
            raise ValueError(f"{option} is {os.fspath(path)}, but {folder} is no folder")


def _check_writable(option: str, folder: Path) -> None:
    """Make and remove a file in the folder: permissions alone do not tell of what is read-only."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        told = error.strerror or str(error)
        raise ValueError(
            f"{option} is in the folder {folder}, which cannot be written to ({told})"
        ) from None
