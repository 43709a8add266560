"""Matmuls through SciPy's BLAS, called so that they release the GIL and allocate nothing.

SciPy publishes its BLAS to compiled code as `scipy.linalg.cython_blas`; its function pointers are
called here through ctypes. Why not `numpy.matmul`: it has no beta (which accumulates gradients and
folds in momentum), and NumPy and SciPy may each carry a BLAS with threads of its own; all matmuls of a
step go through one.
"""

from __future__ import annotations

import ctypes
import math
import os
import threading
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import threadpoolctl
from scipy.linalg import cython_blas

from ...kernels.typing import Array

__all__ = ["Matmul", "get_threads", "single_threaded", "steps"]

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

    BLAS counts along columns, so it is asked for outᵀ = op(b)ᵀ op(a)ᵀ.

    Parameters
    ----------
    a, b, out : array of shape (rows, columns)
        The operands and the result.
    transpose_a, transpose_b : bool
        Whether op transposes.
    alpha, beta : float
        The factors of the product and of what `out` holds.

    Attributes
    ----------
    gemm : int
        The address of BLAS's routine.
    arrays, leading : tuple
        a, b and out, and how many elements each has from one row to the next.
    shape : tuple of int
        Rows and columns of out, and the inner dimension.
    steps : tuple of int
        How much of each of these is best done at a time.
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
        self.arrays = a, b, out
        self.leading = _leading(a), _leading(b), _leading(out)
        rows, columns = out.shape
        inner = a.shape[0] if transpose_a else a.shape[1]
        self.shape = rows, columns, inner
        self.steps = steps(rows, columns, inner, transpose_a, transpose_b)
        self.transposed, self.factors = (transpose_a, transpose_b), (alpha, beta)
        self._routine = _routine("sgemm" if out.dtype == np.float32 else "dgemm")
        self.gemm = ctypes.cast(self._routine, Pointer).value or 0

    @cached_property
    def _arguments(self) -> tuple[list[Pointer], list[Any]]:
        """What gemm takes, and what that points to; only a call from here needs them."""
        a, b, out = self.arrays
        rows, columns, inner = self.shape
        leading_a, leading_b, leading_out = map(ctypes.c_int, self.leading)
        alpha, beta = map(_SCALARS[out.dtype.name], self.factors)
        transpose_a, transpose_b = (ctypes.c_char(b"T" if t else b"N") for t in self.transposed)
        values = [
            transpose_b,
            transpose_a,
            ctypes.c_int(columns),
            ctypes.c_int(rows),
            ctypes.c_int(inner),
            alpha,
            b,
            leading_b,
            a,
            leading_a,
            beta,
            out,
            leading_out,
        ]
        pointers = [
            Pointer(v.ctypes.data if isinstance(v, np.ndarray) else ctypes.addressof(v))
            for v in values
        ]
        return pointers, values

    def __call__(self) -> None:
        """All of it in one go: from Python, steps would cost more than they save."""
        self._routine(*self._arguments[0])


def _leading(array: Array) -> int:
    """How many elements there are from one row to the next; of a single row, how many it has."""
    rows, columns = array.shape
    return int(array.strides[0] // array.itemsize if rows > 1 else columns)


# OpenBLAS has kernels for small matrices that read them where they lie. Its large ones first copy a
# matrix into an order of their own, which for few rows takes as long as the product itself: a product done
# in steps that are small enough runs up to five times as fast. docs/benchmarks.md has the measurements.

SMALL_KERNELS = ("SkylakeX", "Cooperlake", "SapphireRapids")
"""The processors, in OpenBLAS's words, that it has these kernels for: those with AVX-512."""

SMALL_WORK, SMALL_TRANSPOSED = 100**3, 1200
"""The most multiply-adds that OpenBLAS calls small, and the most outputs where b is transposed."""

FEW_EXAMPLES, MANY_EXAMPLES_STEP = 64, 32
"""So many examples are left together; of more, so many at a time, where that is worth while:"""

CACHED_WEIGHTS, LEAST_INPUTS = 256 * 1024, 128
"""the weights, which every step reads anew, fit a second-level cache, and a forward product has as many
inputs at least."""

LEAST_OUT, LEAST_INNER = 8, 16
"""Thinner steps than this, along the outputs or along the inner dimension, are slower than none."""


def steps(
    rows: int, columns: int, inner: int, transpose_a: bool, transpose_b: bool
) -> tuple[int, int, int]:
    """How much of its rows, columns and inner dimension a product had best do at a time."""
    sizes = [rows, columns, inner]
    whole = rows, columns, inner
    few_outputs = not transpose_b or rows * columns <= SMALL_TRANSPOSED
    if (rows * columns * inner <= SMALL_WORK and few_outputs) or not _has_small_kernels():
        return whole
    # δᵀ a, a wᵀ or δ w: along which axis the examples lie, and which one is cut beside it.
    examples, cut = (2, 0) if transpose_a else (0, 1) if transpose_b else (0, 2)
    if sizes[examples] > FEW_EXAMPLES:
        weights = rows * columns * inner // sizes[examples]
        if weights > CACHED_WEIGHTS or (transpose_b and inner < LEAST_INPUTS):
            return whole
        sizes[examples] = MANY_EXAMPLES_STEP
    sizes[cut] = 1
    most = SMALL_WORK // math.prod(sizes)
    if transpose_b:
        most = min(most, SMALL_TRANSPOSED // sizes[examples])
    if most < (LEAST_INNER if cut == 2 else LEAST_OUT):
        return whole
    sizes[cut] = min(most // 16 * 16 or most // 8 * 8, whole[cut])
    return sizes[0], sizes[1], sizes[2]


@cache
def _has_small_kernels() -> bool:
    controller = _controller()
    return getattr(controller, "architecture", None) in SMALL_KERNELS


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


def _forget_users() -> None:
    """A forked child has none of its parent's threads, and so none of what was running in them."""
    busy, single_threaded.users = single_threaded.users > 0, 0
    single_threaded.lock = threading.Lock()
    if busy and single_threaded.threads > 1:
        _set(single_threaded.threads)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_users)


def _get() -> int:
    controller = _controller()
    return 1 if controller is None else int(controller.get_num_threads())


def _set(count: int) -> None:
    controller = _controller()
    if controller is not None:
        controller.set_num_threads(count)
