"""The library of kernels that was built ahead, with the package: how it is found, checked and searched.

It is one plain shared library, which knows nothing of Python: one wheel for each platform serves every
version of Python. It holds the runtime and the kernels of all table entries, in variants for several kinds
of processors. An exported name is a variant, the key of the kernel's text, and the kernel's own name. So a
library of another version, with other texts, has nothing that this version finds.

`build_ahead.py` makes the library and a record of it.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import warnings
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from .texts import base_text, joined

__all__ = ["RECORD", "VARIANTS", "Ahead", "Kernels", "Record", "find", "key_of", "opened"]

RECORD = "built_ahead.json"
"""The record's name. It names the library's file, its bytes, and how it was built; or why there is none."""

_BASELINE = ("-msse4.2", "-mpopcnt")
_AVX2 = (
    *_BASELINE,
    "-mavx2",
    "-mfma",
    "-mbmi",
    "-mbmi2",
    "-mf16c",
    "-mlzcnt",
    "-mmovbe",
    "-mprfchw",
)
_AVX512 = (*_AVX2, *(f"-mavx512{part}" for part in ("f", "bw", "cd", "dq", "vl")),
           "-mprefer-vector-width=512")  # fmt: skip
VARIANTS: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {"baseline": _BASELINE, "avx2": _AVX2, "avx512": _AVX512},
    "aarch64": {"neon": ()},
}
"""For each machine, its variants with their compiler's flags, the fastest last. Those of x86_64 have the
instructions of x86-64-v2, v3 and v4. With AVX2 there are also prefetches for writing (update.cpp), which do
nothing on the few such processors that do not know them."""


class Record(NamedTuple):
    """What is written beside the library.

    Attributes
    ----------
    file : str
        The library's file name.
    bytes : int
        Its size.
    platform, machine, compiler : str
        What it was built for, and by what. `machine` is a key of `VARIANTS`.
    keys : list of str
        The keys of its texts.
    """

    file: str
    bytes: int
    platform: str
    machine: str
    compiler: str
    keys: list[str]


class Kernels:
    """The kernels of one text in the library built ahead; its attributes are the functions."""

    def __init__(self, library: Any, prefix: str) -> None:
        self._library, self._prefix = library, prefix

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._library, self._prefix + name)
        setattr(self, name, function)
        return function


class Ahead(NamedTuple):
    """The library built ahead, or why it is not used.

    Attributes
    ----------
    library : ctypes.CDLL or None
        The library; None if it is not used.
    variant : str
        The variant that this processor runs.
    flags : tuple of str
        The variant's flags. What is compiled beside the library needs the same ones, because the width of
        vectors is part of the layout of columns.
    keys : frozenset of str
        The keys of its texts.
    account : str
        How the library was built, or why it is not used.
    """

    library: Any
    variant: str
    flags: tuple[str, ...]
    keys: frozenset[str]
    account: str


def find(text: str) -> Kernels | None:
    """Find the kernels of a text in the library; None if it is not used or has none."""
    ahead = opened()
    if ahead.library is None:
        return None
    key = key_of(text)
    return Kernels(ahead.library, prefix(ahead.variant, key)) if key in ahead.keys else None


def key_of(text: str) -> str:
    """Return the key of a text: a hash of all that is compiled with it."""
    return hashlib.sha256(joined(text).encode()).hexdigest()[:16]


def prefix(variant: str, key: str) -> str:
    """Return the start of the exported names of a text's kernels."""
    return f"{variant}_{key}_"


class _NoLibraryError(Exception):
    """There is no library to use; the message is the reason."""


class _DamagedError(_NoLibraryError):
    """A library of the package cannot be used, so the package is damaged."""


@cache
def opened() -> Ahead:
    """Open the library beside this file, or in the folder GPUBP_BUILT_AHEAD.

    Raises
    ------
    ValueError
        If GPUBP_PROCESSOR is no variant that this processor can run.

    Warns
    -----
    RuntimeWarning
        If the library cannot be used although it belongs to the package.
    """
    try:
        return _open()
    except _NoLibraryError as reason:
        if isinstance(reason, _DamagedError):
            warnings.warn(
                f"the library of kernels that was built ahead is not used: {reason}",
                RuntimeWarning,
                stacklevel=2,
            )
        return Ahead(None, "", (), frozenset(), str(reason))


def _open() -> Ahead:
    folder, record = _found()
    path, keys = folder / record.file, frozenset(record.keys)
    try:
        size = path.stat().st_size
        if size != record.bytes:
            raise _DamagedError(f"{path} has {size} bytes, expected {record.bytes}")
        library = ctypes.CDLL(str(path))
        can_run = int(library.processor_variants())
    except (OSError, AttributeError) as error:
        raise _DamagedError(
            f"it was built for {record.platform} and cannot be loaded: {error}"
        ) from None
    if key_of(base_text()) not in keys:
        raise _DamagedError(f"{path} has the kernels of another version of gpubp")
    variants = VARIANTS[record.machine]
    runnable = list(variants)[:can_run]
    if not runnable:
        raise _NoLibraryError("this processor has no SSE4.2, which its kernels need")
    variant = _chosen(runnable)
    account = f"{record.compiler} for {variant}"
    return Ahead(library, variant, variants[variant], keys, account)


def _found() -> tuple[Path, Record]:
    """Find the library's folder and record."""
    named = os.environ.get("GPUBP_BUILT_AHEAD", "")
    if named == "0":
        raise _NoLibraryError("GPUBP_BUILT_AHEAD is 0")
    folder = Path(named) if named else Path(__file__).parent
    try:
        read = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if "missing" in read:
            raise _NoLibraryError(read["missing"])
        return folder, Record(**read)
    except FileNotFoundError:
        raise _NoLibraryError("this is a source checkout") from None
    except (OSError, ValueError, TypeError) as error:
        raise _DamagedError(f"its record, {folder / RECORD}, cannot be read: {error}") from None


def _chosen(variants: list[str]) -> str:
    named = os.environ.get("GPUBP_PROCESSOR", "")
    if named and named not in variants:
        expected = " or ".join(map(repr, variants))
        raise ValueError(f"GPUBP_PROCESSOR is {named!r}, expected {expected} on this processor")
    return named or variants[-1]
