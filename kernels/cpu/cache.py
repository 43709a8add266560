"""Compiled libraries, stored in the user's cache folder.

A library's name has three parts: a key of all that it was made from, the flag that was compiled with, and a
hash of its content. A library is only loaded if the hash is right, so a damaged one is never run.

A library is code, so nobody but the user (and root) may be able to write it. The folder and its libraries
must belong to the user, and nobody else may write to them. All folders above must belong to the user or to
root, and nobody else may replace what is in them. Then a library cannot change between check and load.
Windows has no such owners and bits: there the folder is in the user's profile, which only the user,
administrators and the system can write.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from .system import cache_home, is_windows, library_suffix

__all__ = ["find", "flag_of", "folder", "key_of", "remove_leftovers", "store"]

KEY_LENGTH = 32


@cache
def folder() -> tuple[Path | None, str]:
    """Find the folder of stored libraries, and create it if it is missing.

    Returns
    -------
    folder : Path or None
        ``gpubp`` in the user's folder for such files (`system.cache_home`). None if it cannot be used.
    reason : str
        Why it cannot be used.

    Warns
    -----
    RuntimeWarning
        If the folder could be written by another user.
    """
    try:
        place = cache_home() / "gpubp"
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = place.resolve(strict=True)
        danger = _danger_to(place)
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home directory
        return None, str(error)
    if danger:
        warnings.warn(
            f"compiled kernels are not stored, each process compiles them again: {danger}",
            RuntimeWarning,
            stacklevel=2,
        )
        return None, danger
    return place, ""


def key_of(made_from: str) -> str:
    """Return the key of a library, given all that it is made from as one text."""
    return _hash(made_from.encode())


def find(key: str) -> Iterator[Path]:
    """Yield the libraries with this key that may be loaded; remove all others with it."""
    place, _ = folder()
    for path in sorted(place.glob(f"{key}*.{library_suffix()}")) if place else ():
        if path.name.split(".")[-2] == _hash(_content(path)):
            yield path
        else:
            with suppress(
                OSError
            ):  # the folder may be read-only, or Windows may have loaded the file
                path.unlink()


def store(key: str, flag: str, library: Path) -> Path | None:
    """Store a copy of a library that was compiled with this flag; None if that is not possible.

    The copy appears at once and complete, also if another process stores the same library.
    """
    place, _ = folder()
    if place is None:
        return None
    content = library.read_bytes()
    stored = place / f"{key}{flag}.{_hash(content)}.{library_suffix()}"
    try:
        with tempfile.TemporaryDirectory(dir=place, ignore_cleanup_errors=True) as work:
            with open(Path(work, "copy"), "wb", opener=_open_private) as copy:
                copy.write(content)
                copy.flush()
                os.fsync(copy.fileno())  # before the rename, which could else outlive the content
            os.replace(copy.name, stored)  # Windows renames closed files only
    except OSError:
        # Windows replaces no library that a process has loaded. The name tells that it is the same one.
        return stored if _hash(_content(stored)) == _hash(content) else None
    return stored


def remove_leftovers() -> None:
    """Remove libraries that earlier processes left among the temporary files; only Windows has them.

    A process whose libraries are not stored loads them from a temporary folder. Windows does not remove a
    file that is loaded, so the process leaves a folder with nothing but the library.
    """
    if not is_windows():
        return
    for left in Path(tempfile.gettempdir()).glob("gpubp-*"):
        with suppress(OSError):  # it is no folder, or a process has loaded the library
            content = list(left.iterdir())
            if [path.name for path in content] == [f"kernels.{library_suffix()}"]:
                content[0].unlink()
                left.rmdir()


def flag_of(stored: Path) -> str:
    """Return the flag that a stored library was compiled with."""
    return stored.name.rsplit(".", 2)[0][KEY_LENGTH:]  # a flag may have dots: -march=armv8.2-a


def _danger_to(place: Path) -> str:
    """Say who else could write to `place` or replace it; "" if nobody can."""
    dangers = [_danger(place.stat(), place)]
    dangers += [_danger(above.stat(), above, above=True) for above in place.parents]
    return next(filter(None, dangers), "")


def _danger(status: os.stat_result, path: Path, above: bool = False) -> str:
    """Say whether another user could write to a file or folder of this status.

    What is `above` the cache may also belong to root, or have the sticky bit: others cannot replace the
    user's files there. The user's own group may write to it, which is the default where each user has a
    group. Whoever can write to a home directory needs no cache to run code.
    """
    if not hasattr(os, "geteuid"):
        return ""
    user, group = os.geteuid(), os.getegid()
    if status.st_uid != user and not (above and status.st_uid == 0):
        return f"{path} belongs to another user"
    others = stat.S_IWOTH | (0 if above and status.st_gid == group else stat.S_IWGRP)
    if status.st_mode & others and not (above and status.st_mode & stat.S_ISVTX):
        return f"other users can write to {path}"
    return ""


def _content(path: Path) -> bytes:
    """Read a stored library; nothing if it is not a file, or if another user could have written it."""
    try:
        with open(path, "rb", opener=_open_as_it_is) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return b""
            danger = _danger(status, path)
            content = b"" if danger else file.read()
    except OSError:
        return b""
    if danger:
        warnings.warn(f"a kernel is compiled again: {danger}", RuntimeWarning, stacklevel=2)
    return content


def _open_as_it_is(path: str, flags: int) -> int:
    """Open a file without following a link, and without waiting for a pipe's other end."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:KEY_LENGTH]
