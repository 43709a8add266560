"""Matmul, addition and captured steps: the same contract on every backend."""

from __future__ import annotations

import numpy as np
import pytest
from twins import close, on

from gpubp.backends import Backend


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize(("rows", "inner", "columns"), [(1, 1, 1), (5, 3, 4), (1, 6, 2), (4, 2, 1)])
def test_matmul_with_transposes_alpha_and_beta(
    backend: Backend,
    transpose_a: bool,
    transpose_b: bool,
    rows: int,
    inner: int,
    columns: int,
    dtype: str,
) -> None:
    rng = np.random.default_rng(14)
    a, b, c = (
        rng.normal(size=shape).astype(dtype)
        for shape in ((rows, inner), (inner, columns), (rows, columns))
    )
    flags = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    for alpha, beta in ((1.0, 0.0), (0.5, 1.0), (1.0, 0.9)):
        out = on(backend, c if beta else np.full_like(c, np.nan))
        left = on(backend, np.ascontiguousarray(a.T) if transpose_a else a)
        right = on(backend, np.ascontiguousarray(b.T) if transpose_b else b)
        backend.matmul(left, right, out, alpha=alpha, beta=beta, **flags)
        expected = alpha * np.einsum("ik,kj->ij", a.astype(float), b.astype(float)) + beta * c
        close(backend.to_numpy(out), expected, dtype, magnitude=10)


def test_add_adds_into_out(backend: Backend, dtype: str) -> None:
    out = on(backend, [1.0, 2.0], dtype)
    backend.add(on(backend, [0.5, 0.25], dtype), out)
    assert backend.to_numpy(out).tolist() == [1.5, 2.25]


def test_a_captured_step_computes_anew_at_every_replay(backend: Backend) -> None:
    x, out = on(backend, [[1.0, 2.0]]), on(backend, [0.0, 0.0])
    step = backend.capture(lambda: backend.column_sums(x, out, 1.0))
    assert backend.to_numpy(out).tolist() == [0, 0]  # a capture computes nothing
    step()
    x[...] = 10.0
    step()
    backend.synchronize()
    assert backend.to_numpy(out).tolist() == [11, 12]
