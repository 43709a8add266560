"""Compiled libraries, stored in the user's cache folder.

A library's name has three parts: a key of all that it was made from, the flag that was compiled with, and a
hash of its content. A library is only loaded if the hash is right, so a damaged one is never run.

A library is code, so nobody but the user (and root) may be able to write it. The folder and its libraries
must belong to the user, and nobody else may write to them. All folders above must belong to the user or to
root, and nobody else may replace what is in them. Then a library cannot change between check and load.
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

__all__ = ["find", "flag_of", "folder", "key_of", "store"]

KEY_LENGTH = 32


@cache
def folder() -> tuple[Path | None, str]:
    """Find the folder of stored libraries, and create it if it is missing.

    Returns
    -------
    folder : Path or None
        ``gpubp`` in XDG_CACHE_HOME or, if that is no absolute path, in ``~/.cache``. None if it cannot be
        used.
    reason : str
        Why it cannot be used.

    Warns
    -----
    RuntimeWarning
        If the folder could be written by another user.
    """
    try:
        place = _cache_home() / "gpubp"
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
    for path in sorted(place.glob(f"{key}*.so")) if place else ():
        if path.name.split(".")[-2] == _hash(_content(path)):
            yield path
        else:
            with suppress(OSError):  # the folder may be read-only
                path.unlink()


def store(key: str, flag: str, library: Path) -> Path | None:
    """Store a copy of a library that was compiled with this flag; None if that is not possible.

    The copy appears at once and complete, also if another process stores the same library.
    """
    place, _ = folder()
    if place is None:
        return None
    content = library.read_bytes()
    stored = place / f"{key}{flag}.{_hash(content)}.so"
    try:
        with (
            tempfile.TemporaryDirectory(dir=place, ignore_cleanup_errors=True) as work,
            open(Path(work, "copy"), "wb", opener=_open_private) as copy,
        ):
            copy.write(content)
            copy.flush()
            os.fsync(copy.fileno())  # before the rename, which could else outlive the content
            os.replace(copy.name, stored)
    except OSError:
        return None
    return stored


def flag_of(stored: Path) -> str:
    """Return the flag that a stored library was compiled with."""
    return stored.name.rsplit(".", 2)[0][KEY_LENGTH:]  # a flag may have dots: -march=armv8.2-a


def _cache_home() -> Path:
    """Return XDG_CACHE_HOME or ~/.cache. The XDG standard ignores a relative path."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    home = named if named.is_absolute() else Path.home() / ".cache"
    if not home.is_absolute():
        raise RuntimeError(f"the home directory, {Path.home()}, is not an absolute path")
    return home


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
