"""Which backends the suite runs on: environment variables and the machine decide."""

from __future__ import annotations

import os

from support import cupy_on_host
from support.compiling import HostCompileError, host_compiler
from support.guest.targets import TARGETS

from gpubp.backends import cupy

ONLY = os.environ.get("GPUBP_TEST_BACKENDS", "")
if ONLY not in ("", "cupy", "cupy-on-host"):
    raise ValueError(f"GPUBP_TEST_BACKENDS is {ONLY!r}, expected cupy or cupy-on-host")
EXACT = os.environ.get("GPUBP_TEST_EXACT", "") == "1"
FORM = os.environ.get("GPUBP_CUDA_FORM") or "rows"
GUEST = os.environ.get("GPUBP_TEST_GUEST", "")
if GUEST and GUEST not in TARGETS:
    raise ValueError(f"GPUBP_TEST_GUEST is {GUEST!r}, expected one of {', '.join(TARGETS)}")
LONG = os.environ.get("GPUBP_TEST_LONG", "") == "1"

GPUS, NO_GPU_BECAUSE = cupy_on_host.gpus()
CHOSEN = "numpy" if GUEST else ONLY
CUDA_BACKENDS = [CHOSEN] if CHOSEN else ["cupy" if GPUS else "cupy-on-host"]
BACKENDS = CUDA_BACKENDS if CHOSEN else ["numpy", "numpy-twins", *CUDA_BACKENDS]
try:
    without = GPUS or GUEST or host_compiler() is None
    ON_HOST = None if without else cupy_on_host.install()
except (ImportError, HostCompileError) as error:
    ON_HOST, NO_GPU_BECAUSE = None, str(error)


def forget_cupy() -> None:
    """Clear gpubp's caches, so that it looks for CuPy and its devices again."""
    cupy.device_count.cache_clear()
    cupy.on_device_number.cache_clear()


def rounds(short: int, long: int) -> int:
    """Return how often a test repeats its trial: `short`, or `long` with GPUBP_TEST_LONG=1."""
    return long if LONG else short
