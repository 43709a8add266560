"""The first layer's product and its gradient, for sparse rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sparse_matrices import sparse
from twins import close, on

from gpubp.backends import Backend, Rows, SparseBlock, SparseRows
from gpubp.kernels import PRECISIONS

FIRST, COUNT, STRIDE = 3, 20, 24
"""The block: rows 3 to 22 of the step. Step 1 begins at row 24."""

# Few stored numbers and many, below and above the limits of sparse.cpp; more outputs than a vector has, and
# more than a block of threads; more columns than a block of sparse_gradient.cu sums.
SHAPES = [
    (5, 1, 0.5),
    (400, 3, 0.01),
    (400, 19, 0.03),
    (30, 8, 0.9),
    (2500, 2, 0.02),
    (9, 300, 0.4),
]


def block_of(backend: Backend, csr: Any, dtype: str, ordered: bool) -> tuple[SparseBlock, Any]:
    """Place a matrix of 60 rows on the backend; return the block, and its rows as a dense array."""
    order = np.random.default_rng(1).permutation(60)
    x = SparseRows(
        on(backend, csr.data, dtype),
        on(backend, csr.indices, np.int32),
        on(backend, csr.indptr, np.int64),
        csr.shape[1],
    )
    rows = Rows(x, order=on(backend, order, np.int64) if ordered else None, stride=STRIDE)
    chosen = np.arange(STRIDE + FIRST, STRIDE + FIRST + COUNT)
    block = SparseBlock(rows, on(backend, [7, 1], np.int64), FIRST, COUNT)
    return block, csr.toarray()[order[chosen] if ordered else chosen]


@pytest.mark.parametrize(("columns", "outputs", "density"), SHAPES)
@pytest.mark.parametrize("ordered", [False, True])
def test_products_are_those_of_the_dense_rows_of_the_step(
    backend: Backend, columns: int, outputs: int, density: float, ordered: bool, dtype: str
) -> None:
    rng = np.random.default_rng(2)
    block, dense = block_of(backend, sparse(60, columns, density), dtype, ordered)
    w, old = rng.normal(size=(2, outputs, columns))
    delta = rng.normal(size=(COUNT, outputs))
    z, weights = on(backend, np.full((COUNT, outputs), 7.0), dtype), on(backend, w, dtype)
    backend.sparse_product(block, weights, z)
    close(backend.to_numpy(z), dense @ w.T, dtype)
    for beta in (0.0, 1.0, 0.5):
        gradient = on(backend, old if beta else old * np.nan, dtype)
        backend.sparse_gradient(on(backend, delta, dtype), block, gradient, beta)
        close(backend.to_numpy(gradient), delta.T @ dense + (beta * old if beta else 0), dtype)


def test_a_grid_with_fewer_blocks_than_rows_and_outputs_computes_all_of_them(
    cuda_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpubp.kernels.sparse.MOST_ROWS", 7)
    rng = np.random.default_rng(9)
    block, dense = block_of(cuda_backend, sparse(60, 5, 0.5), "float64", True)
    w, delta = rng.normal(size=(9, 5)), rng.normal(size=(COUNT, 9))
    z, gradient = (on(cuda_backend, np.full(size, 7.0)) for size in ((COUNT, 9), (9, 5)))
    cuda_backend.sparse_product(block, on(cuda_backend, w), z)
    cuda_backend.sparse_gradient(on(cuda_backend, delta), block, gradient, 0.0)
    close(cuda_backend.to_numpy(z), dense @ w.T, "float64")
    close(cuda_backend.to_numpy(gradient), delta.T @ dense, "float64")


def test_a_captured_product_reads_the_rows_of_each_replay(backend: Backend) -> None:
    matrices = [sparse(60, 7, density, seed) for seed, density in ((3, 0.1), (4, 0.9), (5, 0.0))]
    w = np.random.default_rng(6).normal(size=(4, 7))
    blocks = [block_of(backend, matrix, "float64", False) for matrix in matrices]
    given = [(block.rows.x, dense) for block, dense in blocks]
    block = blocks[0][0]
    weights, z = on(backend, w), on(backend, np.zeros((COUNT, 4)))
    replay = backend.capture(lambda: backend.sparse_product(block, weights, z))
    for _ in range(3):
        for block.rows.x, dense in given:
            replay()
            np.testing.assert_allclose(backend.to_numpy(z), dense @ w.T, rtol=1e-12, atol=1e-12)


def test_gradients_have_the_same_bits_in_every_run(backend: Backend) -> None:
    block, _ = block_of(backend, sparse(60, 90, 0.5), "float32", True)
    delta = on(backend, np.random.default_rng(7).normal(size=(COUNT, 33)), "float32")
    runs = []
    for _ in range(2):
        gradient = on(backend, np.zeros((33, 90)), "float32")
        backend.sparse_gradient(delta, block, gradient, 0.0)
        runs.append(backend.to_numpy(gradient).tobytes())
    assert runs[0] == runs[1]


@pytest.mark.parametrize("precision", PRECISIONS.values(), ids=lambda p: p.name)
def test_weights_and_deltas_may_be_operands_of_matmuls(backend: Backend, precision: Any) -> None:
    rng = np.random.default_rng(8)
    block, dense = block_of(backend, sparse(60, 12, 0.5), "float32", False)
    # Small whole numbers are exact in every format.
    w, d = rng.integers(-8, 9, (5, 12)), rng.integers(-8, 9, (COUNT, 5))
    weights, delta = backend.operands((5, 12), precision), backend.operands((COUNT, 5), precision)
    backend.convert(on(backend, w, np.float32), weights)
    backend.convert(on(backend, d, np.float32), delta)
    z, gradient = on(backend, np.zeros((COUNT, 5)), "float32"), on(backend, w * 0.0, "float32")
    backend.sparse_product(block, weights, z)
    backend.sparse_gradient(delta, block, gradient, 0.0)
    close(backend.to_numpy(z), dense @ w.T, "float32")
    close(backend.to_numpy(gradient), d.T @ dense, "float32")
