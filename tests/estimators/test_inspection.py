"""What a fitted estimator shows of its network: z, hidden activations, gradients, layers."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn import config_context
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_data import examples, not_converged, quick, targets

from gpubp import Activation, MLPClassifier, MLPRegressor
from gpubp.backends import Backend

X, Y = examples()
ROWS = np.linspace(0.5, 2, 120)


def forward_by_hand(model: Any, x: Any) -> tuple[Any, Any]:
    """a of the last hidden layer and z of the output layer, by scikit-learn's attributes and NumPy."""
    a = x
    for weights, biases in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        a = np.maximum(a @ weights + biases, 0)
    return a, a @ model.coefs_[-1] + model.intercepts_[-1]


@not_converged
@pytest.mark.parametrize("widths", [(7,), (9, 4), ()])
def test_transform_and_predict_z_are_the_last_hidden_a_and_the_output_z(widths: Any) -> None:
    model = quick(dtype="float64", dropout=0.3 if widths else 0.0)
    model.set_params(hidden_layer_sizes=widths).fit(X, Y)
    a, z = forward_by_hand(model, X)
    np.testing.assert_allclose(model.transform(X), a, rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.predict_z(X), z, rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.transform(scipy.sparse.csr_matrix(X)), a, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(model.predict_z(X).argmax(axis=1), model.predict(X))


@not_converged
def test_z_of_one_output_is_a_column() -> None:
    x, y = targets(1)
    model = MLPRegressor(hidden_layer_sizes=5, max_iter=3, random_state=0).fit(x, y)
    np.testing.assert_allclose(model.predict_z(x), model.predict(x)[:, None], rtol=1e-4, atol=1e-5)


@not_converged
def test_results_are_on_the_device_of_x(backend: Backend) -> None:
    model = quick(backend=backend, max_iter=2).fit(X, Y)
    x = backend.asarray(X.astype(np.float32))
    computed = model.backprop(x, Y)
    for result in (model.transform(x), model.predict_z(x), computed.deltas[-1]):
        assert backend.owns(result)
    a, z = forward_by_hand(quick(max_iter=2).fit(X, Y), X)
    np.testing.assert_allclose(backend.to_numpy(model.transform(x)), a, atol=1e-4)
    np.testing.assert_allclose(backend.to_numpy(model.predict_z(x)), z, atol=1e-4)


@not_converged
def test_rows_beyond_a_chunk_are_transformed_too() -> None:
    model = quick(max_iter=1).fit(X, Y)
    x = np.random.default_rng(0).normal(size=(20_000, 6)).astype(np.float32)
    a, z = forward_by_hand(model, x)
    np.testing.assert_allclose(model.transform(x), a, atol=1e-5)
    np.testing.assert_allclose(model.predict_z(x), z, atol=1e-5)


@not_converged
def test_hidden_activations_are_features_for_another_model() -> None:
    model = quick(max_iter=40, learning_rate_init=0.02)
    pipeline = make_pipeline(StandardScaler(), model, LogisticRegression())
    assert pipeline.fit(X, Y).score(X, Y) > 0.95
    assert pipeline[-1].coef_.shape == (3, 10)
    names = [f"mlpclassifier{k}" for k in range(10)]
    assert list(pipeline[:-1].get_feature_names_out()) == names


@not_converged
def test_transform_gives_a_frame_when_asked_to() -> None:
    pandas = pytest.importorskip("pandas")
    frame = quick().set_output(transform="pandas").fit(X, Y).transform(X)
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns)[-1] == "mlpclassifier9"


