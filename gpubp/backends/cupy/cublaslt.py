"""cuBLASLt's matmul, which can end with more than the product, called through ctypes.

An epilogue works on the sums of a product before they are stored: it adds biases, applies an activation, or
multiplies by a derivative; another adds up the rows of an operand. cuBLASLt is asked once for each kind of
product whether the device computes it.

Reference: NVIDIA, "cuBLAS", "Using the cuBLASLt API": sections cublasLtEpilogue_t, cublasLtMatmul and
cublasLtMatmulDescAttributes_t. The numbers are those of cublasLt.h 12.9.3.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any, NamedTuple

from ...kernels.typing import Array, Bound
from .cublas import CublasError, load_nvidia

__all__ = ["NUMBERS", "CublasLt", "Ending", "load_library"]

Pointer, Int, Size, Long = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t, ctypes.c_int64

_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "cublasLtCreate": (Pointer,),
    "cublasLtMatmulDescCreate": (Pointer, Int, Int),
    "cublasLtMatmulDescSetAttribute": (Pointer, Int, Pointer, Size),
    "cublasLtMatmulDescDestroy": (Pointer,),
    "cublasLtMatrixLayoutCreate": (Pointer, Int, ctypes.c_uint64, ctypes.c_uint64, Long),
    "cublasLtMatrixLayoutDestroy": (Pointer,),
    "cublasLtMatmulPreferenceCreate": (Pointer,),
    "cublasLtMatmulPreferenceSetAttribute": (Pointer, Int, Pointer, Size),
    "cublasLtMatmulPreferenceDestroy": (Pointer,),
    "cublasLtMatmulAlgoGetHeuristic": (*[Pointer] * 7, Int, Pointer, Pointer),
    "cublasLtMatmul": (*[Pointer] * 14, Size, Pointer),
}

NUMBERS = {
    "CUBLAS_COMPUTE_32F": 68,
    "CUBLAS_COMPUTE_32F_FAST_TF32": 77,
    "CUBLASLT_MATMUL_DESC_TRANSA": 3,
    "CUBLASLT_MATMUL_DESC_TRANSB": 4,
    "CUBLASLT_MATMUL_DESC_EPILOGUE": 7,
    "CUBLASLT_MATMUL_DESC_BIAS_POINTER": 8,
    "CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER": 11,
    "CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD": 12,
    "CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE": 26,
    "CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES": 1,
    "CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK": 3,
    "CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE": 2,
    "CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES": 5,
    "CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES": 6,
    "CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES": 7,
    "CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES": 8,
    "CUBLASLT_EPILOGUE_DEFAULT": 1,
    "CUBLASLT_EPILOGUE_BIAS": 4,
    "CUBLASLT_EPILOGUE_RELU": 2,
    "CUBLASLT_EPILOGUE_RELU_BIAS": 2 | 4,
    "CUBLASLT_EPILOGUE_RELU_AUX": 2 | 128,
    "CUBLASLT_EPILOGUE_RELU_AUX_BIAS": 2 | 128 | 4,
    "CUBLASLT_EPILOGUE_DRELU": 8 | 128,
    "CUBLASLT_EPILOGUE_GELU": 32,
    "CUBLASLT_EPILOGUE_GELU_BIAS": 32 | 4,
    "CUBLASLT_EPILOGUE_GELU_AUX": 32 | 128,
    "CUBLASLT_EPILOGUE_GELU_AUX_BIAS": 32 | 128 | 4,
    "CUBLASLT_EPILOGUE_DGELU": 64 | 128,
    "CUBLASLT_EPILOGUE_BGRADB": 512,
}
"""The enumerators of cublasLt.h and cublas_api.h that are used."""

_TYPES = {"f": 0, "e": 2, "H": 14}
"""cudaDataType of a dtype's character, as in cublas.py; float64 has no epilogues here."""

MOST_ALIGNMENT = 256


