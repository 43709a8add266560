"""Arrays: the backend that each belongs to, and moves between backends."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from gpubp import get_backend
from gpubp.arrays import dense, home_of, is_on_host, move, take, to_host
from gpubp.backends import Backend, backend_of

NOT_ARRAYS: list[Any] = [None, 3.0, [1.0, 2.0], (1, 2), "text", np.float32(3)]


class NumpysOwn(np.ndarray[Any, Any]):
    pass


def test_an_array_belongs_to_its_backend(backend: Backend) -> None:
    assert backend_of(backend.asarray(np.ones(3))) is backend
    assert home_of(backend.asarray(np.ones(3))) is backend


def test_an_array_of_a_class_derived_from_numpys_is_numpys() -> None:
    assert backend_of(np.ones(3).view(NumpysOwn)) is get_backend("numpy")


@pytest.mark.parametrize("values", NOT_ARRAYS, ids=repr)
def test_what_is_no_array_has_no_backend_and_is_at_home_with_numpy(values: Any) -> None:
    assert backend_of(values) is None
    assert home_of(values) is get_backend("numpy")
    assert is_on_host(values)
    assert to_host(values) is values


def test_to_find_an_arrays_backend_does_not_import_cupy() -> None:
    script = (
        "import sys; import numpy as np; from gpubp.backends import backend_of;"
        "print(backend_of(np.ones(3)).name, backend_of([1.0]), 'cupy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["numpy", "None", "False"]


def test_an_array_that_is_there_is_not_copied(backend: Backend) -> None:
    array = backend.asarray(np.ones((3, 2)))
    assert move(array, backend) is array


def test_an_array_that_is_moved_is_dense_and_the_same(
    backend: Backend, cuda_backend: Backend
) -> None:
    values = np.arange(12.0).reshape(3, 4)
    for source in (values, values[:, ::2], values.tolist()):
        for target in (backend, cuda_backend):
            moved = move(source, target)
            assert target.owns(moved)
            assert moved.flags.c_contiguous
            np.testing.assert_array_equal(to_host(moved), source)
            np.testing.assert_array_equal(to_host(move(moved, get_backend("numpy"))), source)


def test_rows_are_taken_where_the_array_lies(backend: Backend) -> None:
    values = np.arange(12.0).reshape(6, 2)
    taken = take(backend.asarray(values), np.array([4, 0, 4]))
    assert backend.owns(taken)
    np.testing.assert_array_equal(to_host(taken), values[[4, 0, 4]])


def test_rows_of_a_sparse_matrix_are_taken_and_made_dense() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    values = np.diag(np.arange(1.0, 5.0))
    taken = take(sparse.csr_matrix(values), np.array([3, 1]))
    np.testing.assert_array_equal(dense(taken), values[[3, 1]])
    assert dense(values) is values
