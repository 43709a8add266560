"""coefs_ and intercepts_ can be assigned, as a whole, by item and in place."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from small_data import examples, not_converged, quick

pytest.importorskip("sklearn", minversion="1.7")

from sklearn.neural_network import MLPClassifier as TheirClassifier

from gpubp import MLPClassifier
from gpubp.backends import Backend

X, Y = examples()
SIZES = (6, 10, 3)


def weights(seed: int = 5) -> tuple[list[Any], list[Any]]:
    rng = np.random.default_rng(seed)
    pairs = list(pairwise(SIZES))
    return [rng.normal(size=pair) for pair in pairs], [rng.normal(size=n) for _, n in pairs]


def assign_wholly(model: Any, coefs: list[Any], intercepts: list[Any]) -> None:
    model.coefs_, model.intercepts_ = coefs, intercepts


def assign_items(model: Any, coefs: list[Any], intercepts: list[Any]) -> None:
    for layer in range(2):
        model.coefs_[layer] = coefs[layer]
        model.intercepts_[layer - 2] = intercepts[layer]


def assign_slices(model: Any, coefs: list[Any], intercepts: list[Any]) -> None:
    model.coefs_[:] = coefs
    model.intercepts_[::-1] = intercepts[::-1]


def assign_in_place(model: Any, coefs: list[Any], intercepts: list[Any]) -> None:
    for layer in range(2):
        model.coefs_[layer][...] = coefs[layer]
        model.intercepts_[layer] *= 0
        model.intercepts_[layer] += intercepts[layer]


@not_converged
@pytest.mark.parametrize("assign", [assign_wholly, assign_items, assign_slices, assign_in_place])
def test_assigned_weights_predict_as_in_scikit_learn(assign: Any) -> None:
    ours = quick(dtype="float64").fit(X, Y)
    theirs = TheirClassifier((10,), max_iter=5).fit(X, Y)
    for model in (ours, theirs):
        assign(model, *weights())
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-13)
    assert np.shares_memory(ours.coefs_[1], ours.network_.parameters)


@not_converged
def test_assigned_weights_are_on_the_networks_device(backend: Backend) -> None:
    model = MLPClassifier((10,), backend=backend, max_iter=2, random_state=0).fit(X, Y)
    coefs, intercepts = weights()
    model.coefs_, model.intercepts_[1] = coefs, intercepts[1]
    for layer, expected in zip(model.network_.layers, coefs, strict=True):
        np.testing.assert_allclose(backend.to_numpy(layer.weights).T, expected, rtol=1e-6)
    np.testing.assert_allclose(backend.to_numpy(model.intercepts_[1]), intercepts[1], rtol=1e-6)


@not_converged
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, copy.copy, lambda v: pickle.loads(pickle.dumps(v))]
)
def test_a_copy_of_the_weights_brings_them_back(copied: Any) -> None:
    model = quick().fit(X, Y)
    kept, predicted = copied(model.coefs_), model.predict_proba(X)
    if copied is copy.copy:
        kept = [array.copy() for array in kept]
    assert type(kept) is list
    model.partial_fit(X, Y)
    assert not np.array_equal(kept[0], model.coefs_[0])
    biases = copy.deepcopy(model.intercepts_)
    twin = quick().fit(X, Y)
    twin.coefs_ = kept
    np.testing.assert_array_equal(twin.predict_proba(X), predicted)
    twin.intercepts_ = biases
    np.testing.assert_array_equal(twin.intercepts_[0], model.intercepts_[0])


@pytest.mark.parametrize("begin", ["partial_fit", "warm_start"])
def test_weights_assigned_before_the_first_fit_are_the_initial_ones(begin: str) -> None:
    coefs, intercepts = weights()
    model = quick(solver="sgd", learning_rate_init=1e-12, dtype="float64", tol=10, max_iter=20)
    assert not hasattr(model, "coefs_")
    model.coefs_, model.intercepts_ = [0, 0], intercepts
    model.coefs_[0], model.coefs_[1] = coefs
    if begin == "partial_fit":
        model.partial_fit(X, Y, classes=[0, 1, 2])
    else:
        model.set_params(warm_start=True).fit(X, Y)
    for ours, given in zip(model.coefs_ + model.intercepts_, coefs + intercepts, strict=True):
        np.testing.assert_allclose(ours, given, atol=1e-8)


@not_converged
def test_a_plain_fit_draws_weights_whatever_was_assigned() -> None:
    model = quick()
    model.coefs_ = weights()[0]
    np.testing.assert_array_equal(model.fit(X, Y).coefs_[0], quick().fit(X, Y).coefs_[0])


@not_converged
@pytest.mark.parametrize(
    ("assign", "error", "told"),
    [
        (lambda m: m.coefs_.__setitem__(0, np.ones((10, 6))), ValueError,
         r"coefs_\[0\] is given shape \(10, 6\), expected shape \(6, 10\)"),
        (lambda m: m.intercepts_.__setitem__(-1, [0, np.nan, 0]), ValueError,
         r"intercepts_\[1\] holds nan at \[1\], expected finite numbers"),
        (lambda m: setattr(m, "coefs_", [m.coefs_[0] + 1, np.ones(3)]), ValueError,
         r"coefs_\[1\] is given shape \(3,\), expected shape \(10, 3\)"),
        (lambda m: m.intercepts_.__setitem__(slice(None), [np.ones(10), 0]), ValueError,
         r"intercepts_\[1\] is given shape \(\), expected shape \(3,\)"),
        (lambda m: setattr(m, "coefs_", weights()[0][:1]), ValueError,
         "coefs_ is given 1 arrays, expected 2, one for each layer"),
        (lambda m: setattr(m, "intercepts_", 5), TypeError,
         "intercepts_ is 5, expected a list of arrays, one for each layer"),
        (lambda m: m.coefs_.__setitem__(2, weights()[0][0]), IndexError, "out of range"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_and_changes_nothing(assign: Any, error: Any, told: str) -> None:
    model = quick().fit(X, Y)
    before = model.network_.parameters.copy()
    with pytest.raises(error, match=told):
        assign(model)
    np.testing.assert_array_equal(model.network_.parameters, before)


def test_weights_of_another_shape_are_told_by_the_first_fit() -> None:
    model = quick()
    model.coefs_ = [np.ones((6, 4)), np.ones((4, 3))]
    with pytest.raises(
        ValueError, match=r"coefs_\[0\] is given shape \(6, 4\), expected shape \(6, 1"
    ):
        model.partial_fit(X, Y, classes=[0, 1, 2])
    assert not hasattr(model, "network_")
