"""Sparse rows in a network: the results of dense rows, without dense rows."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sparse_matrices import FORMATS, sparse

from gpubp import Network, check_gradients
from gpubp.backends import Backend
from gpubp.backends.numpy import NumpyBackend
from gpubp.sparse import sparse_rows

LABELS = np.random.default_rng(0).integers(0, 3, 30)


def network_for(backend: Backend, dtype: str = "float64", **options: Any) -> Network:
    made_with = {"hidden": "tanh", "output": "softmax", "seed": 1, **options}
    return Network((12, 5, 3), dtype=dtype, backend=backend, **made_with)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_computes_the_same_for_sparse_and_dense_rows(
    backend: Backend, dtype: str
) -> None:
    network, x = network_for(backend, dtype), sparse(30, 12)
    dense, weights = x.toarray(), np.linspace(0.5, 2, 30)
    rtol, atol = (1e-5, 1e-6) if dtype == "float32" else (1e-12, 1e-14)
    np.testing.assert_allclose(network.predict(x), network.predict(dense), rtol, atol)
    assert network.cost(x, LABELS, weights) == pytest.approx(network.cost(dense, LABELS, weights))
    given, expected = (network.backprop(rows, LABELS, weights) for rows in (x, dense))
    to_numpy = backend.to_numpy
    np.testing.assert_allclose(to_numpy(given.gradient), to_numpy(expected.gradient), rtol, atol)
    for name in ("z", "deltas"):
        for mine, other in zip(getattr(given, name), getattr(expected, name), strict=True):
            np.testing.assert_allclose(mine, other, rtol, atol)
    for mine, other in zip(network.forward(x).a[1:], expected.a[1:], strict=True):
        np.testing.assert_allclose(mine, other, rtol, atol)


def test_gradients_of_sparse_rows_are_those_of_finite_differences() -> None:
    network = network_for(NumpyBackend())
    assert check_gradients(network, sparse(30, 12), LABELS).relative_error < 1e-7


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_sparse_x_stays_sparse_and_has_no_dense_gradient(backend: Backend, dtype: str) -> None:
    network, x = network_for(backend, "float32"), sparse(30, 12).astype(dtype)
    result = network.backprop(x, LABELS)
    for a in (result.a[0], network.forward(x).a[0]):
        assert isinstance(a, scipy.sparse.csr_array)
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a.toarray(), x.toarray().astype(np.float32))
        assert not np.shares_memory(a.data, x.data)
    assert result.input_gradient is None


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_of_scipy_is_taken_and_left_as_it_was(form: str) -> None:
    network, x = network_for(NumpyBackend()), sparse(30, 12)
    matrix = x.asformat(form)
    before = matrix.copy()
    np.testing.assert_array_equal(network.predict(matrix), network.predict(x))
    assert (matrix != before).nnz == 0
    assert matrix.dtype == before.dtype


@pytest.mark.parametrize("dtype", ["int8", "uint16", "bool", "float32", "int64"])
def test_every_real_dtype_is_taken(backend: Backend, dtype: str) -> None:
    network, x = network_for(backend), abs(sparse(30, 12) * 20).astype(dtype)
    expected = network.predict(x.toarray().astype(float))
    np.testing.assert_allclose(network.predict(x), expected, rtol=1e-12)


def test_numbers_stored_for_one_place_are_added_in_any_order_of_columns(backend: Backend) -> None:
    network = network_for(backend)
    values, columns, places = [1.0, 2, 4, 8, 16], [7, 7, 2, 7, 0], [0, 3, 5]
    x = scipy.sparse.csr_array((values, columns, places), shape=(2, 12))
    dense = np.zeros((2, 12))
    dense[0, 7], dense[0, 2], dense[1, 7], dense[1, 0] = 3, 4, 8, 16
    given, expected = network.backprop(x, [0, 1]), network.backprop(dense, [0, 1])
    for mine, other in zip(given.weight_gradients, expected.weight_gradients, strict=True):
        np.testing.assert_allclose(backend.to_numpy(mine), backend.to_numpy(other), rtol=1e-12)
    assert x.nnz == 5


def test_values_of_float16_are_added_too() -> None:
    x = scipy.sparse.csr_array((np.ones(3), [7, 2, 7], [0, 3]), shape=(1, 12))
    x.data = x.data.astype(np.float16)  # SciPy makes no such matrix, but keeps one
    dense = np.zeros((1, 12))
    dense[0, 7], dense[0, 2] = 2, 1
    network = network_for(NumpyBackend())
    np.testing.assert_allclose(network.predict(x), network.predict(dense), rtol=1e-12)


def test_rows_have_rising_columns_each_of_them_once() -> None:
    values, columns, places = [1.0, 2, 4, 8, 16], [7, 7, 2, 7, 0], [0, 3, 5]
    x = scipy.sparse.csr_array((values, columns, places), shape=(2, 12))
    rows = sparse_rows("x", x)
    assert [array.tolist() for array in rows.arrays] == [[4, 3, 16, 8], [2, 7, 0, 7], [0, 2, 4]]
    assert x.data.tolist() == values


def test_what_a_matrix_holds_beyond_its_last_row_does_not_count() -> None:
    network, x = network_for(NumpyBackend()), sparse(30, 12)
    expected = network.predict(x)
    x.data, x.indices = np.append(x.data, np.nan), np.append(x.indices, 99)
    np.testing.assert_array_equal(network.predict(x), expected)


@pytest.mark.parametrize("places", ["int32", "int64"])
def test_rows_share_the_values_of_a_matrix_in_order_and_nothing_that_is_checked(
    places: str,
) -> None:
    x = sparse(30, 12)
    x.indptr, x.indices = x.indptr.astype(places), x.indices.astype(np.int32)
    rows = sparse_rows("x", x)
    assert np.shares_memory(rows.values, x.data)
    assert not np.shares_memory(rows.indices, x.indices)
    assert not np.shares_memory(rows.starts, x.indptr)


class Resized(scipy.sparse.csr_array):
    """Like a matrix that another thread makes wider while it is read."""

    @property
    def format(self) -> str:
        if self.indices.size == 1:
            self._shape = (1, 40)
            self.indices = np.array([39], np.int32)
        return "csr"


def test_the_checked_copy_of_a_matrix_has_the_width_of_the_network() -> None:
    x = Resized((np.ones(1), [3], [0, 1]), shape=(1, 12))
    with pytest.raises(ValueError, match=r"^x has 40 columns, expected 12"):
        network_for(NumpyBackend()).predict(x)


def test_more_columns_than_int32_counts_are_refused() -> None:
    x = scipy.sparse.csr_array((np.ones(1), [2**31 - 2], [0, 1]), shape=(1, 2**31 - 1))
    assert sparse_rows("x", x).indices[0] == 2**31 - 2
    x = scipy.sparse.csr_array((np.ones(1), [2**31], [0, 1]), shape=(1, 2**31 + 5))
    with pytest.raises(
        ValueError, match=r"^x has 2147483653 columns, expected 2147483647 at most$"
    ):
        sparse_rows("x", x)


def test_a_sparse_vector_is_told_what_shapes_there_are() -> None:
    with pytest.raises(ValueError, match=r"^x has shape \(12,\), expected \(rows, 12\)$"):
        network_for(NumpyBackend()).predict(scipy.sparse.coo_array(np.ones(12)))


def test_a_matrix_of_zeros_gives_the_biases_alone(backend: Backend) -> None:
    network = network_for(backend)
    network.parameters = np.random.default_rng(2).normal(size=network.layout.size)
    x = scipy.sparse.csr_array((4, 12))
    np.testing.assert_allclose(network.predict(x), network.predict(np.zeros((4, 12))), rtol=1e-12)
    first = network.backprop(x, LABELS[:4]).weight_gradients[0]
    assert not backend.to_numpy(first).any()


@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "float16"])
def test_sparse_rows_are_rounded_as_dense_rows_are(backend: Backend, precision: str) -> None:
    network = network_for(backend, "float32", precision=precision)
    x = sparse(30, 12)
    given, expected = (network.backprop(rows, LABELS) for rows in (x, x.toarray()))
    rtol, atol = (2e-2, 2e-3) if precision == "bfloat16" else (2e-3, 2e-4)
    if precision == "tf32":
        # cuBLAS may truncate x and the weights, each by 2^-10 of a number. The sparse product rounds x to
        # the nearest, by half as much, and on a GPU it does not round the weights.
        weights = backend.to_numpy(network.layers[0].weights)
        most = 2.5 * 2.0**-10 * (abs(x.toarray()) @ abs(weights.T))
        assert (abs(given.z[0] - expected.z[0]) <= most + 1e-6).all()
    else:
        np.testing.assert_allclose(given.z[0], expected.z[0], rtol=1e-5, atol=1e-6)
    gradients = (backend.to_numpy(result.gradient) for result in (given, expected))
    np.testing.assert_allclose(*gradients, rtol=rtol, atol=atol)
    np.testing.assert_allclose(given.a[0].toarray(), expected.a[0], rtol=1e-3)
    single = x.astype("float32")
    network.predict(single)
    np.testing.assert_array_equal(single.toarray(), x.toarray().astype("float32"))


def test_many_sparse_rows_are_predicted_in_parts(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, x = network_for(backend), sparse(30, 12)
    monkeypatch.setattr("gpubp.network.predictor.ROWS_AT_ONCE", 7)
    np.testing.assert_allclose(network.predict(x), network.predict(x.toarray()), rtol=1e-12)
    assert sorted(network._predictor.captured) == [(2, False), (2, True), (7, False), (7, True)]


@pytest.mark.parametrize("compile", [True, False])
def test_a_wide_matrix_is_never_dense(compile: bool) -> None:
    rows, columns = (
        400,
        100_000,
    )  # dense, these are 160 MB of float32, and a block of 256 rows 102 MB
    x = scipy.sparse.random_array((rows, columns), density=2e-5, format="csr", rng=0)
    network = Network((columns, 2), backend=NumpyBackend(compile=compile), seed=0)
    y = np.zeros((rows, 2))
    network.predict(x[:1])  # compile, and import what is used
    tracemalloc.start()
    network.backprop(x, y)
    network.predict(x)
    network.cost(x, y)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