@not_converged
@pytest.mark.parametrize("weights", [None, ROWS])
@pytest.mark.parametrize("kind", ["classes", "two classes", "labels", "numbers"])
def test_backprop_has_the_gradient_of_the_loss(kind: str, weights: Any) -> None:
    names = np.array(["a", "b", "c"])
    y = {
        "classes": names[Y], "two classes": names[:2][Y // 2], "labels": np.eye(3, dtype=int)[Y],
        "numbers": targets(2)[1],
    }[kind]  # fmt: skip
    settings = {"activation": "tanh", "dtype": "float64", "max_iter": 3, "random_state": 0}
    if kind == "numbers":
        model: Any = MLPRegressor(hidden_layer_sizes=5, **settings)
    else:
        per_class = {"classes": {"b": 3.0}, "two classes": {"a": 2}, "labels": [{1: 2}, {}, {}]}
        model = MLPClassifier((5,), class_weight=per_class[kind], **settings)
    model.fit(X, y)
    computed = model.backprop(X, y, weights)
    theta, step = model.network_.parameters, 1e-6
    for k in np.random.default_rng(0).choice(theta.size, 12, replace=False):
        held = theta[k]
        theta[k] = held + step
        above = model.backprop(X, y, weights).cost
        theta[k] = held - step
        below = model.backprop(X, y, weights).cost
        theta[k] = held
        assert computed.gradient[k] == pytest.approx((above - below) / (2 * step), abs=1e-8)
    assert computed.weight_gradients[0].T.shape == model.coefs_[0].shape
    assert [z.shape[1] for z in computed.z] == [5, model.n_outputs_]


@not_converged
def test_the_loss_of_backprop_is_scikit_learns_log_loss_with_class_weights() -> None:
    from sklearn.metrics import log_loss

    model = quick(class_weight="balanced", dtype="float64").fit(X, Y)
    weights = ROWS * (120 / (3 * np.bincount(Y)))[Y]
    expected = log_loss(Y, model.predict_proba(X), sample_weight=weights)
    assert model.backprop(X, Y, ROWS).cost == pytest.approx(expected)
    few = [0, 1, 2]  # the weights are those of the fit, not of these rows
    expected = log_loss(
        Y[few], model.predict_proba(X)[few], sample_weight=(weights / ROWS)[few], labels=[0, 1, 2]
    )
    assert model.backprop(X[few], Y[few]).cost == pytest.approx(expected)


@pytest.mark.parametrize("method", ["predict_z", "transform", "get_feature_names_out"])
def test_an_estimator_that_is_not_fitted_says_so(method: str) -> None:
    with pytest.raises(NotFittedError):
        getattr(quick(), method)(X)
    with pytest.raises(NotFittedError):
        quick().backprop(X, Y)


@not_converged
def test_backprop_tells_what_does_not_fit_the_last_fit() -> None:
    model = quick().fit(X, Y)
    with pytest.raises(ValueError, match="X has 4 features"):
        model.backprop(X[:, :4], Y)
    with pytest.raises(ValueError, match="`y` has classes not in"):
        model.backprop(X, Y + 9)
    with pytest.raises(ValueError, match="sample_weight"):
        model.backprop(X, Y, ROWS[:3])
    labels = np.eye(3, dtype=int)[Y]
    with pytest.raises(ValueError, match="y has 2 columns, expected 3"):
        quick().fit(X, labels).backprop(X, labels[:, :2])


class Tables(HTMLParser):
    """Collects the rows of the tables with this class's name around them."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._inside = self._cell = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._inside = self._inside or ("class", "gpubp-layers") in attrs
        self._cell = self._inside and tag in ("td", "th")
        if self._inside and tag == "tr":
            self.rows.append([])
        if self._cell:
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in ("td", "th")
        self._inside = self._inside and tag != "details"


@not_converged
def test_notebooks_show_the_layers_of_a_fitted_estimator() -> None:
    model = MLPClassifier((2000, 4), max_iter=1, dropout=0.25, activation="tanh")
    assert "gpubp-layers" not in model._repr_html_()
    parser = Tables()
    html = model.fit(X, Y)._repr_html_()
    parser.feed(html)
    assert "3 layers, 22,019 parameters, float32, numpy, loss cross_entropy" in " ".join(
        html.split()
    )
    assert parser.rows == [
        ["layer", "width", "activation", "weights", "biases", "dropout", "parameters"],
        ["input", "6", "", "", "", "", ""],
        ["hidden 1", "2,000", "tanh", "2,000 x 6", "2,000", "0.25", "14,000"],
        ["hidden 2", "4", "tanh", "4 x 2,000", "4", "0.25", "8,004"],
        ["output", "3", "softmax", "3 x 4", "3", "", "15"],
    ]
    assert model._repr_mimebundle_()["text/html"].count(
        "gpubp-layers"
    ) == model._repr_html_().count("gpubp-layers")
    own = Activation.from_functions("<b>", lambda xp, z: z, lambda xp, z: 1 + 0 * z)
    assert "<td>&lt;b&gt;</td>" in model.set_params(activation=own).fit(X, Y)._repr_html_()
    with config_context(display="text"):
        assert not hasattr(model, "_repr_html_")
