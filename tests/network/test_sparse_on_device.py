"""Sparse matrices on a device, in a network and its trainer: the results of the same matrix of SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sparse_matrices import DAMAGED, MadeOnDevice, OnDevice, sparse

from gpubp import Network, Trainer
from gpubp.backends import Backend
from gpubp.backends.numpy import NumpyBackend

pytestmark = pytest.mark.usefixtures("cupyx_sparse")

LABELS = np.random.default_rng(0).integers(0, 3, 30)
X = sparse(30, 12)


def network_for(backend: Backend, dtype: str = "float64", **options: Any) -> Network:
    made_with = {"hidden": "tanh", "output": "softmax", "seed": 1, **options}
    return Network((12, 5, 3), dtype=dtype, backend=backend, **made_with)


@pytest.mark.parametrize("on_host", [False, True])
def test_results_are_those_of_scipys_matrix_and_on_the_device(
    cuda_backend: Backend, on_host: bool
) -> None:
    network, x = network_for(NumpyBackend() if on_host else cuda_backend), OnDevice(X, cuda_backend)
    to_numpy = cuda_backend.to_numpy
    outputs = network.predict(x)
    assert cuda_backend.owns(outputs)
    np.testing.assert_array_equal(to_numpy(outputs), network.predict(X))
    weights = np.linspace(0.5, 2, 30)
    assert network.cost(x, LABELS, weights) == network.cost(X, LABELS, weights)
    given, expected = (network.backprop(rows, LABELS, weights) for rows in (x, X))
    np.testing.assert_array_equal(
        *(network.backend.to_numpy(result.gradient) for result in (given, expected))
    )
    for mine, other in zip(given.deltas, expected.deltas, strict=True):
        assert cuda_backend.owns(mine)
        np.testing.assert_array_equal(to_numpy(mine), other)
    assert isinstance(given.a[0], MadeOnDevice)
    assert cuda_backend.owns(given.a[0].data)
    assert (given.a[0].get() != expected.a[0]).nnz == 0


@pytest.mark.parametrize("options", [{}, {"accumulate": 3, "shuffle": False}], ids=str)
def test_training_is_that_on_scipys_matrix(cuda_backend: Backend, options: dict[str, Any]) -> None:
    histories, parameters = [], []
    for convert in (lambda matrix: matrix, lambda matrix: OnDevice(matrix, cuda_backend)):
        network = network_for(cuda_backend)
        trainer = Trainer(network, "adam", batch_size=8, seed=5, **options)
        validation = convert(X[:9]), LABELS[:9]
        history = trainer.fit(convert(X), LABELS, epochs=2, validation_data=validation)
        trainer.step(convert(X[:7]), LABELS[:7])
        histories.append((history.cost, history.validation_cost, trainer.step_cost))
        parameters.append(cuda_backend.to_numpy(network.parameters))
    assert histories[0] == histories[1]
    np.testing.assert_array_equal(*parameters)


def test_a_csr_matrix_is_not_copied_to_the_host(
    cuda_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, matrix = network_for(cuda_backend), sparse(300, 12, density=0.5)
    x, labels, brought = OnDevice(matrix, cuda_backend), np.zeros(300, int), cuda_backend.to_numpy

    def to_numpy(array: Any) -> Any:
        assert array.size < len(labels), "X was copied to the host"
        return brought(array)

    monkeypatch.setattr(cuda_backend, "to_numpy", to_numpy)
    network.predict(x)
    network.cost(x, labels)
    network.forward(x)
    network.backprop(x, labels)
    trainer = Trainer(network, "sgd", batch_size=100)
    trainer.fit(x, labels, epochs=1, validation_data=(x, labels))
    trainer.step(x, labels)
    assert not x.copies


@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "float16"])
def test_values_are_rounded_as_those_of_scipys_matrix(
    cuda_backend: Backend, precision: str
) -> None:
    network = network_for(cuda_backend, "float32", precision=precision)
    given, expected = network.forward(OnDevice(X, cuda_backend)), network.forward(X)
    np.testing.assert_array_equal(given.a[0].get().toarray(), expected.a[0].toarray())
    np.testing.assert_array_equal(cuda_backend.to_numpy(given.z[0]), expected.z[0])


def of_float16(matrix: Any) -> Any:
    matrix.data = matrix.data.astype(np.float16)
    return matrix


UNUSUAL: dict[str, Any] = {
    "CSC": X.tocsc(),
    "COO": X.tocoo(),
    "unsorted": scipy.sparse.csr_array((X.data, X.indices[::-1], X.indptr), shape=X.shape),
    "numbers for one place": scipy.sparse.csr_array(
        ([1.0, 2, 4, 8], [7, 7, 2, 0], [0, 3, 4]), shape=(2, 12)
    ),
    "COO with numbers for one place": scipy.sparse.coo_matrix(
        ([1.0, 2, 4], ([0, 0, 1], [7, 7, 2])), shape=(2, 12)
    ),
    "bool": X.astype(bool),
    "float32": X.astype(np.float32),
    "float16": of_float16(X.copy()),
    "no numbers": scipy.sparse.csr_array((4, 12)),
    "more memory than numbers": scipy.sparse.csr_array(
        (np.ones(9), np.zeros(9, np.int64), [0, 1]), shape=(1, 12)
    ),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_scipy_takes_is_taken(cuda_backend: Backend, name: str) -> None:
    network, matrix = network_for(cuda_backend), UNUSUAL[name]
    outputs = network.predict(OnDevice(matrix, cuda_backend))
    assert cuda_backend.owns(outputs)
    np.testing.assert_array_equal(cuda_backend.to_numpy(outputs), network.predict(matrix))


ON_DEVICES = [
    name
    for name, (matrix, _) in DAMAGED.items()
    if matrix.format == "csr" and matrix.data.dtype != object  # CuPy has no objects
]


@pytest.mark.parametrize("name", ON_DEVICES)
def test_a_damaged_matrix_is_refused_as_one_of_scipy(cuda_backend: Backend, name: str) -> None:
    matrix, message = DAMAGED[name]
    network = Network((3, 2), backend=cuda_backend, seed=0)
    given = OnDevice(matrix, cuda_backend)
    errors = []
    for x in (matrix, given):
        with pytest.raises(ValueError, match=r"^x ") as raised:
            network.predict(x)
        errors.append(str(raised.value))
    assert errors[0] == errors[1]
    assert message in errors[0]
    before = cuda_backend.to_numpy(network.parameters)
    with pytest.raises(ValueError, match=r"^x "):
        Trainer(network).fit(given, np.zeros((8, 2)), epochs=1)
    np.testing.assert_array_equal(cuda_backend.to_numpy(network.parameters), before)


@pytest.mark.parametrize("shape", [(5, 11), (0, 12)])
def test_wrong_shapes_are_told_as_for_scipys_matrix(
    cuda_backend: Backend, shape: tuple[int, int]
) -> None:
    network, matrix = network_for(cuda_backend), scipy.sparse.csr_array(shape)
    errors = []
    for x in (matrix, OnDevice(matrix, cuda_backend)):
        with pytest.raises(ValueError, match=r"^x has ") as raised:
            network.predict(x)
        errors.append(str(raised.value))
    assert errors[0] == errors[1]
