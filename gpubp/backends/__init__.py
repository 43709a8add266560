"""The backends, and which one runs.

`get_backend("auto")` takes CuPy where it imports and finds a device (and has been proven, see cupy.py),
else NumPy; a network of fewer than LEAST_PARAMETERS stays on NumPy. The environment variable GPUBP_BACKEND
overrides "auto".
"""

from __future__ import annotations

import importlib
import os
import re
from functools import cache
from typing import Any

import numpy as np

from ..errors import BackendUnavailableError, unknown_name
from . import cupy as cupy_backend
from .base import Array, Backend, Rows, on_device
from .numpy import NumpyBackend

__all__ = [
    "Array",
    "Backend",
    "Rows",
    "available_backends",
    "backend_of",
    "explain_auto",
    "get_backend",
    "on_device",
]

_EXTRAS = (
    "pip install 'gpubp[cuda12]' or 'gpubp[cuda13]' installs CuPy for that CUDA driver version"
)


LEAST_PARAMETERS = 100_000
"""The fewest parameters of a network that "auto" takes to a GPU; docs/gpu-performance.md tells why.

To begin on a GPU takes a second or more, ten where its kernels have not been compiled before; thousands of
steps on 128 rows of so many parameters save as much.
"""


def get_backend(name: str | Backend = "auto", parameters: int | None = None) -> Backend:
    """The backend called "auto", "numpy", "cupy" or, for another device than the first, "cupy:1".

    Parameters
    ----------
    parameters : of the network that is to be computed there, which "auto" goes by; None for any.

    Raises
    ------
    ValueError : the name is unknown.
    BackendUnavailableError : it cannot run here; the message says what is missing. Either message
        names GPUBP_BACKEND where the name came from there.
    """
    if isinstance(name, Backend):
        return name
    if name == "auto":
        return explain_auto(parameters)[0]
    if name == "numpy":
        return _numpy()
    match = re.fullmatch(r"cupy(?::(\d+))?", str(name))
    if match is None:
        raise unknown_name("backend", name, ("auto", "numpy", "cupy"))
    return _cupy(int(match[1] or 0))


def available_backends() -> list[str]:
    """Names of the backends that can run here, "numpy" last."""
    devices = device_count()[0]
    return [*(f"cupy:{k}" if k else "cupy" for k in range(devices)), "numpy"]


def explain_auto(parameters: int | None = None) -> tuple[Backend, str]:
    """The backend that "auto" means here, for a network of so many parameters, and why, in a sentence."""
    wanted = os.environ.get("GPUBP_BACKEND", "")
    if wanted and wanted != "auto":
        try:
            return get_backend(wanted), f"GPUBP_BACKEND={wanted} asks for it"
        except (ValueError, BackendUnavailableError) as error:
            raise type(error)(f"GPUBP_BACKEND={wanted}: {error}") from None
    devices, reason = device_count()
    if not devices:
        return _numpy(), reason
    if not cupy_backend.PROVEN:
        return _numpy(), (
            "CuPy finds a GPU, but this version's CuPy backend has not been proven on one yet;"
            " backend='cupy' runs it all the same"
        )
    if parameters is not None and parameters < LEAST_PARAMETERS:
        return _numpy(), (
            f"CuPy finds a GPU, but a network of {parameters} parameters, fewer than {LEAST_PARAMETERS},"
            " is done sooner on the CPU; backend='cupy' takes the GPU all the same"
        )
    try:
        backend = _cupy(0)
    except BackendUnavailableError as error:
        return _numpy(), f"CuPy finds a GPU, but {error}"
    small = f"networks of fewer than {LEAST_PARAMETERS} parameters stay on the CPU"
    return backend, f"CuPy finds a GPU; {small}"


def backend_of(array: Any) -> Backend | None:
    """The backend that an array belongs to.

    Parameters
    ----------
    array : object
        A NumPy or CuPy array, or any other with `__cuda_array_interface__`.

    Returns
    -------
    Backend or None
        NumPy's, or that of the device where the array lies; None for what is neither kind of array, such
        as a list. CuPy is imported only for an array on a device.
    """
    if isinstance(array, np.ndarray):
        return _numpy()
    try:
        on_gpu = hasattr(array, "__cuda_array_interface__")
    except (
        RuntimeError
    ):  # a PyTorch tensor that requires a gradient; it is refused where it is used
        on_gpu = True
    if on_gpu:
        device = getattr(array, "device", None)
        number = getattr(device, "id", getattr(device, "index", 0))  # CuPy's and JAX's; PyTorch's
        return _cupy(number if isinstance(number, int) else 0)
    return None


@cache
def _numpy() -> NumpyBackend:
    return NumpyBackend()


@cache
def _cupy(device: int) -> cupy_backend.CupyBackend:
    devices, reason = device_count()
    if not devices:
        name = f"cupy:{device}" if device else "cupy"
        raise BackendUnavailableError(f"backend {name!r} cannot run here: {reason}; {_EXTRAS}")
    if device >= devices:
        raise BackendUnavailableError(
            f"backend 'cupy:{device}' cannot run here: CuPy finds {devices} device(s), numbered from 0"
        )
    graphs = os.environ.get("GPUBP_CUDA_GRAPHS", "1") != "0"
    try:
        return cupy_backend.open_cupy(device, graphs)
    except ImportError as error:
        raise BackendUnavailableError(
            f"backend 'cupy' cannot run here: cuBLAS does not load ({str(error).splitlines()[0]});"
            f" {_EXTRAS}"
        ) from None


@cache
def device_count() -> tuple[int, str]:
    """How many devices CuPy finds, and, if none, why, as the rest of a sentence."""
    try:
        cupy = _import_cupy()
    except ImportError as error:
        return 0, f"CuPy does not import ({str(error).splitlines()[0]})"
    try:
        count = int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return 0, f"CuPy finds no usable GPU ({str(error).splitlines()[0]})"
    return count, "" if count else "CuPy finds no GPU"


def _import_cupy() -> Any:
    return importlib.import_module("cupy")
