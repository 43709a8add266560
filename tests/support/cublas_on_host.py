"""The functions of libcublas that gpubp calls through ctypes, with numbers and addresses."""

from __future__ import annotations

import ctypes
import types
from typing import Any

import numpy as np

from .runtime import Runtime
from .streams import CudaError, Fault, Status

__all__ = ["NUMBERS", "cublas_on_host", "view_columns", "wide"]

Array = np.ndarray[Any, Any]

NUMBERS = {0: np.float32, 1: np.float64, 2: np.float16, 3: np.uint8, 14: np.uint16}
"""Types by their cudaDataType; 14 is a bfloat16's bits. 3, an int8 in CUDA, is bytes of bits here."""
_COMPUTE_32F, _COMPUTE_64F, _COMPUTE_32F_FAST_TF32 = 68, 70, 77
_FAILED = 13  # CUBLAS_STATUS_EXECUTION_FAILED


class _Handle:
    """What cuBLAS knows about a handle. Setting its stream clears its workspace."""

    def __init__(self, device: int) -> None:
        self.device, self.stream, self.workspace = device, 0, 0


def view_columns(
    runtime: Runtime, device: int, pointer: int, kind: int, rows: int, width: int, leading: int
) -> Array:
    """View the matrix at an address, which BLAS stores column by column; with `leading` 0 all are one."""
    assert leading >= rows or leading == 0
    dtype = np.dtype(NUMBERS[kind])
    size = (leading * (width - 1) + rows) * dtype.itemsize
    piece = runtime.memory.find(pointer, size)
    if piece is None or piece.device != device:
        what = "a matmul uses memory that is not there, or has been given back"
        raise Fault(Status.ILLEGAL_ADDRESS, what)
    memory = np.frombuffer((ctypes.c_char * size).from_address(pointer), dtype)
    strides = dtype.itemsize, leading * dtype.itemsize
    return np.lib.stride_tricks.as_strided(memory, (rows, width), strides)


def wide(numbers: Array, kind: int, truncates: bool) -> Array:
    """Return numbers of a type in float32, or in float64; truncated to tf32, as tensor cores may."""
    if kind == 14:
        return (numbers.astype(np.uint32) << 16).view(np.float32)
    numbers = numbers.astype(np.float64 if kind == 1 else np.float32)
    if truncates:
        numbers = (numbers.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
    return numbers


def cublas_on_host(runtime: Runtime) -> types.SimpleNamespace:
    """Make a library that computes products with NumPy, on the streams of these devices."""
    handles: dict[int, _Handle] = {}

    def create(address: int) -> int:
        try:
            with runtime.lock:
                runtime.synchronize()  # cuBLAS allocates here, and waits for the device
        except CudaError:
            return _FAILED
        handle = _Handle(runtime.device)
        handles[id(handle)] = handle
        ctypes.c_void_p.from_address(address).value = id(handle)
        return 0

    def destroy(handle: int) -> int:
        try:
            with runtime.lock:
                runtime.synchronize()
        except CudaError:
            return _FAILED
        del handles[handle]
        return 0

    def set_stream(handle: int, stream: int) -> int:
        handles[handle].stream, handles[handle].workspace = stream, 0
        return 0

    def set_workspace(handle: int, workspace: int, size: int) -> int:
        assert runtime.memory.find(workspace, size) and size >= 2**22
        handles[handle].workspace = workspace
        return 0

    def gemm(
        handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int,
        a: int, a_type: int, lda: int, b: int, b_type: int, ldb: int, beta: int,
        c: int, c_type: int, ldc: int, compute_type: int, algo: int,
    ) -> int:  # fmt: skip
        """Compute c = alpha op(a) op(b) + beta c on column-major matrices."""
        known = handles[handle]
        stream = runtime.stream(known.stream)
        assert known.device == runtime.device == stream.device
        assert bool(known.workspace) == (stream.capture is not None), (
            "a graph would hold memory of cuBLAS's own"
        )
        assert algo == -1 and a_type == b_type
        assert c_type == (1 if a_type == 1 else 0)
        assert compute_type in (
            {1: (_COMPUTE_64F,), 0: (_COMPUTE_32F, _COMPUTE_32F_FAST_TF32)}.get(
                a_type, (_COMPUTE_32F,)
            )
        )
        real: Any = ctypes.c_double if compute_type == _COMPUTE_64F else ctypes.c_float
        factor, kept = real.from_address(alpha).value, real.from_address(beta).value

        def columns(pointer: int, kind: int, rows: int, width: int, leading: int) -> Array:
            return view_columns(runtime, known.device, pointer, kind, rows, width, leading)

        def operand(at: int, kind: int, transposed: int, shape: tuple[int, int], ld: int) -> Array:
            stored = columns(at, kind, *(shape[::-1] if transposed else shape), ld)
            numbers = stored.T if transposed else stored
            return wide(numbers, kind, compute_type == _COMPUTE_32F_FAST_TF32)

        def multiply() -> None:
            left = operand(a, a_type, transa, (m, k), lda)
            with np.errstate(all="ignore"):
                product = left @ operand(b, b_type, transb, (k, n), ldb)
                out = columns(c, c_type, m, n, ldc)
                scalar = out.dtype.type
                out[...] = scalar(factor) * product + (scalar(kept) * out if kept else 0)

        try:
            with runtime.lock:
                runtime.ask(stream, multiply)
        except CudaError:
            return _FAILED
        return 0

    return types.SimpleNamespace(
        cublasCreate_v2=create,
        cublasDestroy_v2=destroy,
        cublasSetStream_v2=set_stream,
        cublasSetWorkspace_v2=set_workspace,
        cublasGemmEx=gemm,
    )
