"""Shared libraries from C++ text: the host's compiler builds each once, and the file is kept."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

__all__ = [
    "HostCompileError",
    "cache_directory",
    "host_compiler",
    "library",
    "load",
    "precompiled",
]


class HostCompileError(RuntimeError):
    """The compiler rejected a text; the message is its log."""


def host_compiler() -> str | None:
    """Find the path of the C++ compiler (`CXX`, else g++); None if the machine has none."""
    return shutil.which(os.environ.get("CXX", "g++"))


@functools.cache
def cache_directory() -> Path:
    """Make a folder that outlives the process, so that a second run of the tests compiles nothing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cuda_on_host"
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(cache, os.W_OK):
            return cache
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="cuda_on_host-"))


@functools.cache
def precompiled(text: str, flags: Sequence[str]) -> Path:
    """Precompile a header, and return the folder of `first.h` and its compiled form.

    A text that includes `first.h` first compiles in a fraction of the time. `flags` must hold the folders
    of what the header includes.
    """
    version = subprocess.run([_compiler(), "--version"], capture_output=True, check=True).stdout
    key = hashlib.sha256(text.encode() + version + " ".join(flags).encode()).hexdigest()
    folder = cache_directory() / key[:16]
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=cache_directory()) as scratch:
            staged = Path(scratch, "header")
            staged.mkdir()
            header = staged / "first.h"
            header.write_text(text)
            _run_compiler(*flags, "-x", "c++-header", str(header), "-o", f"{header}.gch")
            with contextlib.suppress(OSError):  # another process was faster
                staged.rename(folder)
    return folder


@functools.cache
def library(source: str, folder: Path, flags: Sequence[str]) -> Path:
    """Build the shared library of a source; it is kept in `folder`, which may hold the first header.

    Raises
    ------
    HostCompileError
        The compiler rejects the text.
    """
    built = folder / (hashlib.sha256(source.encode()).hexdigest()[:32] + ".so")
    if not built.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            text, fresh = Path(scratch, "text.cpp"), Path(scratch, "text.so")
            text.write_text(source)
            link = ("-shared", "-Wl,-Bsymbolic", "-I", str(folder), str(text), "-o", str(fresh))
            _run_compiler(*flags, *link)
            fresh.replace(built)
    return built


@functools.cache
def load(path: Path) -> ctypes.CDLL:
    """Load a library, once for each path."""
    return ctypes.CDLL(str(path))


def _compiler() -> str:
    compiler = host_compiler()
    if compiler is None:
        raise HostCompileError("no C++ compiler: install g++ or set CXX")
    return compiler


def _run_compiler(*arguments: str) -> None:
    command = [_compiler(), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HostCompileError(done.stderr)
