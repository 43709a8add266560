"""Matmul, addition and captured steps: the same contract on every backend."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from twins import close, on

from gpubp.backends import Backend, Rows


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


def test_a_captured_step_is_part_of_one_that_calls_it(backend: Backend) -> None:
    ones, values = on(backend, [1.0, 1.0]), on(backend, [0.0, 0.0])
    inner = backend.capture(lambda: backend.add(ones, values))

    def step() -> None:
        inner()
        backend.add(values, values)

    outer, expected = backend.capture(step), 0.0
    for _ in range(4):
        outer()
        expected = 2 * (expected + 1)
        assert backend.to_numpy(values).tolist() == [expected, expected]
    inner()
    assert backend.to_numpy(values).tolist() == [expected + 1, expected + 1]


def test_a_capture_that_fails_leaves_the_one_around_it_whole(backend: Backend) -> None:
    rows, out = Rows(on(backend, [[1.0, 2.0], [3.0, 4.0]])), on(backend, [[0.0, 0.0]])
    counters = backend.zeros(2, np.int64)

    def fails() -> None:
        raise RuntimeError

    def step() -> None:
        backend.gather(rows, "x", counters, 1, out)
        with suppress(RuntimeError):
            backend.capture(fails)()
        backend.add(out, out)

    captured = backend.capture(step)
    for _ in range(3):
        captured()
        assert backend.to_numpy(out).tolist() == [[6, 8]]
