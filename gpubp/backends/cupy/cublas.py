"""cuBLAS's matmul, called through ctypes, because CuPy's wrapper refuses to be captured in a CUDA graph.

`cuda.pathfinder` finds the library; CuPy uses it too, from version 14 on. The function cublasGemmEx
computes matmuls of all types. Reference: NVIDIA, "cuBLAS", sections cublasGemmEx, cublasSetStream and
cublasSetWorkspace.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

from ..base import Array

__all__ = ["Cublas", "CublasError", "load_library", "load_nvidia"]

Pointer, Int = ctypes.c_void_p, ctypes.c_int

_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "cublasCreate_v2": (Pointer,),
    "cublasSetStream_v2": (Pointer, Pointer),
    "cublasSetWorkspace_v2": (Pointer, Pointer, ctypes.c_size_t),
    "cublasGemmEx": (
        *(Pointer, Int, Int, Int, Int, Int, Pointer, Pointer, Int, Int, Pointer, Int, Int, Pointer),
        *(Pointer, Int, Int, Int, Int),
    ),
}

_NUMBERS = {"f": 0, "d": 1, "e": 2, "H": 14}
"""cudaDataType of a dtype's character: CUDA_R_32F, 64F, 16F, and 16BF, whose bits are stored in uint16."""

_COMPUTE_32F, _COMPUTE_64F, _COMPUTE_32F_FAST_TF32 = 68, 70, 77
_DEFAULT_ALGORITHM = -1


class CublasError(RuntimeError):
    """A call of cuBLAS failed."""


@cache
def load_nvidia(name: str) -> Any:
    """Load a library of NVIDIA: the one that CuPy has loaded, or else the installed one.

    Parameters
    ----------
    name : str
        Its name, such as "cublas".

    Returns
    -------
    ctypes library
        The library.

    Raises
    ------
    ImportError
        If the library is not installed or cannot be loaded.
    """
    pathfinder = importlib.import_module("cuda.pathfinder")
    try:
        return ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib(name).abs_path)
    except (OSError, RuntimeError) as error:  # RuntimeError: it was not found
        raise ImportError(str(error)) from None


def load_library() -> Any:
    """Load cuBLAS, as `load_nvidia` does."""
    return load_nvidia("cublas")


class Cublas:
    """Matmuls on the current device and stream, callable from any thread.

    Parameters
    ----------
    cupy : module
        CuPy.
    library : ctypes library
        The result of `load_library`.
    """

    def __init__(self, cupy: Any, library: Any) -> None:
        self._cupy, self._library = cupy, library
        for name, arguments in _FUNCTIONS.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, Int
        self._gemm = library.cublasGemmEx
        self._threads = threading.local()
        # Handles of threads that have ended, by device. They are never destroyed, because this would wait
        # for the device and end a capture in another thread.
        self._idle: dict[int, list[int]] = vars(library).setdefault("idle_handles", {})

    def prepare(self) -> None:
        """Make this thread's handle if it has none. A handle cannot be made during a capture."""
        if not hasattr(self._threads, "handle"):
            device = self._cupy.cuda.runtime.getDevice()
            self._threads.handle = _Handle(self._library, self._idle.setdefault(device, []))

    def bind(
        self,
        a: Array,
        b: Array,
        out: Array,
        transpose_a: bool,
        transpose_b: bool,
        alpha: float,
        beta: float,
        *,
        tf32: bool = False,
        workspace: Array | None = None,
    ) -> Callable[[], None]:
        """Bind out = alpha op(a) op(b) + beta out.

        cuBLAS stores matrices by columns, so it computes outᵀ = op(b)ᵀ op(a)ᵀ. Sums are float32 or float64.

        Parameters
        ----------
        a, b, out : array of shape (rows, columns)
            The operands and the result, C-contiguous.
        transpose_a, transpose_b : bool
            Whether op(a), op(b) is the transpose.
        alpha, beta : float
            The factors of the product and of the old `out`.
        tf32 : bool, default False
            Whether cuBLAS may round float32 operands to tf32.
        workspace : array of uint8 or None, default None
            Memory for cuBLAS, held by the graph that is being captured. With None, cuBLAS allocates its
            memory.

        Returns
        -------
        callable
            A function without arguments that runs the matmul.
        """
        kind = a.dtype.char
        compute = _COMPUTE_64F if kind == "d" else _COMPUTE_32F_FAST_TF32 if tf32 else _COMPUTE_32F
        inner = a.shape[0] if transpose_a else a.shape[1]
        rows, columns = out.shape
        arguments = (
            *(transpose_b, transpose_a, columns, rows, inner),
            *(_scalar(kind, alpha)[1], b.data.ptr, _NUMBERS[kind], b.shape[1]),
            *(a.data.ptr, _NUMBERS[kind], a.shape[1], _scalar(kind, beta)[1]),
            *(out.data.ptr, _NUMBERS[out.dtype.char], columns, compute, _DEFAULT_ALGORITHM),
        )
        arrays = a, b, out  # the call holds only addresses: these references keep the arrays alive

        def multiply() -> None:
            self.prepare()
            handle = self._threads.handle
            handle.use(self._cupy.cuda.get_current_stream().ptr, workspace)
            status = self._gemm(handle.pointer, *arguments)
            if status:
                left, right, into = (tuple(array.shape) for array in arrays)
                what = f"{kind} {left} by {right} into {into}"
                raise CublasError(f"cublasGemmEx failed with status {status} at {what}")

        return multiply


class _Handle:
    """A thread's cuBLAS handle, which remembers its stream and workspace."""

    def __init__(self, library: Any, idle: list[int]) -> None:
        self._library, self._idle = library, idle
        self._told: tuple[int, int] | None = None
        with contextlib.suppress(IndexError):  # another thread may take the last one first
            self.pointer = idle.pop()
            return
        made = Pointer()
        _check("cublasCreate", library.cublasCreate_v2(ctypes.addressof(made)))
        assert made.value is not None
        self.pointer = made.value

    def use(self, stream: int, workspace: Array | None) -> None:
        """Use this stream and workspace for the next matmuls."""
        place = 0 if workspace is None else workspace.data.ptr
        if self._told == (stream, place):
            return
        self._told = None  # if a call below fails, stream and workspace are unknown
        # cuBLAS drops its workspace when the stream is set.
        _check("cublasSetStream", self._library.cublasSetStream_v2(self.pointer, stream))
        if workspace is not None:
            size = workspace.nbytes
            status = self._library.cublasSetWorkspace_v2(self.pointer, place, size)
            _check("cublasSetWorkspace", status)
        self._told = stream, place

    def __del__(self) -> None:
        if hasattr(self, "pointer"):
            self._idle.append(self.pointer)


def _check(name: str, status: int) -> None:
    if status:
        raise CublasError(f"{name} failed with status {status}")


@cache
def _scalar(kind: str, value: float) -> tuple[Any, int]:
    """Return a C number for a scalar argument of cublasGemmEx, and its address."""
    number = ctypes.c_double(value) if kind == "d" else ctypes.c_float(value)
    return number, ctypes.addressof(number)
