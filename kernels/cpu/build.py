"""Compile C++ text to a library, and load it.

A library is compiled when it is first needed, in a second or less, and stored in the user's cache
directory. GPUBP_COMPILE=0 turns all compilation off.
"""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["base", "compiler_version", "kernel", "text_of"]

# These flags are fast, but keep NaN and infinity exact. The macro __FAST_MATH__ makes glibc offer its
# vector functions, which are off by 4 units in the last place at most. The flag -ffast-math would do so
# too, but it also changes the processor's mode.
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros",
         "-fassociative-math", "-ffp-contract=fast", "-D__FAST_MATH__", "-w")  # fmt: skip
NATIVE = ("-march=native", "-mcpu=native")
BASE = ("shards.cpp", "matmul.cpp", "batch.cpp", "softmax.cpp", "sums.cpp", "arithmetic.cpp")
"""The files of the base library, which contains no text of a table entry."""


@cache
def compiler_version() -> str:
    """Return the first line of the C++ compiler's --version; "" if nothing can be compiled."""
    if os.environ.get("GPUBP_COMPILE", "1") == "0" or _compiler() is None:
        return ""
    return base() and _run(str(_compiler()), "--version").splitlines()[0]


@cache
def base() -> Any:
    """Load the library of the runtime and of all kernels that contain no table entry."""
    return _library("\n".join(map(text_of, BASE)))


def kernel(name: str, dtype: Any, text: str = "") -> Any:
    """Find a float32 or float64 kernel in `base`, or in the library of `text`; None if there is none."""
    library = None
    if compiler_version():
        library = _library(text) if text else base()
    suffix = "float" if dtype == np.float32 else "double"
    return None if library is None else getattr(library, f"{name}_{suffix}")


@cache
def text_of(file: str) -> str:
    """Read a file of this folder."""
    return (resources.files(__package__) / file).read_text(encoding="utf-8")


def _compiler() -> str | None:
    named = os.environ.get("CXX", "")
    return shutil.which(named) if named else shutil.which("g++") or shutil.which("clang++")


def _run(*command: str) -> str:
    # A terminal sends Ctrl-C to the whole session; a kernel would seem not to compile.
    return subprocess.run(
        command, check=True, capture_output=True, text=True, start_new_session=True
    ).stdout


@cache
def _library(text: str) -> Any:
    """Compile kernel.h followed by `text`, and load it; None if this machine cannot do it."""
    if _compiler() is None:
        return None
    try:
        return ctypes.CDLL(str(_build(text_of("kernel.h") + text)))
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        reasons = [line for line in said.splitlines() if "error" in line] or [said]
        warnings.warn(
            f"a kernel does not compile, its NumPy twin runs instead, more slowly: {reasons[0].strip()}",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


def _build(code: str) -> Path:
    compiler = str(_compiler())
    machine = _run(compiler, "--version") + _processor()
    key = hashlib.sha256("\0".join((code, machine, *FLAGS)).encode()).hexdigest()[:32]
    folder = _cache_folder()
    built = folder / f"{key}.so"
    if built.exists():
        return built
    with tempfile.TemporaryDirectory(dir=folder) as work:
        (Path(work) / "kernels.cpp").write_text(code, encoding="utf-8")
        compiled = f"{work}/kernels.o"
        for native in NATIVE:
            try:
                _run(compiler, *FLAGS, native, "-c", f"{work}/kernels.cpp", "-o", compiled)
                break
            except subprocess.CalledProcessError:
                if native == NATIVE[-1]:
                    raise
        _run(compiler, "-shared", compiled, "-o", f"{work}/kernels.so", "-lm", "-pthread")
        os.replace(f"{work}/kernels.so", built)
    return built


def _processor() -> str:
    """Describe the processor: -march=native depends on it, and machines may share a home directory."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() + platform.machine()
    return "".join(
        dict.fromkeys(line for line in lines if line.startswith(("model", "flags", "Feat")))
    )


@cache
def _cache_folder() -> Path:
    """Find the folder for libraries: the cache, or a temporary folder if the cache cannot be written."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpubp"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: the user has no home directory
        folder = Path(tempfile.mkdtemp(prefix="gpubp-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder
