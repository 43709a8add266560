"""Compile C++ text to a library, and load it.

A library is compiled when it is first needed, and stored in the user's cache folder. `base` takes some
seconds, others a second or so.
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

__all__ = ["base", "compiler_version", "explain", "kernel"]


def compiler_version() -> str:
    """Return the first line of the C++ compiler's --version; "" if nothing can be compiled."""
    return "" if base() is None else version()


def explain() -> str:
    """Say in one line which kernels run on the CPU, compiled ones or NumPy twins, and why."""
    library, account = _base()
    if library is None:
        return f"NumPy twins, because {account}"
    return f"compiled {account}"


def base() -> Any:
    """Load the library of the runtime and of all kernels that contain no table entry; None without one."""
    return _base()[0]


def kernel(name: str, dtype: Any, text: str = "") -> Any:
    """Find a float32 or float64 kernel in `base`, or in the library of `text`; None if there is none."""
    library = base()
    if library is not None and text:
        library = _library(WIDE + text)[0]
    suffix = "float" if dtype == np.float32 else "double"
    return None if library is None else getattr(library, f"{name}_{suffix}")


@cache
def _base() -> tuple[Any, str]:
    return _library(base_text())


@cache
def _library(text: str) -> tuple[Any, str]:
    """Load the library of kernel.h, math.h, vectors.h and `text`; compile it if it is not stored.

    Returns
    -------
    library : ctypes.CDLL or None
        None if this machine cannot compile it.
    account : str
        How the library was compiled and where it is stored, or why it is None.
    """
    try:
        return _load(joined(text))
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
    key = stored_libraries.key_of(f"{code}\0{identity()}")
    for stored in stored_libraries.find(key):
        with suppress(OSError):  # another system with the same home directory may have made it
            return _opened(stored), _account(stored_libraries.flag_of(stored))
    _say_once()
    with tempfile.TemporaryDirectory(prefix="gpubp-", ignore_cleanup_errors=True) as work:
        built, account = compile_library(code, Path(work)), _account(native_flag())
        copy = stored_libraries.store(key, native_flag(), built)
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


def _account(flag: str) -> str:
    how = f"with {flag}" if flag else "without a flag for this processor"
    return f"{how}, {_place()}"


def _place() -> str:
    place, reason = stored_libraries.folder()
    return f"stored in {place}" if place else f"for this process alone ({reason})"
