"""Matmuls by SciPy's BLAS, called without the GIL and without allocations.

SciPy offers its BLAS to compiled code as `scipy.linalg.cython_blas`. This file calls its function pointers
through ctypes. `numpy.matmul` is not used for two reasons. It has no beta, which accumulates gradients and
folds in momentum. And NumPy and SciPy may have two BLAS libraries, each with threads; here all matmuls of a
step use one library.
"""

from __future__ import annotations

import ctypes
import math
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import threadpoolctl
from scipy.linalg import cython_blas

from ...kernels.typing import Array
from . import accelerate

__all__ = ["Matmul", "addresses", "library", "steps"]

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
    """out = alpha op(a) op(b) + beta out, bound to 2-D arrays of one dtype with dense rows.

    BLAS stores matrices by columns, so it computes outᵀ = op(b)ᵀ op(a)ᵀ.

    Parameters
    ----------
    a, b, out : array of shape (rows, columns)
        The operands and the result.
    transpose_a, transpose_b : bool, default False
        Whether op(a), op(b) is the transpose.
    alpha, beta : float, default 1 and 0
        The factors of the product and of the old `out`.

    Attributes
    ----------
    gemm : int
        The address of BLAS's routine.
    arrays, leading : tuple
        a, b and out, and the number of elements from one row to the next in each.
    shape : tuple of int
        The rows and columns of out, and the inner dimension.
    steps : tuple of int
        The fastest length of a step along each of these three.
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
        self.steps = steps(rows, columns, inner, transpose_a, transpose_b, out.itemsize)
        self.transposed, self.factors = (transpose_a, transpose_b), (alpha, beta)
        self._routine = _routine("sgemm" if out.dtype == np.float32 else "dgemm")
        self.gemm = ctypes.cast(self._routine, Pointer).value or 0

    @cached_property
    def _arguments(self) -> tuple[list[Pointer], list[Any]]:
        """Return gemm's arguments and the objects that they point to; only `__call__` needs them."""
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
        """Compute the whole product at once: from Python, steps would cost more than they save."""
        self._routine(*self._arguments[0])


def addresses() -> tuple[int, ...]:
    """Return the addresses of BLAS's routines, which a compiled call that uses BLAS has as arguments."""
    return tuple(ctypes.cast(_routine(name), Pointer).value or 0 for name in ("sgemm", "dgemm"))


def _leading(array: Array) -> int:
    """Return the number of elements from one row to the next; for a single row, its length."""
    rows, columns = array.shape
    return int(array.strides[0] // array.itemsize if rows > 1 else columns)


# OpenBLAS has kernels for small matrices, which read the matrices in place. Its kernels for large matrices
# first copy a matrix into another layout. With few rows this copy takes as long as the product. Cut into
# small steps, a product runs up to five times as fast. docs/benchmarks/cpu.md has the measurements.

SMALL_KERNELS = ("SkylakeX", "Cooperlake", "SapphireRapids")
"""OpenBLAS's names of the processors with kernels for small matrices: those with AVX-512."""

SMALL_WORK, SMALL_TRANSPOSED = 100**3, 1200
"""OpenBLAS's limits of a small product: the most multiply-adds, and the most outputs if b is transposed."""

FEW_EXAMPLES, MANY_EXAMPLES_STEP = 64, 32
"""Up to FEW_EXAMPLES examples are never cut. More examples are cut into steps of MANY_EXAMPLES_STEP, if the
two conditions of the next line hold."""

CACHED_BYTES, LEAST_INPUTS = 300 * 1024, 128
"""The weights have at most CACHED_BYTES: every step reads them again, so they must stay in a fast cache. A
forward product has at least LEAST_INPUTS inputs."""

LEAST_OUT, LEAST_INNER = 8, 16
"""Steps shorter than this, along the outputs or along the inner dimension, are slower than one product."""


def steps(
    rows: int, columns: int, inner: int, transpose_a: bool, transpose_b: bool, itemsize: int
) -> tuple[int, int, int]:
    """Choose the length of a product's steps along its rows, columns and inner dimension.

    A number has `itemsize` bytes.
    """
    sizes = [rows, columns, inner]
    whole = rows, columns, inner
    few_outputs = not transpose_b or rows * columns <= SMALL_TRANSPOSED
    if (rows * columns * inner <= SMALL_WORK and few_outputs) or not _has_small_kernels():
        return whole
    # For δᵀ a, a wᵀ and δ w: the axis of the examples, and the second axis that is cut.
    examples, cut = (2, 0) if transpose_a else (0, 1) if transpose_b else (0, 2)
    if sizes[examples] > FEW_EXAMPLES:
        weights = rows * columns * inner // sizes[examples]
        if weights * itemsize > CACHED_BYTES or (transpose_b and inner < LEAST_INPUTS):
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
    return getattr(library(), "architecture", None) in SMALL_KERNELS


@cache
def library() -> Any:
    """Return threadpoolctl's controller of SciPy's BLAS.

    It is None for Accelerate, and if SciPy's BLAS cannot be told from other libraries.
    """
    _routine("sgemm")
    if accelerate.is_scipys():
        return None
    controllers = [
        library
        for library in threadpoolctl.ThreadpoolController().lib_controllers
        if library.user_api == "blas"
    ]
    beside_scipy = [c for c in controllers if "scipy" in Path(c.filepath).parent.name]
    if beside_scipy:
        return beside_scipy[0]
    return controllers[0] if len(controllers) == 1 else None
