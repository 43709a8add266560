"""Estimators fitted to arrays on a device."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from small_data import examples, not_converged, quick, targets
from sparse_matrices import OnDevice, sparse

pytest.importorskip("sklearn", minversion="1.7")

import scipy.sparse
from sklearn.base import clone

from gpubp import MLPRegressor
from gpubp.backends import Backend, backend_of


@not_converged
@pytest.mark.parametrize(
    "parameters", [{}, {"early_stopping": True}, {"solver": "lbfgs", "max_iter": 3}]
)
def test_device_arrays_stay_on_their_device(
    cuda_backend: Backend, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any]
) -> None:
    x, y = examples()
    x = x.astype(np.float32)
    expected = quick(backend="numpy", **parameters).fit(x, y)
    given, brought = cuda_backend.asarray(x), cuda_backend.to_numpy

    def to_numpy(array: Any) -> Any:
        assert array.ndim < 2 or array.shape[1] != x.shape[1], "X was copied to the host"
        return brought(array)

    monkeypatch.setattr(cuda_backend, "to_numpy", to_numpy)
    model = quick(backend="cupy", **parameters).fit(given, cuda_backend.asarray(y))
    assert model.network_.backend is cuda_backend
    for method in ("predict", "predict_proba", "predict_log_proba"):
        result = getattr(model, method)(given)
        assert backend_of(result) is cuda_backend
        np.testing.assert_allclose(
            brought(result), getattr(expected, method)(x), rtol=2e-3, atol=2e-4
        )
    assert model.score(given, cuda_backend.asarray(y)) == expected.score(x, y)
    with pytest.raises(ValueError, match="X has 5 columns, expected 6"):
        model.predict(given[:, :5])


@not_converged
def test_regression_on_a_device(cuda_backend: Backend) -> None:
    x, y = (v.astype(np.float32) for v in targets(2))
    expected = MLPRegressor(hidden_layer_sizes=8, random_state=0, max_iter=4, backend="numpy").fit(
        x, y
    )
    model = MLPRegressor(hidden_layer_sizes=8, random_state=0, max_iter=4, backend="cupy")
    model.fit(cuda_backend.asarray(x), cuda_backend.asarray(y))
    result = model.predict(cuda_backend.asarray(x))
    assert backend_of(result) is cuda_backend
    np.testing.assert_allclose(cuda_backend.to_numpy(result), expected.predict(x), atol=1e-4)
    host = pickle.loads(pickle.dumps(model)).predict(x)
    np.testing.assert_allclose(host, expected.predict(x), atol=1e-4)


@not_converged
def test_an_array_on_a_device_has_no_names_of_columns(cuda_backend: Backend) -> None:
    pandas = pytest.importorskip("pandas")
    x, y = examples()
    model = quick(backend="cupy").fit(pandas.DataFrame(x, columns=list("abcdef")), y)
    assert list(model.feature_names_in_) == list("abcdef")
    model.fit(cuda_backend.asarray(x), y)
    assert not hasattr(model, "feature_names_in_")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            lambda m, x, y: m.fit(x[0], y[:1]),
            r"Expected 2D array, got 1D array instead: X has shape",
        ),
        (lambda m, x, y: m.predict(x[0]), r"Expected 2D array, got 1D array instead: X has shape"),
        (lambda m, x, y: m.fit(x, y[:9]), r"inconsistent numbers of samples: \[120, 9\]"),
        (lambda m, x, y: m.fit(x, y, X_val=x, y_val=y[:9]), r"inconsistent.*: \[120, 9\]"),
        (lambda m, x, y: m.backprop(x, y[:9]), r"inconsistent numbers of samples: \[120, 9\]"),
    ],
)
@not_converged
def test_arrays_on_a_device_have_the_shapes_that_scikit_learn_asks_for(
    cuda_backend: Backend, call: Any, told: str
) -> None:
    x, y = (cuda_backend.asarray(values) for values in examples())
    model = quick(backend="cupy", early_stopping=True).fit(x, y, X_val=x, y_val=y)
    before = model.predict_proba(x)
    with pytest.raises(ValueError, match=told):
        call(model, x, y)
    np.testing.assert_array_equal(
        *(cuda_backend.to_numpy(found) for found in (model.predict_proba(x), before))
    )


SPARSE = sparse(120, 6, density=0.5).astype(np.float32)


@not_converged
@pytest.mark.usefixtures("cupyx_sparse")
@pytest.mark.parametrize(
    "parameters",
    [{}, {"early_stopping": True}, {"solver": "lbfgs", "max_iter": 3}, {"hidden_layer_sizes": ()}],
    ids=str,
)
@pytest.mark.parametrize("backend", ["numpy", "cupy"])
def test_sparse_matrices_on_a_device_count_as_those_of_scipy(
    cuda_backend: Backend, backend: str, parameters: dict[str, Any]
) -> None:
    y, expected, on_device = examples()[1], SPARSE, OnDevice(SPARSE, cuda_backend)
    made = quick(backend=backend).set_params(**parameters)
    model = clone(made).fit(on_device, cuda_backend.asarray(y))
    like = made.fit(expected, y)
    for method in ("predict", "predict_proba", "predict_log_proba", "predict_z", "transform"):
        result = getattr(model, method)(on_device)
        assert backend_of(result) is cuda_backend
        np.testing.assert_allclose(
            cuda_backend.to_numpy(result), getattr(like, method)(expected), rtol=1e-5, atol=1e-6
        )
    assert model.score(on_device, y) == like.score(expected, y)
    np.testing.assert_allclose(
        model.backprop(on_device, y).cost, like.backprop(expected, y).cost, rtol=1e-5
    )


@not_converged
@pytest.mark.usefixtures("cupyx_sparse")
@pytest.mark.parametrize("parameters", [{}, {"early_stopping": True}], ids=str)
def test_a_csr_matrix_on_the_networks_device_is_not_copied_to_the_host(
    cuda_backend: Backend, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any]
) -> None:
    x, y, brought = OnDevice(SPARSE, cuda_backend), examples()[1], cuda_backend.to_numpy
    sizes = SPARSE.nnz, 121, 109, 13  # the values; where rows start, with and without held-out rows

    def to_numpy(array: Any) -> Any:
        assert array.size not in sizes, "X was copied to the host"
        return brought(array)

    monkeypatch.setattr(cuda_backend, "to_numpy", to_numpy)
    model = quick(backend="cupy", **parameters).fit(x, y, sample_weight=np.ones(120))
    model.partial_fit(x, y, **({"X_val": x, "y_val": y} if parameters else {}))
    model.score(x, y)
    for method in ("predict_proba", "predict_log_proba", "predict_z", "transform"):
        getattr(model, method)(x)
    model.backprop(x, y)
    assert not x.copies


@not_converged
@pytest.mark.parametrize("form", ["csc", "coo"])
def test_other_formats_and_sparse_labels_on_a_device_are_taken(
    cuda_backend: Backend, form: str
) -> None:
    x, labels = SPARSE.asformat(form), scipy.sparse.csr_array(np.eye(3, dtype=int)[examples()[1]])
    like = quick(backend="cupy").fit(x, labels)
    model = quick(backend="cupy").fit(OnDevice(x, cuda_backend), OnDevice(labels, cuda_backend))
    given = model.predict_proba(OnDevice(x, cuda_backend))
    assert cuda_backend.owns(given)
    np.testing.assert_array_equal(cuda_backend.to_numpy(given), like.predict_proba(x))
    of_host = quick(backend="cupy").fit(x, OnDevice(labels, cuda_backend))
    np.testing.assert_array_equal(of_host.predict_proba(x), like.predict_proba(x))
    assert model.score(OnDevice(x, cuda_backend), OnDevice(labels, cuda_backend)) == like.score(
        x, labels
    )


@not_converged
def test_a_sparse_matrix_on_a_device_that_is_wrong_is_refused(cuda_backend: Backend) -> None:
    y, model = examples()[1], quick(backend="cupy").fit(SPARSE, examples()[1])
    before, damaged = model.predict_proba(SPARSE), SPARSE.copy()
    damaged.data[3] = np.nan
    row, column = (int(places[3]) for places in damaged.nonzero())
    told = rf"^X holds nan at \[{row}, {column}\], expected finite numbers$"
    for call in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=told):
            call(OnDevice(damaged, cuda_backend), y)
    with pytest.raises(ValueError, match=told):
        model.predict(OnDevice(damaged, cuda_backend))
    with pytest.raises(ValueError, match="X has 5 columns, expected 6"):
        model.predict(OnDevice(SPARSE[:, :5], cuda_backend))
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[120, 9\]"):
        model.fit(OnDevice(SPARSE, cuda_backend), y[:9])
    np.testing.assert_array_equal(model.predict_proba(SPARSE), before)
