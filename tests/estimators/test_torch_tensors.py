"""PyTorch's tensors in the estimators, with and without scikit-learn's dispatch on arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from small_data import examples, not_converged, quick, targets

pytest.importorskip("sklearn", minversion="1.7")
pytest.importorskip("torch", reason="torch is not installed")

import sklearn
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gpubp import MLPRegressor

pytestmark = not_converged

X, Y = examples(rows=60)
YR = targets(columns=1, rows=60)[1]
WEIGHTS = np.linspace(0.5, 2, 60)
MODEL = quick(max_iter=2, backend="numpy")
REGRESSOR = MLPRegressor(
    hidden_layer_sizes=(10,), random_state=0, max_iter=2, batch_size=30, backend="numpy"
)
TASKS = {"classifier": (MODEL, Y), "regressor": (REGRESSOR, YR)}
METHODS = ("predict", "predict_z", "transform", "predict_proba", "predict_log_proba")


@pytest.fixture(params=[False, True], ids=["without dispatch", "with dispatch"])
def dispatch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    with sklearn.config_context(array_api_dispatch=request.param):
        yield request.param


def tensor(values: Any) -> Any:
    return torch.from_numpy(np.array(values))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.bool_])
@pytest.mark.parametrize("task", TASKS)
def test_tensors_count_as_numpys_arrays(task: str, dtype: Any, dispatch: bool) -> None:
    (made, y), x = TASKS[task], (X * 3).astype(dtype)
    model = clone(made).fit(tensor(x), tensor(y), tensor(WEIGHTS))
    with sklearn.config_context(array_api_dispatch=False):
        like = clone(made).fit(x, y, WEIGHTS)
    for method in METHODS if task == "classifier" else METHODS[:3]:
        result = getattr(model, method)(tensor(x))
        assert type(result) is (torch.Tensor if dispatch else np.ndarray)
        np.testing.assert_array_equal(np.asarray(result), getattr(like, method)(x))
    score = model.score(tensor(x), tensor(y), tensor(WEIGHTS))
    np.testing.assert_allclose(score, like.score(x, y, WEIGHTS), rtol=1e-6)


@pytest.mark.usefixtures("dispatch")
@pytest.mark.parametrize("task", TASKS)
def test_scikit_learns_tools_give_the_numbers_of_numpys_arrays(task: str) -> None:
    made, y = TASKS[task]
    scaled, found = make_pipeline(StandardScaler(), made), []
    grid = {f"{scaled.steps[1][0]}__alpha": [1e-4, 1.0]}
    x = X.astype(np.float32)
    for convert in (np.array, tensor):
        given = convert(x), convert(y.astype(np.float32) if task == "regressor" else y)
        search = GridSearchCV(scaled, grid, cv=2, error_score="raise").fit(*given)
        scores = cross_validate(made, *given, cv=2, error_score="raise")["test_score"]
        predicted = search.predict(given[0])
        assert type(predicted) is type(given[0]) or not sklearn.get_config()["array_api_dispatch"]
        found.append([*search.cv_results_["mean_test_score"], *scores, *np.asarray(predicted)])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba"])
@pytest.mark.parametrize("classes", [2, 3])
def test_predictions_across_folds_are_those_of_numpys_arrays(
    method: str, classes: int, dispatch: bool
) -> None:
    y = Y % classes
    found = cross_val_predict(MODEL, tensor(X), tensor(y), cv=2, method=method)
    assert isinstance(found, torch.Tensor) == dispatch
    with sklearn.config_context(array_api_dispatch=False):
        expected = cross_val_predict(MODEL, X, y, cv=2, method=method)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-6)


def test_classes_are_of_the_library_of_x(dispatch: bool) -> None:
    model = clone(MODEL).set_params(class_weight="balanced", warm_start=True)
    model.fit(tensor(X), tensor(Y)).fit(tensor(X), Y)
    assert type(model.classes_) is (torch.Tensor if dispatch else np.ndarray)
    assert model.classes_.tolist() == [0, 1, 2]
    model = clone(MODEL).partial_fit(tensor(X), tensor(Y), classes=torch.arange(3))
    assert model.partial_fit(tensor(X), tensor(Y)).score(X, Y) == model.score(tensor(X), tensor(Y))


BAD: dict[str, tuple[Any, str]] = {
    "requires a gradient": (
        lambda values: values.requires_grad_(),
        "is a tensor that requires gradients",
    ),
    "bfloat16": (lambda values: values.to(torch.bfloat16), "is a tensor of dtype bfloat16"),
    "complex": (lambda values: values.to(torch.complex64), "has dtype complex64"),
    "sparse COO": (lambda values: values.to_sparse(), "is a sparse tensor"),
    "on no device": (lambda values: values.to("meta"), "is a tensor on the device meta"),
}


@pytest.mark.usefixtures("dispatch")
@pytest.mark.parametrize("name", BAD)
def test_tensors_that_numpy_cannot_read_are_refused_by_name(name: str) -> None:
    convert, told = BAD[name]
    model = clone(REGRESSOR).fit(X, YR)
    before = model.predict(X)
    x, y, weights = (tensor(values) for values in (X, YR, WEIGHTS))
    bad_x, bad_y, bad_weights = (convert(values.clone()) for values in (x, y, weights))
    for call in (model.fit, model.partial_fit, model.score, model.backprop):
        with pytest.raises(ValueError, match=f"^X .*{told}"):
            call(bad_x, y)
        with pytest.raises(ValueError, match=f"^y .*{told}"):
            call(x, bad_y)
        with pytest.raises(ValueError, match=f"^sample_weight .*{told}"):
            call(x, y, bad_weights)
    with pytest.raises(ValueError, match=f"^X .*{told}"):
        model.predict(bad_x)
    np.testing.assert_array_equal(model.predict(X), before)


@pytest.mark.usefixtures("dispatch")
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
@pytest.mark.parametrize("call", ["fit", "predict"])
def test_a_sparse_csr_tensor_is_not_taken_for_one_on_a_gpu(call: str) -> None:
    x, model = tensor(X).to_sparse_csr(), clone(MODEL).fit(X, Y)
    with pytest.raises(ValueError, match=r"^X is a sparse tensor"):
        model.fit(x, Y) if call == "fit" else model.predict(x)


@pytest.mark.usefixtures("dispatch")
def test_tensors_have_the_shapes_that_scikit_learn_asks_for() -> None:
    model = clone(MODEL).fit(tensor(X), tensor(Y))
    for x, told in (
        (tensor(X)[0], "Expected 2D array, got 1D array"),
        (tensor(X)[0, 0], "Expected 2D array, got scalar array"),
        (tensor(X)[:, :, None], "Found array with dim 3"),
        (tensor(X)[:, :5], "X has 5 features, but MLPClassifier is expecting 6"),
        (tensor(X)[:0], "Found array with 0 sample"),
    ):
        with pytest.raises(ValueError, match=told):
            model.predict(x)
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[60, 9\]"):
        model.fit(tensor(X), tensor(Y)[:9])
    with pytest.raises(ValueError, match="Input X contains NaN in column 2"):
        model.fit(torch.where(torch.arange(6) == 2, torch.nan, tensor(X)), tensor(Y))
