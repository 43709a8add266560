"""Estimators on data that can be sliced: fit reads them as a whole, predictions read them in blocks."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from gpubp import MLPClassifier, MLPRegressor
from gpubp.estimators import inspection

ROWS, BLOCK = 90, 20
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 3))
Y = RNG.integers(0, 3, ROWS)
TARGETS = X @ [1.0, -2.0, 0.5]


class Sliceable:
    """A shape, and rows read on request; the largest request is noted."""

    def __init__(self, data: np.ndarray) -> None:
        self._data, self.shape, self.longest = data, data.shape, 0

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = np.array(self._data[index])
        self.longest = max(self.longest, len(rows))
        return rows


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "ROWS_AT_ONCE", BLOCK)
    monkeypatch.setattr(inspection, "CHUNK_ROWS", BLOCK)


@pytest.fixture(params=["sliceable", "h5py", "zarr", "dask"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[np.ndarray, str], Any]:
    if request.param == "sliceable":
        return lambda array, name: Sliceable(array)
    least = "3" if request.param == "zarr" else None
    module = pytest.importorskip(request.param, least, reason=f"needs {request.param}")
    if request.param == "h5py":
        file = module.File(tmp_path / "x.h5", "w")
        request.addfinalizer(file.close)
        return lambda array, name: file.create_dataset(name, data=array, chunks=True)
    if request.param == "zarr":
        return lambda array, name: module.create_array(str(tmp_path / name), data=array)
    import dask.array

    return lambda array, name: dask.array.from_array(array, chunks=17)


OPTIONS = {"hidden_layer_sizes": (5,), "max_iter": 3, "tol": 0.0, "n_iter_no_change": 9}


def fitted(kind: Any, x: Any, y: Any, **options: Any) -> Any:
    with pytest.warns(match="Maximum iterations"):
        return kind(random_state=0, backend="numpy", **OPTIONS | options).fit(x, y)


@pytest.mark.parametrize(("kind", "y"), [(MLPClassifier, Y), (MLPRegressor, TARGETS)])
def test_a_fit_on_stored_data_is_a_fit_on_arrays(
    store: Callable[[np.ndarray, str], Any], kind: Any, y: np.ndarray
) -> None:
    expected = fitted(kind, X, y)
    model = fitted(kind, store(X, "x"), store(y, "y"))
    for given, wanted in zip(model.coefs_, expected.coefs_, strict=True):
        np.testing.assert_array_equal(given, wanted)
    x, y_stored = store(X, "x1"), store(y, "y1")
    methods = ["predict", "predict_z", "transform"]
    methods += ["predict_proba", "predict_log_proba"] if kind is MLPClassifier else []
    for method in methods:
        given = getattr(model, method)(x)
        assert type(given) is np.ndarray
        np.testing.assert_allclose(given, getattr(expected, method)(X), rtol=1e-6, atol=1e-7)
    assert model.score(x, y_stored) == pytest.approx(expected.score(X, y), rel=1e-6)
    if isinstance(x, Sliceable):
        assert x.longest == BLOCK


def test_a_memmap_of_many_rows_is_predicted_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpubp.network.streaming.ROWS_AT_ONCE", BLOCK)
    model = fitted(MLPClassifier, X, Y)
    x = np.memmap(tmp_path / "x", X.dtype, "w+", shape=X.shape)
    x[...] = X
    sizes: list[int] = []
    predict = type(model.network_).predict
    monkeypatch.setattr(
        type(model.network_), "predict", lambda self, x: sizes.append(len(x)) or predict(self, x)
    )
    np.testing.assert_array_equal(model.predict(x), model.predict(X))
    assert sizes == [20, 20, 20, 20, 10, ROWS]


def test_an_error_names_the_row_of_the_whole() -> None:
    model, spoilt = fitted(MLPClassifier, X, Y), X.copy()
    spoilt[77, 2] = np.nan
    for method in ("predict", "predict_proba", "predict_z", "transform"):
        with pytest.raises(
            ValueError, match=r"^X holds nan at \[77, 2\], expected finite numbers$"
        ):
            getattr(model, method)(Sliceable(spoilt))
    text = "X has 2 features, but MLPClassifier is expecting 3 features as input"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
        model.predict(Sliceable(X[:, :2]))
    with pytest.raises(ValueError, match=r"^X has no rows, expected at least one$"):
        model.predict(Sliceable(X[:0]))
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(Sliceable(X))


def test_names_of_features_are_missed_as_scikit_learn_does() -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    model = fitted(MLPRegressor, pandas.DataFrame(X, columns=["a", "b", "c"]), TARGETS)
    with pytest.warns(UserWarning, match="X does not have valid feature names, but MLPRegressor"):
        model.predict(Sliceable(X))


def test_classes_may_be_texts_in_a_file(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", "3", reason="needs zarr 3")
    names = np.array(["red", "green", "blue"])[Y]
    with pytest.warns(match="Maximum iterations") as caught:
        model = MLPClassifier(random_state=0, backend="numpy", **OPTIONS)
        model.fit(zarr.create_array(str(tmp_path / "x"), data=X), names)
    assert caught
    np.testing.assert_array_equal(model.classes_, ["blue", "green", "red"])
