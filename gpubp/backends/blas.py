"""Matmuls through SciPy's BLAS, called so that they release the GIL and allocate nothing.

SciPy publishes its BLAS to compiled code as `scipy.linalg.cython_blas`; its function pointers are
called here through ctypes. Why not `numpy.matmul`: it has no beta (which accumulates gradients and
folds in momentum), and NumPy and SciPy may each carry a BLAS with threads of its own; all matmuls of a
step go through one.
"""

from __future__ import annotations

import ctypes
import threading
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import threadpoolctl
from scipy.linalg import cython_blas

__all__ = ["Matmul", "get_threads", "single_threaded"]

Array = Any
Pointer = ctypes.c_void_p

_SIGNATURE = b"void (char *, char *, int *, int *, int *, "
_SCALARS: dict[str, Any] = {"float32": ctypes.c_float, "float64": ctypes.c_double}


@cache
def _routine(name: str) -> Any:
    capsule = cython_blas.__pyx_capi__[name]
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = Pointer, [ctypes.py_object, ctypes.c_char_p]
    signature = get_name(capsule)
    if not signature.startswith(_SIGNATURE):
        raise ImportError(
            f"SciPy {scipy.__version__}'s BLAS takes {signature!r}, expected 32-bit integers"
        )
    return ctypes.CFUNCTYPE(None, *[Pointer] * 13)(get_pointer(capsule, signature))


class Matmul:
    """out = alpha op(a) op(b) + beta out, bound to 2-D arrays of one dtype whose rows are dense.

    BLAS counts along columns, so it is asked for outᵀ = op(b)ᵀ op(a)ᵀ. `addresses` are those of gemm and
    of its thirteen arguments; the object keeps what they point to.
    """

    def __init__(
        self,
        a: Array,
        b: Array,
        out: Array,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        alpha: float = 1.0,
        beta: float = 0.0,
    ) -> None:
        rows, columns = out.shape
        inner = a.shape[0] if transpose_a else a.shape[1]
        scalar = _SCALARS[out.dtype.name]
        self._arguments = [
            ctypes.c_char(b"T" if transpose_b else b"N"),
            ctypes.c_char(b"T" if transpose_a else b"N"),
            ctypes.c_int(columns),
            ctypes.c_int(rows),
            ctypes.c_int(inner),
            scalar(alpha),
            b,
            ctypes.c_int(_leading(b)),
            a,
            ctypes.c_int(_leading(a)),
            scalar(beta),
            out,
            ctypes.c_int(_leading(out)),
        ]
        routine = _routine("sgemm" if out.dtype == np.float32 else "dgemm")
        addresses = [
            value.ctypes.data if isinstance(value, np.ndarray) else ctypes.addressof(value)
            for value in self._arguments
        ]
        self.addresses = [ctypes.cast(routine, Pointer).value or 0, *addresses]
        self._call = partial(routine, *map(Pointer, addresses))

    def __call__(self) -> None:
        self._call()


def _leading(array: Array) -> int:
    """How many elements there are from one row to the next; of a single row, how many it has."""
    rows, columns = array.shape
    return int(array.strides[0] // array.itemsize if rows > 1 else columns)


@cache
def _controller() -> Any:
    """threadpoolctl's handle on the BLAS that SciPy loaded, or None if its threads can't be set."""
    _routine("sgemm")
    controllers = [
        library
        for library in threadpoolctl.ThreadpoolController().lib_controllers
        if library.user_api == "blas"
    ]
    beside_scipy = [c for c in controllers if "scipy" in Path(c.filepath).parent.name]
    if beside_scipy:
        return beside_scipy[0]
    return controllers[0] if len(controllers) == 1 else None


def get_threads() -> int:
    """How many threads a matmul may use outside `single_threaded`; 1 where that can't be told."""
    with single_threaded.lock:
        return single_threaded.threads if single_threaded.users else _get()


class _SingleThreaded:
    """Within it, every matmul of the process runs in the thread that asks for it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.threads = 1  # what the last user goes back to

    def __enter__(self) -> None:
        with self.lock:
            if not self.users:
                self.threads = _get()
                if self.threads > 1:
                    _set(1)
            self.users += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.users -= 1
            if not self.users and self.threads > 1:
                _set(self.threads)


single_threaded = _SingleThreaded()


def _get() -> int:
    controller = _controller()
    return 1 if controller is None else int(controller.get_num_threads())


def _set(count: int) -> None:
    controller = _controller()
    if controller is not None:
        controller.set_num_threads(count)
