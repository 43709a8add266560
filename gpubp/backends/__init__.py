"""Find the backend to compute on: by its name, by "auto", or by an array.

Each backend is a folder here with three functions. `names` lists its backends that can run on this machine,
`find` finds one by name, and `owner` finds the one of an array. A backend for another array library is
added to `_FAMILIES`.

`get_backend("auto")` chooses CuPy if CuPy can be imported, finds a device and has passed the suite on a
GPU. Otherwise it chooses NumPy. It also chooses NumPy for a network of fewer than LEAST_PARAMETERS
parameters, and then does not import CuPy. The environment variable GPUBP_BACKEND overrides "auto".
"""

from __future__ import annotations

import os
from typing import Any, Protocol

from ..errors import BackendUnavailableError, unknown_name
from . import cupy, numpy
from .base import Array as Array
from .base import Backend
from .base import RowBlock as RowBlock
from .base import RowLayout as RowLayout
from .base import Rows as Rows
from .base import SparseBlock as SparseBlock
from .base import SparseRows as SparseRows
from .base import Targets as Targets
from .current_device import on_device as on_device
from .current_device import with_same_kernels as with_same_kernels

# What is not in the list is for gpubp's engine.

__all__ = [
    "Backend",
    "available_backends",
    "backend_of",
    "explain_auto",
    "get_backend",
]

LEAST_PARAMETERS = 100_000
"""The fewest parameters of a network for which "auto" chooses a GPU; docs/benchmarks/gpu.md explains why.

The first use of a GPU takes a second or more, and ten seconds if the kernels must be compiled. A network of
this size needs thousands of steps with 128 rows to save that time.
"""


class _Family(Protocol):
    """The functions of a backend's folder."""

    def names(self) -> list[str]: ...

    def find(self, name: str, /) -> Backend | None: ...

    def owner(self, array: Any, /) -> Backend | None: ...


_FAMILIES: dict[str, _Family] = {"numpy": numpy, "cupy": cupy}


def get_backend(name: str | Backend = "auto", parameters: int | None = None) -> Backend:
    """Find a backend.

    Parameters
    ----------
    name : str or Backend, default "auto"
        "auto", "numpy", "cupy", or "cupy:1" and so on for devices after the first. A backend is returned as
        it is.
    parameters : int, optional
        The number of the network's parameters, which "auto" considers.

    Returns
    -------
    Backend
        The backend. The same name always finds the same object.

    Raises
    ------
    ValueError
        If the name is unknown.
    BackendUnavailableError
        If the backend cannot run here; the message says what is missing. Both messages name GPUBP_BACKEND
        if the name came from there.

    Examples
    --------
    >>> import gpubp
    >>> backend = gpubp.get_backend("numpy")
    >>> backend.name
    'numpy'
    >>> gpubp.Network((2, 1), backend=backend).backend is backend
    True
    >>> gpubp.get_backend("auto", parameters=1000).name  # too small to gain by a GPU
    'numpy'
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
    """List the names of the backends that can run here, "numpy" last.

    Returns
    -------
    list of str
        For example ["cupy", "numpy"].

    Examples
    --------
    >>> import gpubp
    >>> gpubp.available_backends()[-1]
    'numpy'
    """
    return [name for family in reversed(_FAMILIES.values()) for name in family.names()]


def explain_auto(parameters: int | None = None) -> tuple[Backend, str]:
    """Find the backend that "auto" chooses here, and the reason.

    Parameters
    ----------
    parameters : int, optional
        The number of the network's parameters.

    Returns
    -------
    backend : Backend
        The backend that "auto" chooses.
    reason : str
        The reason, as a sentence.

    Raises
    ------
    ValueError, BackendUnavailableError
        If GPUBP_BACKEND names a backend that is unknown or cannot run here.

    Examples
    --------
    >>> import gpubp.backends, os
    >>> from unittest import mock
    >>> with mock.patch.dict(os.environ, GPUBP_BACKEND="auto"):
    ...     backend, reason = gpubp.backends.explain_auto(parameters=1000)
    >>> backend.name
    'numpy'
    >>> print(reason)
    a network of 1000 parameters, fewer than 100000, is done sooner on the CPU than on a GPU; ...
    >>> with mock.patch.dict(os.environ, GPUBP_BACKEND="numpy"):
    ...     print(gpubp.backends.explain_auto()[1])
    GPUBP_BACKEND=numpy asks for it
    """
    wanted = os.environ.get("GPUBP_BACKEND", "")
    if wanted and wanted != "auto":
        try:
            return get_backend(wanted), f"GPUBP_BACKEND={wanted} asks for it"
        except (ValueError, BackendUnavailableError) as error:
            raise type(error)(f"GPUBP_BACKEND={wanted}: {error}") from None
    on_cpu = get_backend("numpy")
    if parameters is not None and parameters < LEAST_PARAMETERS:
        return on_cpu, (
            f"a network of {parameters} parameters, fewer than {LEAST_PARAMETERS}, is done sooner on the"
            " CPU than on a GPU; backend='cupy' takes the GPU all the same"
        )
    devices, reason = cupy.device_count()
    if not devices:
        return on_cpu, reason
    if not cupy.PROVEN:
        return on_cpu, (
            "CuPy finds a GPU, but this version's CuPy backend has not been proven on one yet;"
            " backend='cupy' runs it all the same"
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
        A NumPy or CuPy array, or another array with `__cuda_array_interface__`.

    Returns
    -------
    Backend or None
        The NumPy backend for a NumPy array, the device's backend for an array on a device, and None for all
        other objects, such as a list. CuPy is imported only for an array on a device.

    See Also
    --------
    gpubp.get_backend : Finds a backend by its name.

    Examples
    --------
    >>> import gpubp.backends, numpy as np
    >>> gpubp.backends.backend_of(np.zeros(3)) is gpubp.get_backend("numpy")
    True
    >>> gpubp.backends.backend_of([0.0, 0.0, 0.0]) is None
    True
    """
    for family in _FAMILIES.values():
        backend = family.owner(array)
        if backend is not None:
            return backend
    return None
