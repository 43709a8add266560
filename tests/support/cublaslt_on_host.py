"""The functions of libcublasLt that gpubp calls through ctypes, with numbers and addresses.

Types and layouts that NVIDIA's documents do not list are refused, or fail an assertion if the library was
not asked. Reference: NVIDIA, "cuBLAS", sections cublasLtMatmul (Table 1), cublasLtEpilogue_t and
cublasLtMatmulDescAttributes_t, and the comments of cublasLt.h 12.9.3.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
import types
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .cublas_on_host import NUMBERS, view_columns, wide
from .runtime import Runtime
from .streams import CudaError, Handles

__all__ = ["Supports", "cublaslt_on_host"]

Array = np.ndarray[Any, Any]

_SUCCESS, _INVALID_VALUE, _NOT_SUPPORTED, _FAILED = 0, 7, 15, 13
_COMPUTE_32F, _COMPUTE_32F_FAST_TF32 = 68, 77
_FLOAT, _HALF, _BFLOAT = 0, 2, 14

# Bits of an epilogue.
_RELU, _BIAS, _GELU, _AUX, _BGRADB = 2, 4, 32, 128, 512
_DRELU, _DGELU = 8 | _AUX, 64 | _AUX
_EPILOGUES = {
    *(1, _RELU, _BIAS, _RELU | _BIAS, _RELU | _AUX, _RELU | _AUX | _BIAS, _DRELU),
    *(_GELU, _GELU | _BIAS, _GELU | _AUX, _GELU | _AUX | _BIAS, _DGELU, 256, _BGRADB),
}

_TRANSA, _TRANSB, _EPILOGUE, _BIAS_POINTER = 3, 4, 7, 8
_AUX_POINTER, _AUX_LD, _BIAS_TYPE = 11, 12, 26
_SIZES = {
    _TRANSA: 4, _TRANSB: 4, _EPILOGUE: 4, _BIAS_POINTER: 8,
    _AUX_POINTER: 8, _AUX_LD: 8, _BIAS_TYPE: 4,
}  # fmt: skip
_WORKSPACE_BYTES, _SCHEMES, _ALIGNMENTS = 1, 3, (5, 6, 7, 8)
_ADDED_IN_COMPUTE_TYPE = 2


@dataclass
class Supports:
    """What the library computes, as tests choose it.

    Attributes
    ----------
    epilogues : set of int
        The epilogues.
    wide_biases : bool
        Whether biases may be float32 beside a narrow output; the documents do not list this.
    """

    epilogues: set[int] = field(default_factory=lambda: set(_EPILOGUES))
    wide_biases: bool = False


@dataclass
class _Layout:
    kind: int
    rows: int
    columns: int
    leading: int


@dataclass
class _Operation:
    compute: int
    attributes: dict[int, int] = field(default_factory=dict)

    def get(self, attribute: int, default: int = 0) -> int:
        return self.attributes.get(attribute, default)


def _signature(operation: _Operation, layouts: tuple[_Layout, ...]) -> str:
    """Describe what an algorithm is found for; addresses are not part of it."""
    kept = {k: v for k, v in operation.attributes.items() if k not in (_BIAS_POINTER, _AUX_POINTER)}
    return f"{operation.compute} {sorted(kept.items())} {layouts}"


def _is_supported(
    operation: _Operation, layouts: tuple[_Layout, ...], alignments: list[int], supports: Supports
) -> bool:
    a, b, c, d = layouts
    epilogue = operation.get(_EPILOGUE, 1)
    has_types = a.kind == b.kind and c.kind == d.kind and d.kind in (_FLOAT, a.kind)
    has_compute = operation.compute == _COMPUTE_32F or a.kind == _FLOAT
    has_bias = operation.get(_BIAS_TYPE, d.kind) == d.kind
    has_bias |= supports.wide_biases and bool(epilogue & _BIAS)
    if not (has_types and has_compute and has_bias):
        return False
    # Tensor cores' kernels with epilogues need 16 bytes.
    narrow = [(m, k) for m, k in zip(layouts, alignments, strict=True) if m.kind != _FLOAT]
    fits = all(k >= 16 and m.leading * 2 % 16 == 0 for m, k in narrow)
    return fits and epilogue in supports.epilogues


def _tanh_gelu(z: Array) -> Array:
    """Return gelu's approximation by tanh, as the documents give it."""
    return 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))


def _tanh_gelu_derivative(z: Array) -> Array:
    inner = np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)
    slope = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * z**2)
    return 0.5 * (1 + np.tanh(inner)) + 0.5 * z / np.cosh(inner) ** 2 * slope


