"""Matmuls of layers: our own, which do what follows in the same launch, and cuBLAS's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpubp.backends import Backend
from gpubp.backends.numpy import NumpyBackend
from gpubp.kernels import ACTIVATIONS, PRECISIONS
from gpubp.kernels import matmul as matmul_module
from gpubp.kernels.matmul import (
    NARROW,
    NARROW_FORWARD,
    WIDE_FORWARD,
    Tiling,
    is_small,
    matmul_cuda,
    parts_of,
    tiling_of,
)

SHAPES = [(1, 1, 1), (7, 5, 3), (33, 65, 17), (64, 10, 300), (16, 16, 1000), (800, 700, 9)]


@pytest.fixture(params=[0, 2**30], ids=["cublas", "own"])
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose cuBLAS with a kernel after it, or our own matmul, which does what follows in its launch."""
    monkeypatch.setattr("gpubp.kernels.matmul.SMALL_WORK", request.param)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("transposes", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("shape", SHAPES)
def test_matmul(
    cuda_backend: Backend, shape: tuple[int, int, int], transposes: tuple[bool, bool], dtype: str
) -> None:
    rng, (rows, columns, inner) = np.random.default_rng(0), shape
    a, b = rng.normal(size=(rows, inner)), rng.normal(size=(inner, columns))
    start = rng.normal(size=(rows, columns)).astype(dtype)
    xp = cuda_backend.xp
    given = [
        cuda_backend.asarray(np.ascontiguousarray(m.T if t else m), dtype)
        for m, t in zip((a, b), transposes, strict=True)
    ]
    for alpha, beta in ((1.0, 0.0), (0.5, 2.0)):
        out = cuda_backend.asarray(start.copy() if beta else np.full_like(start, np.nan))
        matmul_cuda(xp, *given, out, *transposes, alpha, beta, cuda_backend)()
        expected = alpha * a.astype(dtype).astype(float) @ b.astype(dtype)
        expected += beta * start if beta else 0
        bound = 4 * np.finfo(dtype).eps * (np.abs(a) @ np.abs(b) + np.abs(start))
        assert (np.abs(cuda_backend.to_numpy(out) - expected) <= bound).all()


def test_forward_products_of_many_pieces_are_cut_into_wide_ones() -> None:
    assert tiling_of(2048, 256, True, False) is WIDE_FORWARD
    assert tiling_of(512, 64, True, False) is NARROW_FORWARD
    assert tiling_of(2048, 256, False, False) is NARROW
    assert tiling_of(2048, 256, True, True) is NARROW


def test_long_inner_dimensions_are_cut_and_large_outputs_are_not() -> None:
    assert parts_of(NARROW, 64, 64, 4096) == 16
    assert parts_of(NARROW, 16, 16, 1000) == 15
    assert parts_of(NARROW, 64, 64, 100) == 1
    assert parts_of(WIDE_FORWARD, 4096, 4096, 4096) == 1


TILINGS = [
    NARROW,
    WIDE_FORWARD,
    Tiling(64, 64, 4, 4, 32),
    Tiling(128, 64, 8, 4, 16),
    Tiling(128, 128, 8, 8, 16),
]


@pytest.mark.parametrize("tiling", TILINGS, ids=str)
@pytest.mark.parametrize("parts", [1, 3])
def test_pieces_of_any_form(
    cuda_backend: Backend, monkeypatch: pytest.MonkeyPatch, tiling: Tiling, parts: int
) -> None:
    monkeypatch.setattr(matmul_module, "tiling_of", lambda *_: tiling)
    monkeypatch.setattr(matmul_module, "parts_of", lambda *_: parts)
    monkeypatch.setattr(matmul_module, "SMALL_WORK", 2**30)
    rng, backend = np.random.default_rng(5), cuda_backend
    for rows, n_out, n_in in ((150, 72, 100), (33, 131, 68)):
        x, w, delta = (
            rng.normal(size=s).astype(np.float32)
            for s in ((rows, n_in), (n_out, n_in), (rows, n_out))
        )
        z, a, out, g = (
            backend.xp.empty(s, np.float32)
            for s in ((rows, n_out), (rows, n_out), (rows, n_in), (n_out, n_in))
        )
        b, sums = backend.asarray(delta[0]), backend.xp.empty(n_out, np.float32)
        dx, dw, dd = map(backend.asarray, (x, w, delta))
        backend.layer_forward(ACTIVATIONS["relu"], dx, dw, b, z, a)
        backend.layer_backward(ACTIVATIONS["relu"], dd, dw, dx, out, out)
        backend.layer_gradients(dd, dx, g, sums, 0.0)
        for here, there in (
            (z, x @ w.T + delta[0]),
            (a, np.maximum(x @ w.T + delta[0], 0)),
            (out, (delta @ w) * (x > 0)),
            (g, delta.T @ x),
            (sums, delta.sum(0)),
        ):
            np.testing.assert_allclose(backend.to_numpy(here), there, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_matmul_of_narrow_numbers_adds_in_float32(cuda_backend: Backend, name: str) -> None:
    rng, precision = np.random.default_rng(1), PRECISIONS[name]
    numbers = [rng.normal(size=s).astype(np.float32) for s in ((9, 500), (500, 12))]
    operands, exact = [], []
    for values in numbers:
        operands.append(cuda_backend.operands(values.shape, precision))
        cuda_backend.convert(cuda_backend.asarray(values), operands[-1])
        wide = cuda_backend.xp.empty(values.shape, np.float32)
        cuda_backend.convert(operands[-1], wide)
        exact.append(cuda_backend.to_numpy(wide).astype(float))
    out = cuda_backend.xp.empty((9, 12), np.float32)
    matmul_cuda(cuda_backend.xp, *operands, out, False, False, 1.0, 0.0, cuda_backend)()
    bound = 4 * np.finfo(np.float32).eps * (np.abs(exact[0]) @ np.abs(exact[1]))
    assert (np.abs(cuda_backend.to_numpy(out) - exact[0] @ exact[1]) <= bound).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("name", "dtype"), [("gelu", "float32"), ("identity", "float32"), ("tanh", "float64")]
)
def test_a_layers_products_and_what_follows_them(
    cuda_backend: Backend, route: None, name: str, shape: tuple[int, int, int], dtype: str
) -> None:
    """Compare with the twins in float64: with and without z kept, biases, and accumulated gradients."""
    backend, twin = cuda_backend, NumpyBackend(compile=False)
    activation, (rows, n_out, n_in) = ACTIVATIONS[name], shape
    rng, eps = np.random.default_rng(2), np.finfo(dtype).eps
    x, w, b = (rng.normal(size=s).astype(dtype) for s in ((rows, n_in), (n_out, n_in), n_out))
    delta = rng.normal(size=(rows, n_out)).astype(dtype)
    bound = 16 * eps * (np.abs(x) @ np.abs(w.T) + np.abs(b) + 1)
    for biases in (b, None):
        for keeps_z in (True, False):
            z, a = (np.full((rows, n_out), np.nan) for _ in range(2))
            a = a if keeps_z else z
            wide = None if biases is None else biases.astype(float)
            twin.layer_forward(activation, x.astype(float), w.astype(float), wide, z, a)
            z_here, a_here = (backend.asarray(np.full((rows, n_out), np.nan, dtype)) for _ in "za")
            a_here = a_here if keeps_z else z_here
            given = backend.asarray(x), backend.asarray(w)
            own = None if biases is None else backend.asarray(biases)
            backend.layer_forward(activation, *given, own, z_here, a_here)
            for here, there in ((z_here, z), (a_here, a)):
                assert (np.abs(backend.to_numpy(here) - there) <= bound).all()

    v = rng.normal(size=(rows, n_in)).astype(dtype)
    if activation.reads == "a":
        v = np.tanh(v)
    expected = np.empty((rows, n_in))
    wide_arrays = [m.astype(float) for m in (delta, w, v)]
    twin.layer_backward(activation, *wide_arrays, expected, expected)
    out = backend.asarray(np.full((rows, n_in), np.nan, dtype))
    backend.layer_backward(activation, *map(backend.asarray, (delta, w, v)), out, out)
    bound = 16 * eps * (np.abs(delta) @ np.abs(w) + 1)
    assert (np.abs(backend.to_numpy(out) - expected) <= bound).all()

    for beta in (0.0, 0.5):
        start_w, start_b = (rng.normal(size=s).astype(dtype) for s in ((n_out, n_in), n_out))
        there_w, there_b = start_w.astype(float), start_b.astype(float)
        twin.layer_gradients(delta.astype(float), x.astype(float), there_w, there_b, beta)
        here = [backend.asarray(m if beta else np.full_like(m, np.nan)) for m in (start_w, start_b)]
        backend.layer_gradients(backend.asarray(delta), backend.asarray(x), *here, beta)
        size = np.abs(delta).T @ np.abs(x) + 1
        assert (np.abs(backend.to_numpy(here[0]) - there_w) <= 16 * eps * size).all()
        size = np.abs(delta).sum(0) + 1
        assert (np.abs(backend.to_numpy(here[1]) - there_b) <= 16 * eps * size).all()


def test_addresses_that_are_not_aligned(cuda_backend: Backend, route: None) -> None:
    """Rows hold eight numbers, which suits vector loads, but they may begin at any address."""
    backend, rng = cuda_backend, np.random.default_rng(3)
    memory = backend.asarray(rng.normal(size=8 * 40).astype(np.float32))
    for first in range(5):
        x, w = (
            memory[first : first + 64].reshape(8, 8),
            memory[70 + first : 134 + first].reshape(8, 8),
        )
        out = backend.xp.empty(70, np.float32)[first : first + 64].reshape(8, 8)
        backend.layer_forward(ACTIVATIONS["relu"], x, w, memory[first : first + 8], out, out)
        x, w, b = map(backend.to_numpy, (x, w, memory[first : first + 8]))
        np.testing.assert_allclose(
            backend.to_numpy(out), np.maximum(x @ w.T + b, 0), rtol=1e-4, atol=1e-5
        )


def test_products_in_parts_leave_their_arrivals_at_zero(cuda_backend: Backend) -> None:
    """They also give the same bits at every call."""
    backend, rng = cuda_backend, np.random.default_rng(4)
    delta, a = (backend.asarray(rng.normal(size=(900, 40)).astype(np.float32)) for _ in range(2))
    results = []
    for _ in range(3):
        weights, biases = backend.xp.empty((40, 40), np.float32), backend.xp.empty(40, np.float32)
        backend.layer_gradients(delta, a, weights, biases, 0.0)
        results.append((backend.to_numpy(weights), backend.to_numpy(biases)))
        assert not backend.to_numpy(backend.arrivals()).any()  # type: ignore[attr-defined]
    for weights, biases in results[1:]:
        np.testing.assert_array_equal(weights, results[0][0])
        np.testing.assert_array_equal(biases, results[0][1])


def test_gradients_keep_their_digits_over_many_rows(cuda_backend: Backend) -> None:
    """A float32 sum of so many equal numbers drifts. So a matmul over many rows is never `is_small`."""
    backend, rows = cuda_backend, 50_000
    delta = backend.asarray(np.full((rows, 4), 0.1, np.float32))
    a = backend.asarray(np.ones((rows, 4), np.float32))
    weights, biases = backend.xp.empty((4, 4), np.float32), backend.xp.empty(4, np.float32)
    backend.layer_gradients(delta, a, weights, biases, 0.0)
    np.testing.assert_allclose(backend.to_numpy(biases), rows * np.float64(np.float32(0.1)), 1e-6)
    assert not is_small(4, 4, rows) and is_small(4, 4, 512)


def test_what_changes_nothing_is_not_done() -> None:
    """An identity layer without biases needs no call of `bias_activate`."""
    asked: list[str] = []

    class Watched(NumpyBackend):
        def bias_activate(self, *arguments: Any, **options: Any) -> None:
            asked.append("bias_activate")

    z = np.empty((2, 3))
    Watched(compile=False).layer_forward(
        ACTIVATIONS["identity"], np.ones((2, 2)), np.ones((3, 2)), None, z, z
    )
    assert asked == [] and (z == 2).all()
