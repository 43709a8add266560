"""The CUDA devices of this machine, and the backend of each."""

from __future__ import annotations

import importlib
import os
import re
from functools import cache
from typing import Any

from ...errors import BackendUnavailableError
from ...kernels.cuda.launch import FORMS
from ...kernels.custom import check_choice
from . import cublas
from .backend import CupyBackend

__all__ = ["device_count", "find", "names", "on_device_number", "open_cupy", "owner"]

_EXTRAS = (
    "pip install 'gpubp[cuda12]' or 'gpubp[cuda13]' installs CuPy for that CUDA driver version"
)


def names() -> list[str]:
    """List the names of the CUDA backends that can run here: "cupy", "cupy:1" and so on."""
    return [f"cupy:{k}" if k else "cupy" for k in range(device_count()[0])]


def find(name: str) -> CupyBackend | None:
    """Find the backend with this name; None if the name is not one of CuPy's.

    Raises
    ------
    BackendUnavailableError
        If the backend cannot run here; the message says what is missing.
    """
    match = re.fullmatch(r"cupy(?::(\d+))?", name)
    return None if match is None else on_device_number(int(match[1] or 0))


def owner(array: Any) -> CupyBackend | None:
    """Find the backend of the array's device; None if the array is not on a CUDA device.

    CuPy is imported only for an array on a device.

    Raises
    ------
    BackendUnavailableError
        If the array is on a CUDA device, but the backend cannot run here.
    """
    try:
        on_device = hasattr(array, "__cuda_array_interface__")
    except RuntimeError:
        # A PyTorch tensor that requires a gradient, or is sparse: the check of a user's arrays refuses it.
        on_device = getattr(getattr(array, "device", None), "type", "cuda") != "cpu"
    if not on_device:
        return None
    device = getattr(array, "device", None)
    number = getattr(device, "id", getattr(device, "index", 0))  # CuPy's and JAX's; PyTorch's
    try:
        return on_device_number(number if isinstance(number, int) else 0)
    except BackendUnavailableError as error:
        raise BackendUnavailableError(
            f"an array is on a CUDA device, where only CuPy can read it: {error}"
        ) from None


@cache
def on_device_number(device: int) -> CupyBackend:
    """Return the backend of a device, numbered from 0.

    Raises
    ------
    BackendUnavailableError
        If the backend cannot run here; the message says what is missing.
    ValueError
        If GPUBP_CUDA_FORM names no form.
    """
    devices, reason = device_count()
    if not devices:
        name = f"cupy:{device}" if device else "cupy"
        raise BackendUnavailableError(f"backend {name!r} cannot run here: {reason}; {_EXTRAS}")
    if device >= devices:
        raise BackendUnavailableError(
            f"backend 'cupy:{device}' cannot run here: CuPy finds {devices} device(s), numbered from 0"
        )
    graphs = os.environ.get("GPUBP_CUDA_GRAPHS", "1") != "0"
    fused = os.environ.get("GPUBP_CUDA_FUSED", "0") != "0"
    form = os.environ.get("GPUBP_CUDA_FORM") or "rows"
    check_choice("GPUBP_CUDA_FORM", form, FORMS)
    try:
        return open_cupy(device, graphs, fused, form)
    except Exception as error:
        what = "cuBLAS does not load" if isinstance(error, ImportError) else "CuPy does not start"
        raise BackendUnavailableError(
            f"backend 'cupy' cannot run here: {what} ({_cause(error)}); {_EXTRAS}"
        ) from None


def open_cupy(
    device: int = 0, graphs: bool = True, fused: bool = False, form: str = "rows"
) -> CupyBackend:
    """Make a backend with the installed CuPy.

    Parameters
    ----------
    device : int, default 0
        The device's number, from 0.
    graphs : bool, default True
        Whether steps become CUDA graphs.
    fused : bool, default False
        Whether steps use the fused launches that have not run on a GPU yet.
    form : {"rows", "elementwise"}, default "rows"
        How bias and activation, the product with σ′, and the output delta are launched.

    Returns
    -------
    CupyBackend
        A new backend.

    Raises
    ------
    ImportError
        If CuPy or cuBLAS cannot be loaded.
    ValueError
        If there is no such form.
    """
    cupy, library = importlib.import_module("cupy"), cublas.load_library()
    return CupyBackend(cupy, library, device, graphs, fused, form)


@cache
def device_count() -> tuple[int, str]:
    """Return the number of devices that CuPy finds and, if there is none, the reason."""
    try:
        cupy = importlib.import_module("cupy")
    # A CuPy that is installed badly fails with any error: PermissionError if it cannot make its folder in
    # the home directory, AttributeError if NumPy has another version than it expects.
    except Exception as error:
        return 0, f"CuPy does not import ({_cause(error)})"
    try:
        count = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:
        return 0, f"CuPy finds no usable GPU ({_cause(error)})"
    return count, "" if count else "CuPy finds no GPU"


def _cause(error: Exception) -> str:
    """Return the first line of an error, with its type unless the line says enough without it."""
    said = str(error).partition("\n")[0]
    if said and isinstance(error, ImportError | RuntimeError):
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
