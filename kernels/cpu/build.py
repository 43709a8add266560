"""Find the kernels of a text: in the library built ahead, or in one that is compiled here.

The package may bring a library with the kernels of all table entries (ahead.py). Any other text, such as a
custom activation's, is compiled when it is first needed, and stored in the user's cache folder. So is
everything if the package brought no library: `base` takes some seconds, others a second or so.
The first compilation of a process is told to the logger "gpubp", at level INFO. GPUBP_COMPILE=0 turns all
compilation off.
"""

from __future__ import annotations

import ctypes
import logging
import os
import tempfile
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from . import ahead
from . import cache as stored_libraries
from .compiler import (
    CompileError,
    NoCompilerError,
    compile_library,
    identity,
    native_flag,
    version,
)
from .texts import WIDE, base_text, joined

__all__ = ["account", "base", "explain", "kernel", "made_by"]


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
    return _library(text)[1]


def base() -> Any:
    """Load the library of the runtime and of all kernels that contain no table entry; None without one."""
    return _base()[0]


def kernel(name: str, dtype: Any, text: str = "") -> Any:
    """Find a float32 or float64 kernel in `base`, or in the library of `text`; None if there is none."""
    library = base()
    if library is not None and text:
        library = _library(text)[0]
    suffix = "float" if dtype == np.float32 else "double"
    return None if library is None else getattr(library, f"{name}_{suffix}")


@cache
def _base() -> tuple[Any, str]:
    return _library(base_text())


@cache
def _library(text: str) -> tuple[Any, str]:
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
    is_base = text == base_text()
    try:
        return _load(joined(text if is_base else WIDE + text))
    except NoCompilerError as error:
        return None, str(error)
    except (CompileError, OSError) as error:
        account = f"a kernel does not compile: {error}"
        warnings.warn(
            f"a kernel does not compile, its NumPy twin runs instead, more slowly: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
        return None, account


def _load(code: str) -> tuple[Any, str]:
    if os.environ.get("GPUBP_COMPILE", "1") == "0":
        raise NoCompilerError("GPUBP_COMPILE is 0")
    beside = ahead.opened()
    key = stored_libraries.key_of("\0".join((code, identity(), *beside.flags)))
    for stored in stored_libraries.find(key):
        with suppress(OSError):  # another system with the same home directory may have made it
            return _opened(stored), _account(stored_libraries.flag_of(stored))
    _say_once()
    stored_libraries.remove_leftovers()
    with tempfile.TemporaryDirectory(prefix="gpubp-", ignore_cleanup_errors=True) as work:
        target = beside.variant or native_flag()
        flags = beside.flags if beside.library is not None else filter(None, (target,))
        built, account = compile_library(code, Path(work), tuple(flags)), _account(target)
        copy = stored_libraries.store(key, target, built)
        if copy is not None:
            with suppress(OSError):  # a cache may be on a disk that programs cannot be loaded from
                return _opened(copy), account
        return _opened(built), account


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
