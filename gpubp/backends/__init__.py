"""The backends, and which one runs.

A backend is a folder here with three functions: `names` of what it can run on this machine, `find` by name,
and `owner` of an array. A third one, for another array library, joins `_FAMILIES`.

`get_backend("auto")` takes CuPy where it imports and finds a device (and has been proven on one), else
NumPy. A network of fewer than LEAST_PARAMETERS stays on NumPy. The environment variable GPUBP_BACKEND
overrides "auto".
"""

from __future__ import annotations

import os
from typing import Any, Protocol

from ..errors import BackendUnavailableError, unknown_name
from . import cupy, numpy
from .base import Array, Backend, Rows, on_device

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

LEAST_PARAMETERS = 100_000
"""The fewest parameters of a network that "auto" takes to a GPU; docs/gpu-performance.md tells why.

To begin on a GPU takes a second or more, ten where its kernels have not been compiled before. Thousands of
steps on 128 rows of so many parameters save as much.
"""


class _Family(Protocol):
    """What a backend's folder offers."""

    def names(self) -> list[str]: ...

    def find(self, name: str, /) -> Backend | None: ...

    def owner(self, array: Any, /) -> Backend | None: ...


_FAMILIES: dict[str, _Family] = {"numpy": numpy, "cupy": cupy}


def get_backend(name: str | Backend = "auto", parameters: int | None = None) -> Backend:
    """Find a backend.

    Parameters
    ----------
    name : str or Backend
        "auto", "numpy", "cupy" or, for another device than the first, "cupy:1".
    parameters : int, optional
        How many parameters the network has that is to be computed there; "auto" goes by it.

    Returns
    -------
    Backend
        The same one each time.

    Raises
    ------
    ValueError
        The name is unknown.
    BackendUnavailableError
        It cannot run here; the message says what is missing. Either message names GPUBP_BACKEND where the
        name came from there.
    """
    if isinstance(name, Backend):
        return name
    if name == "auto":
        return explain_auto(parameters)[0]
    for family in _FAMILIES.values():
        backend = family.find(str(name))
        if backend is not None:
            return backend
    raise unknown_name("backend", name, ("auto", *_FAMILIES))


def available_backends() -> list[str]:
    """Names of the backends that can run here, "numpy" last."""
    return [name for family in reversed(_FAMILIES.values()) for name in family.names()]


def explain_auto(parameters: int | None = None) -> tuple[Backend, str]:
    """Find the backend that "auto" means here, and why.

    Parameters
    ----------
    parameters : int, optional
        How many parameters the network has.

    Returns
    -------
    backend : Backend
        What "auto" takes.
    reason : str
        Why, in a sentence.
    """
    wanted = os.environ.get("GPUBP_BACKEND", "")
    if wanted and wanted != "auto":
        try:
            return get_backend(wanted), f"GPUBP_BACKEND={wanted} asks for it"
        except (ValueError, BackendUnavailableError) as error:
            raise type(error)(f"GPUBP_BACKEND={wanted}: {error}") from None
    on_cpu = get_backend("numpy")
    devices, reason = cupy.device_count()
    if not devices:
        return on_cpu, reason
    if not cupy.PROVEN:
        return on_cpu, (
            "CuPy finds a GPU, but this version's CuPy backend has not been proven on one yet;"
            " backend='cupy' runs it all the same"
        )
    if parameters is not None and parameters < LEAST_PARAMETERS:
        return on_cpu, (
            f"CuPy finds a GPU, but a network of {parameters} parameters, fewer than {LEAST_PARAMETERS},"
            " is done sooner on the CPU; backend='cupy' takes the GPU all the same"
        )
    try:
        backend = get_backend("cupy")
    except BackendUnavailableError as error:
        return on_cpu, f"CuPy finds a GPU, but {error}"
    small = f"networks of fewer than {LEAST_PARAMETERS} parameters stay on the CPU"
    return backend, f"CuPy finds a GPU; {small}"


def backend_of(array: Any) -> Backend | None:
    """Find the backend that an array belongs to.

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
    for family in _FAMILIES.values():
        backend = family.owner(array)
        if backend is not None:
            return backend
    return None
