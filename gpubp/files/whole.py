"""Write a file whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from .names import check_regular, file_name, naming

if sys.platform != "win32":
    import fcntl

__all__ = ["write_whole"]


def write_whole(path: Any, content: Any) -> None:
    """Write a file whole or not at all: after an error or Ctrl-C the old file, if any, is unchanged.

    The content goes to a temporary file in the same folder, which then replaces the file. A symbolic link
    is followed. The file keeps its mode. Temporary files of the same file are removed first if the process
    that wrote them has been killed.

    Parameters
    ----------
    path : path-like
        The file to write.
    content : bytes-like, or iterable of bytes-like
        The content, or its parts in order.

    Raises
    ------
    TypeError
        If `path` is no path.
    OSError
        If the file cannot be written; `filename` is the path. Folders, FIFOs, sockets and devices are
        refused.
    """
    name = file_name(path)
    parts = [content] if _is_buffer(content) else content
    with naming(name):
        target, mode = _destination(name)
        _remove_leftovers(target)
        temporary = f"{_stem(target)}.{secrets.token_hex(8)}.part"
        try:
            _write_and_rename(temporary, target, mode, parts)
        except BaseException:
            with suppress(FileNotFoundError):  # it has been renamed, or was never made
                os.unlink(temporary)
            raise
    _sync_folder(os.path.dirname(target))


def _is_buffer(content: Any) -> bool:
    try:
        memoryview(content)
    except TypeError:
        return False
    return True


def _destination(path: str) -> tuple[str, int | None]:
    """Follow links; return the file to replace and its mode, or None if there is no such file."""
    target = os.path.realpath(path)
    if not os.path.basename(path):
        raise IsADirectoryError(errno.EISDIR, "this is a folder, expected a file", path)
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        if not os.path.isdir(os.path.dirname(target)):
            raise FileNotFoundError(
                errno.ENOENT, "there is no folder to write this file in", path
            ) from None
        return target, None
    check_regular(path, mode)
    return target, mode & 0o777


def _stem(target: str) -> str:
    """Return what the names of the temporary files of `target` begin with."""
    folder, name = os.path.split(target)
    return os.path.join(folder, name[:50])  # the system's names have at most 255 bytes


def _write_and_rename(temporary: str, target: str, mode: int | None, parts: Iterable[Any]) -> None:
    descriptor = _create(temporary, 0o666 if mode is None else mode)
    try:
        for part in parts:
            _write_all(descriptor, part)
        if mode is not None:
            os.chmod(temporary, mode)
        os.fsync(descriptor)
        if sys.platform != "win32":  # while the file is locked, nobody takes it for a leftover
            os.replace(temporary, target)
    finally:
        os.close(descriptor)
    if sys.platform == "win32":  # Windows renames closed files only
        os.replace(temporary, target)


def _create(temporary: str, mode: int) -> int:
    """Create and lock a file. Its lock shows other processes that its writer lives."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        descriptor = os.open(temporary, flags, mode)
        if not _lock(descriptor, wait=True) or os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # another process removed it as a leftover before it was locked


def _lock(descriptor: int, *, wait: bool) -> bool:
    """Lock a file; return whether it is locked. Some file systems have no locks."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _write_all(descriptor: int, part: Any) -> None:
    rest = memoryview(part)
    rest = rest.cast("B") if rest.nbytes else rest[:0]
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _remove_leftovers(target: str) -> None:
    """Remove temporary files of `target` that nobody has locked: their writers are dead.

    On Windows those are removed that nobody has open and that are more than an hour old.
    """
    folder, stem = os.path.split(_stem(target))
    leftover = re.compile(re.escape(stem) + r"\.[0-9a-f]{16}\.part")
    names: list[str] = []
    with suppress(OSError):  # a folder may be writable but not readable
        names = os.listdir(folder)
    for name in filter(leftover.fullmatch, names):
        with suppress(OSError):  # another process has removed it, or it is another user's
            _remove_unlocked(os.path.join(folder, name))


def _remove_unlocked(path: str) -> None:
    if sys.platform == "win32":
        # Windows removes no open file. A writer closes its file just before it renames it.
        if time.time() - os.stat(path).st_mtime > 3600:
            os.unlink(path)
        return
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, os.O_WRONLY | flags)
    try:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        if regular and _lock(descriptor, wait=False) and os.fstat(descriptor).st_nlink:
            os.unlink(path)
    finally:
        os.close(descriptor)


def _sync_folder(folder: str) -> None:
    """Make the renaming durable where the system can; the file is whole in any case."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