class _Found(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t; it begins with the algorithm."""

    _fields_ = (
        *(("algorithm", ctypes.c_uint64 * 8), ("workspace", Size), ("state", Int)),
        *(("waves", ctypes.c_float), ("reserved", Int * 4)),
    )


class Ending(NamedTuple):
    """What a product ends with.

    Attributes
    ----------
    name : str
        The epilogue's name in cublasLtEpilogue_t; "" is DEFAULT.
    bias : array of shape (n,) or None
        The biases, or the memory for their gradient.
    aux : array or None
        relu's mask, or gelu's z.
    aux_leading : int
        The length of a row of `aux`, in bits or in elements.
    """

    name: str
    bias: Array | None = None
    aux: Array | None = None
    aux_leading: int = 0


def load_library() -> Any:
    """Load cuBLASLt, which comes with cuBLAS, as `load_nvidia` does."""
    return load_nvidia("cublasLt")


class CublasLt:
    """Matmuls with epilogues on the current device and stream, callable from any thread.

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
        # One handle for each device, for all threads. It is never destroyed: this waits for the device.
        self._handles: dict[int, int] = vars(library).setdefault("handles", {})
        self._lock = threading.Lock()
        self._found: dict[tuple[Any, ...], _Found | None] = {}

    def bind(
        self,
        a: Array,
        b: Array,
        out: Array,
        transpose_a: bool,
        transpose_b: bool,
        ending: Ending,
        workspace: Array,
        *,
        tf32: bool = False,
        asks: bool = True,
    ) -> Bound | None:
        """Bind out = op(a) op(b) with its ending; None if cuBLASLt does not compute it.

        Parameters
        ----------
        a, b, out : array of shape (rows, columns)
            The operands and the result, C-contiguous.
        transpose_a, transpose_b : bool
            Whether op(a), op(b) is the transpose.
        ending : Ending
            What the product ends with.
        workspace : array of uint8
            Memory for cuBLASLt, which no other stream uses.
        tf32 : bool, default False
            Whether cuBLASLt may round float32 operands to tf32.
        asks : bool, default True
            Whether cuBLASLt may be asked now. If not, only products that it was asked about are bound.

        Returns
        -------
        callable or None
            A function without arguments that runs the matmul.
        """
        # cuBLASLt stores matrices by columns, so it computes outᵀ = op(b)ᵀ op(a)ᵀ: its A is b.
        arrays = b, a, out, ending.bias, ending.aux
        if out.dtype.char == "d":
            return None
        compute = NUMBERS["CUBLAS_COMPUTE_32F_FAST_TF32" if tf32 else "CUBLAS_COMPUTE_32F"]
        key = (
            *(compute, transpose_a, transpose_b, ending.name, ending.aux_leading),
            *(a.shape, b.shape, workspace.nbytes),
            *(None if m is None else (m.dtype.char, _alignment(m)) for m in arrays),
        )
        if not asks and key not in self._found:
            return None
        handle = self._handle()
        problem = _Problem(self._library, arrays, (transpose_b, transpose_a), compute, ending)
        if key not in self._found:
            self._found[key] = problem.find(handle, workspace.nbytes)
        found = self._found[key]
        if found is None:
            return None
        memory = workspace.data.ptr, workspace.nbytes
        arguments = *problem.arguments(), ctypes.addressof(found), *memory
        held = problem, found, workspace  # the call holds only addresses

        def multiply() -> None:
            stream = self._cupy.cuda.get_current_stream().ptr
            status = self._library.cublasLtMatmul(handle, *arguments, stream)
            if status:
                right, left, into = (tuple(array.shape) for array in held[0].arrays[:3])
                what = f"{left} by {right} into {into}, {ending.name or 'DEFAULT'}"
                raise CublasError(f"cublasLtMatmul failed with status {status} at {what}")

        return multiply

    def _handle(self) -> int:
        """Return the current device's handle. It cannot be made during a capture."""
        device = self._cupy.cuda.runtime.getDevice()
        with self._lock:
            if device not in self._handles:
                made = Pointer()
                _check("cublasLtCreate", self._library.cublasLtCreate(ctypes.addressof(made)))
                assert made.value is not None
                self._handles[device] = made.value
            return self._handles[device]


class _Problem:
    """The descriptors of a product, which live as long as its calls.

    Parameters
    ----------
    library : ctypes library
        cuBLASLt.
    arrays : tuple of arrays
        cuBLASLt's A, B and D, then the ending's bias and aux, each an array or None.
    transposed : pair of bool
        Whether A, B are transposed.
    compute : int
        The compute type.
    ending : Ending
        What the product ends with.
    """

    def __init__(
        self,
        library: Any,
        arrays: tuple[Any, ...],
        transposed: tuple[bool, bool],
        compute: int,
        ending: Ending,
    ) -> None:
        self.arrays, self._library = arrays, library
        a, b, d, bias, aux = arrays
        self._operation = _Descriptor(library, "MatmulDesc", compute, _TYPES["f"])
        for name, transposes in zip("AB", transposed, strict=True):
            self._operation.set(f"TRANS{name}", Int(transposes))
        number = NUMBERS[f"CUBLASLT_EPILOGUE_{ending.name or 'DEFAULT'}"]
        self._operation.set("EPILOGUE", ctypes.c_uint32(number))
        if bias is not None:
            self._operation.set("BIAS_POINTER", Pointer(bias.data.ptr))
            self._operation.set("BIAS_DATA_TYPE", Int(_TYPES[bias.dtype.char]))
        if aux is not None:
            self._operation.set("EPILOGUE_AUX_POINTER", Pointer(aux.data.ptr))
            self._operation.set("EPILOGUE_AUX_LD", Long(ending.aux_leading))
        self._matrices = a, b, d, d  # C is D, and beta is 0
        self._layouts = [
            _Descriptor(library, "MatrixLayout", _TYPES[m.dtype.char], m.shape[1], *m.shape)
            for m in self._matrices
        ]
        self._factors = ctypes.c_float(1), ctypes.c_float(0)

    def find(self, handle: int, workspace_bytes: int) -> _Found | None:
        """Ask for the fastest algorithm; None if there is none."""
        preference = _Descriptor(self._library, "MatmulPreference")
        preference.set("MAX_WORKSPACE_BYTES", ctypes.c_uint64(workspace_bytes))
        # If the inner dimension is cut, its parts are added in float32, not in a narrow output.
        schemes = NUMBERS["CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE"]
        preference.set("REDUCTION_SCHEME_MASK", ctypes.c_uint32(schemes))
        for name, matrix in zip("ABCD", self._matrices, strict=True):
            preference.set(f"MIN_ALIGNMENT_{name}_BYTES", ctypes.c_uint32(_alignment(matrix)))
        found, count = _Found(), Int()
        status = self._library.cublasLtMatmulAlgoGetHeuristic(
            *(handle, self._operation.pointer, *(layout.pointer for layout in self._layouts)),
            *(preference.pointer, 1, ctypes.addressof(found), ctypes.addressof(count)),
        )
        return found if status == 0 and count.value and found.state == 0 else None

    def arguments(self) -> tuple[int, ...]:
        """Return the arguments of cublasLtMatmul from computeDesc to Ddesc."""
        alpha, beta = map(ctypes.addressof, self._factors)
        a, b, c, d = (
            (matrix.data.ptr, layout.pointer)
            for matrix, layout in zip(self._matrices, self._layouts, strict=True)
        )
        return self._operation.pointer, alpha, *a, *b, beta, *c, *d


class _Descriptor:
    """A descriptor of cuBLASLt, destroyed with this object."""

    def __init__(self, library: Any, kind: str, *arguments: int) -> None:
        self._kind = kind
        self._destroy = getattr(library, f"cublasLt{kind}Destroy")
        self._set = getattr(library, f"cublasLt{kind}SetAttribute", None)
        made, create = Pointer(), getattr(library, f"cublasLt{kind}Create")
        _check(f"cublasLt{kind}Create", create(ctypes.addressof(made), *arguments))
        assert made.value is not None
        self.pointer = made.value

    def set(self, attribute: str, value: Any) -> None:
        assert self._set is not None
        kind = {"MatmulDesc": "MATMUL_DESC", "MatmulPreference": "MATMUL_PREF"}[self._kind]
        number, place = NUMBERS[f"CUBLASLT_{kind}_{attribute}"], ctypes.addressof(value)
        _check(attribute, self._set(self.pointer, number, place, ctypes.sizeof(value)))

    def __del__(self) -> None:
        if hasattr(self, "pointer"):
            self._destroy(self.pointer)


def _alignment(array: Array) -> int:
    """Return the largest power of two that divides the address, up to MOST_ALIGNMENT."""
    pointer: int = array.data.ptr
    return min(pointer & -pointer, MOST_ALIGNMENT)


def _check(name: str, status: int) -> None:
    if status:
        raise CublasError(f"{name} failed with status {status}")
