"""Find the kernels of a text: in the library built ahead, or in one that is compiled here.

The package may bring a library with the kernels of all table entries (ahead.py). Any other text, such as a
custom activation's, is compiled when it is first needed, and stored in the user's cache folder. So is
everything if the package brought no library: `base` takes some seconds, others a second or so.
The first compilation of a process is told to the logger "gpubp", at level INFO.

Custom text is compiled in the background (background.py): its twins, a user's functions, run meanwhile.
Whoever needs another text waits for it. With GPUBP_COMPILE=wait custom text is waited for too, and with
GPUBP_COMPILE=0 nothing is compiled.
"""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..custom import check_choice
from . import ahead
from . import cache as stored_libraries
from .background import Found, background, warn
from .compiler import (
    CompileError,
    NoCompilerError,
    compile_library,
    identity,
    native_flag,
    version,
)
from .texts import WIDE, base_parts, base_text, is_custom, joined

__all__ = ["account", "base", "explain", "kernel", "made_by"]

_T = TypeVar("_T")


def made_by() -> str:
    """Say in a few words what made the kernels; "" if there are none, so that NumPy's twins run."""
    if base() is None:
        return ""
    return version() if ahead.opened().library is None else f"{ahead.opened().account}, built ahead"


def explain() -> str:
    """Say in one line which kernels run on the CPU, and why."""
    library, how = _base()
    built_ahead = ahead.opened()
    if built_ahead.library is not None:
        return f"built ahead by {built_ahead.account}"
    return f"NumPy twins, because {how}" if library is None else f"compiled {how}"


def account(text: str) -> str:
    """Say how the library of a text was made, or why there is none."""
    return _found(text)[1]


def base() -> Any:
    """Load the library of the runtime and of all kernels that contain no table entry; None without one."""
    return _base()[0]


def kernel(name: str, dtype: Any, text: str = "") -> Any:
    """Find a float32 or float64 kernel in `base`, or in the library of `text`; None if none is ready."""
    library = base()
    if library is not None and text:
        library = _found(text)[0]
    suffix = "float" if dtype == np.float32 else "double"
    return None if library is None else getattr(library, f"{name}_{suffix}")


@cache
def _base() -> Found:
    _when()  # an error in GPUBP_COMPILE is told at once
    return _library(base_text())


def _when() -> str:
    """Return GPUBP_COMPILE: "1", "wait" or "0"."""
    named = os.environ.get("GPUBP_COMPILE") or "1"
    check_choice("GPUBP_COMPILE", named, ("1", "wait", "0"))
    return named


def _found(text: str) -> Found:
    """Find the library of a text other than the base's."""
    if not is_custom(text) or _when() != "1":
        return _library(text)
    codes = [joined(WIDE + text)]
    return background.find(text, partial(_tried, partial(_stored, codes)), partial(_made, codes))


@cache
def _library(text: str) -> Found:
    """Find the library of kernel.h, math.h, vectors.h and `text`; compile it if it is not stored.

    Returns
    -------
    library : Kernels, ctypes.CDLL or None
        None if this machine cannot compile it.
    account : str
        How the library was made, or why it is None.
    """
    found = ahead.find(text)
    if found is not None:
        return found, ahead.opened().account
    codes = list(map(joined, base_parts() if text == base_text() else [WIDE + text]))
    return _tried(lambda: _stored(codes) or _made(codes))


def _tried(load: Callable[[], _T]) -> _T | tuple[None, str]:
    """Call `load`; if that fails, return None and the reason, and warn unless there is no compiler."""
    try:
        return load()
    except NoCompilerError as error:
        return None, str(error)
    except (CompileError, OSError) as error:
        warn(str(error))
        return None, f"a kernel does not compile: {error}"


def _stored(codes: list[str]) -> Found | None:
    """Load the library of texts if it is stored."""
    if _when() == "0":
        raise NoCompilerError("GPUBP_COMPILE is 0")
    for stored in stored_libraries.find(_key(codes)):
        with suppress(OSError):  # another system with the same home directory may have made it
            return _opened(stored), _account(stored_libraries.flag_of(stored))
    return None


def _made(codes: list[str]) -> Found:
    """Compile the library of texts, store it and load it."""
    _say_once()
    stored_libraries.remove_leftovers()
    beside = ahead.opened()
    with _temporary_folder() as work:
        target = beside.variant or native_flag()
        flags = beside.flags if beside.library is not None else filter(None, (target,))
        built, account = compile_library(codes, work, tuple(flags)), _account(target)
        copy = stored_libraries.store(_key(codes), target, built)
        if copy is not None:
            with suppress(OSError):  # a cache may be on a disk that programs cannot be loaded from
                return _opened(copy), account
        return _opened(built), account


def _key(codes: list[str]) -> str:
    return stored_libraries.key_of("\0".join((*codes, identity(), ahead.opened().variant)))


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Make a temporary folder; a TemporaryDirectory would be removed by a forked child that ends."""
    folder = tempfile.mkdtemp(prefix="gpubp-")
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@cache
def _say_once() -> None:
    """Say that kernels are compiled: the first fit of a process may wait for seconds."""
    logging.getLogger("gpubp").info(
        "kernels for the CPU are being compiled by %s, %s", version(), _place()
    )


def _opened(library: Path) -> Any:
    return ctypes.CDLL(str(library))


def _account(target: str) -> str:
    how = f"with {target}" if target.startswith("-") else f"for {target}"
    return f"{how if target else 'without a flag for this processor'}, {_place()}"


def _place() -> str:
    place, reason = stored_libraries.folder()
    return f"stored in {place}" if place else f"for this process alone ({reason})"
