"""List this machine's backends, the one that "auto" chooses, which kernels run, and the reasons."""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version

from threadpoolctl import threadpool_info

import gpubp

from ..backends import available_backends, explain_auto, get_backend
from ..backends.cupy import device_count as cupy_devices
from ..errors import BackendUnavailableError
from ..kernels.cpu.ahead import opened
from ..kernels.cpu.build import explain as explain_kernels

__all__ = ["add_arguments", "run"]

PACKAGES = ("numpy", "scipy", "cupy-cuda12x", "cupy-cuda13x", "nvmath-python", "scikit-learn")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the command has no options."""


def run(options: argparse.Namespace) -> int:
    """Print versions, backends, devices, the CPU's kernels and BLAS, and packages."""
    backend, reason = explain_auto()
    print(f"gpubp {gpubp.__version__}, Python {platform.python_version()}, {platform.platform()}")
    print(f'backend "auto" is {backend.name}: {reason}')
    for name in available_backends():
        print(f"  {name:8} {_device(name)}")
    devices, why = cupy_devices()
    if not devices:
        print(f"  {'cupy':8} not available: {why}")
    print(f"  {'kernels':8} {explain_kernels()}")
    built_ahead = opened()
    if built_ahead.library is None:
        print(f"  {'':8} none built ahead: {built_ahead.account}")
    print(f"  {'blas':8} {_blas()}")
    print("packages: " + ", ".join(f"{name} {_version(name)}" for name in PACKAGES))
    return 0


def _device(name: str) -> str:
    try:
        return get_backend(name).device
    except BackendUnavailableError as error:
        return f"not available: {error}"


def _blas() -> str:
    """Name each BLAS of NumPy and SciPy, and the processors that its kernels are for."""
    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    named = [
        f"{k['internal_api']} {k['version']}, kernels for {k.get('architecture', 'unknown')}"
        for k in found
    ]
    return "; ".join(sorted(set(named))) or "unknown"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "-"
