"""The facts of `gpubp info`, as one object of JSON and as text."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from threadpoolctl import threadpool_info

from .. import __version__
from ..backends import available_backends, explain_auto, get_backend
from ..backends.cupy import device_count as cupy_devices
from ..errors import BackendUnavailableError
from ..kernels.cpu.ahead import opened
from ..kernels.cpu.build import explain as explain_kernels

__all__ = ["collect", "lines"]

PACKAGES = (
    "numpy", "scipy", "cupy-cuda12x", "cupy-cuda13x", "nvmath-python", "scikit-learn", "rich", "polars",
    "skops", "argcomplete", "matplotlib", "onnx",
)  # fmt: skip
"""The packages that gpubp or its extras need."""


def collect() -> dict[str, Any]:
    """Collect the facts; `info.FIELDS` describes them."""
    chosen, reason = explain_auto()
    backends = {name: _backend(name) for name in available_backends()}
    devices, why = cupy_devices()
    if not devices:
        backends["cupy"] = {"device": None, "absent": why}
    built_ahead = opened()
    return {
        "gpubp": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "auto": {"backend": chosen.name, "device": chosen.device, "reason": reason},
        "backends": backends,
        "kernels": {
            "run": explain_kernels(),
            "not_built_ahead": built_ahead.account if built_ahead.library is None else None,
        },
        "blas": _blas(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def lines(facts: dict[str, Any]) -> Iterator[str]:
    """Write the facts as lines of text."""
    auto, kernels = facts["auto"], facts["kernels"]
    yield f"gpubp {facts['gpubp']}, Python {facts['python']}, {facts['system']}"
    yield f'backend "auto" is {auto["backend"]}: {auto["reason"]}'
    for name, found in facts["backends"].items():
        yield f"  {name:8} {found['device'] or 'not available: ' + found['absent']}"
    yield f"  {'kernels':8} {kernels['run']}"
    if kernels["not_built_ahead"] is not None:
        yield f"  {'':8} none built ahead: {kernels['not_built_ahead']}"
    yield f"  {'blas':8} {'; '.join(facts['blas']) or 'unknown'}"
    packages = facts["packages"]
    found = ", ".join(f"{name} {number}" for name, number in packages.items() if number)
    absent = ", ".join(name for name, number in packages.items() if not number)
    yield f"packages: {found}" + (f"; absent: {absent}" if absent else "")


def _backend(name: str) -> dict[str, str | None]:
    try:
        return {"device": get_backend(name).device, "absent": None}
    except BackendUnavailableError as error:
        return {"device": None, "absent": str(error)}


def _blas() -> list[str]:
    """Name each BLAS of NumPy and SciPy, and the processors that its kernels are for."""
    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    named = [
        f"{k['internal_api']} {k['version']}, kernels for {k.get('architecture', 'unknown')}"
        for k in found
    ]
    return sorted(set(named))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
