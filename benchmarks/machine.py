"""The machine and the software of a run, as its results record them."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import gpubp
from gpubp.kernels.cpu.system import usable_processors

__all__ = ["available_bytes", "circumstances", "commit", "cores", "machine", "versions"]

PACKAGES = (
    "gpubp",
    "numpy",
    "scipy",
    "torch",
    "jax",
    "jaxlib",
    "scikit-learn",
    "onnxruntime",
    "openvino",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "nvmath-python",
)
ENVIRONMENT = (
    "CXX",
    "GPUBP_COMPILE",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "XLA_FLAGS",
)
"""The variables that change what contenders run with."""


def circumstances() -> dict[str, Any]:
    """Describe where, when and with what a run begins: what the results of every suite hold."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "date": now.isoformat(timespec="seconds"),
    }


def machine() -> dict[str, Any]:
    """Describe the machine as results and reports show it."""
    return {
        "processor": gpubp.get_backend("numpy").device,
        "cores": cores(),
        "memory_bytes": _sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
    }


def cores() -> int:
    """Count the cores that this process may use."""
    return usable_processors()


def _sysconf(pages: str) -> int:
    try:
        return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0


def available_bytes() -> float:
    """Read the memory that is free now, in bytes; infinity if the system does not say."""
    return _sysconf("SC_AVPHYS_PAGES") or float("inf")


def versions() -> dict[str, str]:
    """Look up the versions of the installed packages that matter."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def commit() -> str:
    """Name the commit of gpubp's checkout, with "+" if it has changes; "" outside a checkout."""
    here = Path(gpubp.__file__).parent

    def git(*arguments: str) -> str:
        run = subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True
        )
        return run.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""
