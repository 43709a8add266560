"""Pickles and skops files of fitted estimators: plain values, and nothing but classes of gpubp to trust."""

from __future__ import annotations

import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpubp

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
skops = pytest.importorskip("skops.io", reason="skops is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

NETWORK = "gpubp.network.network.Network"
X = np.random.default_rng(0).normal(size=(60, 4))
NAMES = np.array(["blue", "green", "red"])[np.digitize(X[:, 0], [-0.5, 0.5])]
MODELS: dict[str, tuple[Any, Any]] = {
    "adam": ({}, NAMES),
    "strings of objects": ({"class_weight": {"red": 2.0}}, NAMES.astype(object)),
    "momentum": ({"solver": "sgd", "learning_rate": "adaptive", "dropout": 0.2}, NAMES),
    "without momentum": ({"solver": "sgd", "momentum": 0.0}, NAMES),
    "lion": ({"solver": "lion", "alpha": 0.0, "weight_decay": 0.1}, X[:, 0] > 0),
    "lbfgs": ({"solver": "lbfgs"}, NAMES),
    "labels": ({"early_stopping": True}, (X[:, :2] > 0).astype(int)),
    "schedule": ({"learning_rate": "cosine", "label_smoothing": 0.1}, NAMES),
    "numbers": ({"loss": "huber"}, X[:, :2]),
    "float64": ({"dtype": "float64", "activation": ["tanh", "silu"]}, X[:, 0]),
}


def fitted(name: str) -> Any:
    parameters, y = MODELS[name]
    kind = gpubp.MLPRegressor if y.dtype == np.float64 else gpubp.MLPClassifier
    settings = {"hidden_layer_sizes": (6, 5), "max_iter": 4, "random_state": 0} | parameters
    return kind(backend="numpy", **settings).fit(X, y)


def through_pickle(model: Any) -> Any:
    return pickle.loads(pickle.dumps(model))


def through_skops(model: Any) -> Any:
    data = skops.dumps(model)
    own = f"{type(model).__module__}.{type(model).__qualname__}"
    assert sorted(skops.get_untrusted_types(data=data)) == sorted([own, NETWORK])
    return skops.loads(data, trusted=[own, NETWORK])


@pytest.mark.parametrize("copied", [through_skops, through_pickle])
@pytest.mark.parametrize("name", MODELS)
def test_an_estimator_is_as_it_was(name: str, copied: Any) -> None:
    y, model = MODELS[name][1], fitted(name)
    twin = copied(model)
    np.testing.assert_array_equal(twin.predict(X), model.predict(X))
    assert repr(twin) == repr(model)
    assert twin.history_ == model.history_ and twin._record == model._record
    assert vars(twin).keys() == vars(model).keys()
    assert twin._network_settings == model._network_settings
    if name not in ("lbfgs", "schedule", "labels"):
        for _ in range(2):
            twin.partial_fit(X, y)
            model.partial_fit(X, y)
        np.testing.assert_array_equal(twin.network_.parameters, model.network_.parameters)
        assert twin._optimizer.learning_rate == model._optimizer.learning_rate
    for each in (model, twin):
        each.set_params(warm_start=True, random_state=1).fit(X, y)
    np.testing.assert_array_equal(twin.network_.parameters, model.network_.parameters)


def test_a_pickle_has_only_plain_values_and_the_network() -> None:
    named = {
        argument
        for _, argument, _ in pickletools.genops(pickle.dumps(fitted("adam")))
        if isinstance(argument, str) and argument.startswith("gpubp")
    }
    assert named == {"gpubp.estimators.classifier", "gpubp.network.network"}


def test_a_pipeline_in_a_skops_file(tmp_path: Path) -> None:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), gpubp.MLPClassifier((5,), max_iter=3)).fit(X, NAMES)
    skops.dump(pipeline, tmp_path / "pipeline.skops")
    trusted = [NETWORK, "gpubp.estimators.classifier.MLPClassifier"]
    loaded = skops.load(tmp_path / "pipeline.skops", trusted=trusted)
    np.testing.assert_array_equal(loaded.predict_proba(X), pipeline.predict_proba(X))


def test_an_estimator_that_is_not_fitted() -> None:
    model = gpubp.MLPClassifier((5,))
    twin = skops.loads(skops.dumps(model), trusted=["gpubp.estimators.classifier.MLPClassifier"])
    assert twin.get_params() == model.get_params()