def _stored(values: Array, kind: int) -> Array:
    """Round float32 numbers to a type, to the nearest, ties to even; bfloat16 as bits in uint16."""
    if kind != _BFLOAT:
        return values.astype(NUMBERS[kind])
    bits = values.astype(np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)


def cublaslt_on_host(runtime: Runtime) -> types.SimpleNamespace:
    """Make a library that computes products with NumPy, on the streams of these devices."""
    numbers = itertools.count(0x5000, 0x10)
    objects: Handles[Any] = Handles(numbers)
    algorithms: list[str] = []
    supports = Supports()

    def make(address: int, thing: Any) -> int:
        ctypes.c_void_p.from_address(address).value = objects.add(lambda _: thing)
        return _SUCCESS

    def create(address: int) -> int:
        try:
            with runtime.lock:
                runtime.synchronize()  # the library allocates here
        except CudaError:
            return _FAILED
        return make(address, runtime.device)

    def create_operation(address: int, compute: int, scale: int) -> int:
        assert compute in (_COMPUTE_32F, _COMPUTE_32F_FAST_TF32) and scale == _FLOAT
        return make(address, _Operation(compute))

    def create_layout(address: int, kind: int, rows: int, columns: int, leading: int) -> int:
        assert kind in (_FLOAT, _HALF, _BFLOAT) and leading >= rows > 0
        return make(address, _Layout(kind, rows, columns, leading))

    def create_preference(address: int) -> int:
        return make(address, {})

    def destroy(handle: int) -> int:
        del objects[handle]
        return _SUCCESS

    def read(place: int, size: int) -> int:
        return int.from_bytes(ctypes.string_at(place, size), "little")

    def set_attribute(handle: int, attribute: int, place: int, size: int) -> int:
        if _SIZES.get(attribute) != size:
            return _INVALID_VALUE
        objects[handle].attributes[attribute] = read(place, size)
        return _SUCCESS

    def set_preference(handle: int, attribute: int, place: int, size: int) -> int:
        assert size == (8 if attribute == _WORKSPACE_BYTES else 4)
        objects[handle][attribute] = read(place, size)
        return _SUCCESS

    def check(operation: _Operation, layouts: tuple[_Layout, ...]) -> None:
        """Assert what the header demands of every product."""
        a, b, c, d = layouts
        rows, inner = (a.rows, a.columns)[:: -1 if operation.get(_TRANSA) else 1]
        deep, columns = (b.rows, b.columns)[:: -1 if operation.get(_TRANSB) else 1]
        assert (rows, columns, inner) == (d.rows, d.columns, deep)
        assert (c.rows, c.columns, c.kind) == (d.rows, d.columns, d.kind)
        assert all(m.leading for m in (a, b, d)), "only the rows of C repeat"
        epilogue = operation.get(_EPILOGUE, 1)
        assert epilogue in _EPILOGUES
        has_bias = bool(epilogue & (_BIAS | _BGRADB))
        assert has_bias == (_BIAS_POINTER in operation.attributes)
        assert bool(epilogue & _AUX) == (_AUX_POINTER in operation.attributes)
        if epilogue & _AUX:
            is_mask = bool(epilogue & (_RELU | 8))
            leading, pointer = operation.get(_AUX_LD), operation.get(_AUX_POINTER)
            assert leading >= rows and leading % (128 if is_mask else 8) == 0
            assert not is_mask or pointer % 16 == 0

    def heuristic(
        handle: int, operation: int, a: int, b: int, c: int, d: int,
        preference: int, wanted: int, results: int, count: int,
    ) -> int:  # fmt: skip
        assert objects[handle] == runtime.device and wanted == 1
        captures = (s.capture for s in runtime.streams_of_device())
        mine = [c for c in captures if c is not None and c.thread == threading.get_ident()]
        assert not mine, "the library is asked during a capture"
        asked, layouts = objects[operation], tuple(objects[m] for m in (a, b, c, d))
        check(asked, layouts)
        alignments = [objects[preference].get(k, 256) for k in _ALIGNMENTS]
        assert objects[preference][_WORKSPACE_BYTES] >= 2**22
        assert objects[preference][_SCHEMES] == _ADDED_IN_COMPUTE_TYPE, "sums may become narrow"
        if not _is_supported(asked, layouts, alignments, supports):
            return _NOT_SUPPORTED
        algorithms.append(_signature(asked, layouts))
        ctypes.c_uint64.from_address(results).value = len(algorithms) - 1
        ctypes.c_size_t.from_address(results + 64).value = 2**22
        ctypes.c_int.from_address(results + 72).value = _SUCCESS
        ctypes.c_int.from_address(count).value = 1
        return _SUCCESS

    def matmul(
        handle: int, operation: int, alpha: int, a: int, a_layout: int, b: int, b_layout: int,
        beta: int, c: int, c_layout: int, d: int, d_layout: int,
        algorithm: int, workspace: int, workspace_bytes: int, stream_handle: int,
    ) -> int:  # fmt: skip
        """Compute d = alpha op(a) op(b) + beta c, with the epilogue, on column-major matrices."""
        asked = _Operation(objects[operation].compute, dict(objects[operation].attributes))
        layouts = tuple(objects[m] for m in (a_layout, b_layout, c_layout, d_layout))
        check(asked, layouts)
        stream = runtime.stream(stream_handle or 0)
        assert objects[handle] == runtime.device == stream.device
        number = ctypes.c_uint64.from_address(algorithm).value
        assert algorithms[number] == _signature(asked, layouts), "another product's algorithm"
        assert workspace % 256 == 0 and workspace_bytes >= 2**22
        factor, kept = (ctypes.c_float.from_address(place).value for place in (alpha, beta))
        assert factor == 1 and kept == 0
        assert c == d
        for place, layout in zip((a, b, c, d), layouts, strict=True):
            assert layout.kind == _FLOAT or place % 16 == 0
        device = stream.device

        def view(place: int, layout: _Layout) -> Array:
            return view_columns(
                *(runtime, device, place, layout.kind, layout.rows, layout.columns, layout.leading)
            )

        def operand(place: int, layout: _Layout, transposed: int) -> Array:
            values = view(place, layout)
            truncates = asked.compute == _COMPUTE_32F_FAST_TF32
            return wide(values.T if transposed else values, layout.kind, truncates)

        def cublaslt() -> None:
            assert runtime.memory.find(workspace, workspace_bytes), "the workspace was given back"
            with np.errstate(all="ignore"):
                right = operand(b, layouts[1], asked.get(_TRANSB))
                sums = operand(a, layouts[0], asked.get(_TRANSA)) @ right
                view(d, layouts[3])[...] = _stored(end(sums, right), layouts[3].kind)

        def end(sums: Array, right: Array) -> Array:
            """Apply the epilogue to the float32 sums."""
            epilogue, kind = asked.get(_EPILOGUE, 1), layouts[3].kind
            rows, columns = sums.shape
            leading, aux = asked.get(_AUX_LD), asked.get(_AUX_POINTER)
            bias_kind, bias = asked.get(_BIAS_TYPE, kind), asked.get(_BIAS_POINTER)
            if epilogue == _BGRADB:
                out = view_columns(runtime, device, bias, bias_kind, columns, 1, columns)
                out[:, 0] = right.sum(0)
            if epilogue & _BIAS:
                row = view_columns(runtime, device, bias, bias_kind, rows, 1, rows)
                sums = sums + wide(row, bias_kind, False)
            if epilogue in (_DRELU, _RELU | _AUX, _RELU | _AUX | _BIAS):
                bits = view_columns(runtime, device, aux, 3, leading // 8, columns, leading // 8)
                if epilogue == _DRELU:
                    mask = np.unpackbits(bits, axis=0, bitorder="little")[:rows]
                    return np.where(mask, sums, np.float32(0))
                padded = np.ones((leading, columns), bool)  # what is beyond the rows is undefined
                padded[:rows] = sums > 0
                bits[...] = np.packbits(padded, axis=0, bitorder="little")
            elif epilogue & _AUX:
                z = view_columns(runtime, device, aux, kind, rows, columns, leading)
                if epilogue == _DGELU:
                    return sums * _tanh_gelu_derivative(wide(z, kind, False))
                z[...] = _stored(sums, kind)
            if epilogue & _RELU:
                return np.maximum(sums, np.float32(0))
            return _tanh_gelu(sums) if epilogue & _GELU else sums

        try:
            with runtime.lock:
                runtime.ask(stream, cublaslt)
        except CudaError:
            return _FAILED
        return _SUCCESS

    return types.SimpleNamespace(
        supports=supports,
        objects=objects,
        cublasLtCreate=create,
        cublasLtMatmulDescCreate=create_operation,
        cublasLtMatmulDescSetAttribute=set_attribute,
        cublasLtMatmulDescDestroy=destroy,
        cublasLtMatrixLayoutCreate=create_layout,
        cublasLtMatrixLayoutDestroy=destroy,
        cublasLtMatmulPreferenceCreate=create_preference,
        cublasLtMatmulPreferenceSetAttribute=set_preference,
        cublasLtMatmulPreferenceDestroy=destroy,
        cublasLtMatmulAlgoGetHeuristic=heuristic,
        cublasLtMatmul=matmul,
    )
