"""Data that a network refuses, by the text of the error."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from samples import with_value
from sparse_matrices import DAMAGED

from gpubp import Network, Trainer, check_gradients
from gpubp.backends import Backend

X = np.ones((4, 3))
LABELS = np.array([0, 1, 2, 1])


@pytest.fixture
def regressor(backend: Backend) -> Network:
    return Network((3, 4, 2), backend=backend, seed=0)


@pytest.fixture
def classifier(backend: Backend) -> Network:
    return Network((3, 4, 3), output="softmax", backend=backend, seed=0)


MASKED = "is a masked array, expected a number everywhere, as its .filled(value) has"
SPARSE = "is sparse, expected a dense array, as its .toarray() gives"


X_ERRORS: dict[str, tuple[Any, str]] = {
    "wrong width": (np.ones((4, 5)), "x has 5 columns, expected 3, the width of the input layer"),
    "wrong example": (np.ones(5), "x has shape (5,), expected (rows, 3) or one example (3,)"),
    "three axes": (np.ones((2, 2, 3)), "x has shape (2, 2, 3), expected (rows, 3) or one exam"),
    "a number": (3.0, "x has shape (), expected (rows, 3) or one example (3,)"),
    "no rows": (np.ones((0, 3)), "x has no rows, expected at least one"),
    "nan": (with_value(X, (2, 1), np.nan), "x holds nan at [2, 1], expected finite numbers"),
    "inf": (with_value(X, (3, 0), np.inf), "x holds inf at [3, 0], expected finite numbers"),
    "-inf": (with_value(X, (0, 2), -np.inf), "x holds -inf at [0, 2], expected finite numbers"),
    "strings": ([["a", "b", "c"]], "x has dtype <U1, expected real numbers"),
    "objects": (np.array([[1, None, 2]]), "x has dtype object, expected real numbers"),
    "complex": (np.ones((4, 3), complex), "x has dtype complex128, expected real numbers"),
    "ragged": (
        [[1, 2], [1]],
        "x cannot be converted (ValueError: setting an array element with a sequence.",
    ),
    "None": (None, "x is None, expected an array of real numbers"),
    "masked": (np.ma.masked_invalid(with_value(X, (2, 1), np.nan)), f"x {MASKED}"),
    "wide csr": (scipy.sparse.csr_matrix(np.ones((4, 5))), "x has 5 columns, expected 3, the w"),
    "csr without rows": (scipy.sparse.csr_array((0, 3)), "x has no rows, expected at least one"),
    **{kind: (matrix, f"x {message}") for kind, (matrix, message) in DAMAGED.items()},
}


@pytest.mark.parametrize("kind", X_ERRORS)
def test_x_that_is_no_input(regressor: Network, kind: str) -> None:
    x, message = X_ERRORS[kind]
    calls: list[Callable[[], Any]] = [
        lambda: regressor.predict(x),
        lambda: regressor.forward(x),
        lambda: regressor.backprop(x, np.ones((4, 2))),
        lambda: regressor.cost(x, np.ones((4, 2))),
        lambda: Trainer(regressor).fit(x, np.ones((4, 2)), epochs=1),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=re.escape(message)):
            call()


Y_ERRORS: dict[str, tuple[Any, str]] = {
    "rows": (np.ones((3, 2)), "y has 3 rows, expected 4, as x has"),
    "columns": (np.ones((4, 3)), "y has 3 columns, expected shape (4, 2)"),
    "labels": (
        [0, 1, 0, 1],
        "y has shape (4,), as labels have, expected shape (4, 2) for cost 'quadratic';"
        " one-hot encode it, or take cost 'cross_entropy'",
    ),
    "nan": (with_value(X[:, :2], (1, 1), np.nan), "y holds nan at [1, 1], expected finite"),
    "inf": (with_value(X[:, :2], (3, 0), np.inf), "y holds inf at [3, 0], expected finite"),
    "None": (None, "y is None, expected an array of real numbers"),
    "strings": (["a"] * 4, "y has dtype <U1, expected real numbers"),
    "three axes": (np.ones((4, 2, 1)), "y has shape (4, 2, 1), expected shape (4, 2)"),
    "masked": (np.ma.masked_array(X[:, :2], X[:, :2] > 0), f"y {MASKED}"),
    "csc": (scipy.sparse.csc_array(X[:, :2]), f"y {SPARSE}"),
}


@pytest.mark.parametrize("kind", Y_ERRORS)
def test_y_that_is_no_target(regressor: Network, kind: str) -> None:
    y, message = Y_ERRORS[kind]
    fit = partial(Trainer(regressor).fit, epochs=1)
    for call in (regressor.backprop, regressor.cost, fit):
        with pytest.raises(ValueError, match=re.escape(message)):
            call(X, y)


CLASS_ERRORS: dict[str, tuple[Any, str]] = {
    "too large": ([0, 1, 3, 1], "y holds the label 3 at [2], expected labels from 0 to 2"),
    "negative": ([0, -1, 2, 1], "y holds the label -1 at [1], expected labels from 0 to 2"),
    "floats": (
        LABELS.astype(float),
        "y has dtype float64, expected integer labels from 0 to 2 (or rows of 3 probabilities)"
        " for cost 'cross_entropy'",
    ),
    "bools": ([True, False, True, False], "y has dtype bool, expected integer labels from 0 to 2"),
    "strings": (["a", "b", "c", "d"], "y has dtype <U1, expected real numbers"),
    "too few": (LABELS[:3], "y has 3 rows, expected 4, as x has"),
    "a column": (
        LABELS[:, None],
        "y has shape (4, 1), expected labels of shape (4,) or rows of sh",
    ),
    "classes": (
        np.eye(4),
        "y has 4 columns, expected labels of shape (4,) or rows of shape (4, 3)",
    ),
    "no probability": (
        2 * np.eye(3)[LABELS],
        "y holds 2 at [0, 0], expected numbers from 0 to 1 for",
    ),
    "sum": (
        with_value(np.eye(3)[LABELS], (2, 0), 0.5),
        "y's row 2 sums to 1.5, expected rows of probabilities that sum to 1",
    ),
    "nan": (
        with_value(np.eye(3)[LABELS], (2, 0), np.nan),
        "y holds nan at [2, 0], expected finite",
    ),
}


@pytest.mark.parametrize("kind", CLASS_ERRORS)
def test_y_that_is_no_class(classifier: Network, kind: str) -> None:
    y, message = CLASS_ERRORS[kind]
    for call in (classifier.backprop, classifier.cost):
        with pytest.raises(ValueError, match=re.escape(message)):
            call(X, y)


@pytest.mark.parametrize(
    ("output", "y", "message"),
    [
        (
            "sigmoid",
            [0, 1, 2, 1],
            "y holds 2 at [2, 0], expected numbers from 0 to 1 for cost 'binary_cr",
        ),
        (
            "exponential",
            [0, 1, -2, 1],
            "y holds -2 at [2, 0], expected no negative number for cost 'poisson'",
        ),
        ("identity", [[0, 1]] * 4, "y has 2 columns, expected shape (4, 1) or (4,)"),
    ],
)
def test_y_that_the_cost_is_not_defined_for(
    backend: Backend, output: str, y: Any, message: str
) -> None:
    net = Network((3, 4, 1), output=output, backend=backend)
    with pytest.raises(ValueError, match=re.escape(message)):
        net.backprop(X, y)


WEIGHT_ERRORS: dict[str, tuple[Any, str]] = {
    "too few": ([1, 1, 1], "sample_weight has shape (3,), expected (4,), one for each row of x"),
    "a column": (np.ones((4, 1)), "sample_weight has shape (4, 1), expected (4,), one for each ro"),
    "a number": (2.0, "sample_weight has shape (), expected (4,), one for each row of x"),
    "zero": ([0, 0, 0, 0], "sample_weight is all zero, expected at least one positive number"),
    "negative": ([1, -1, 0, 0], "sample_weight holds -1 at [1], expected no negative number"),
    "nan": ([1, np.nan, 0, 0], "sample_weight holds nan at [1], expected finite numbers"),
    "strings": (["a"] * 4, "sample_weight has dtype <U1, expected real numbers"),
    "masked": (np.ma.masked_array(np.ones(4), [0, 1, 0, 0]), f"sample_weight {MASKED}"),
}


@pytest.mark.parametrize("kind", WEIGHT_ERRORS)
def test_sample_weights_that_are_none(classifier: Network, kind: str) -> None:
    weights, message = WEIGHT_ERRORS[kind]
    for call in (classifier.backprop, classifier.cost):
        with pytest.raises(ValueError, match=re.escape(message)):
            call(X, LABELS, weights)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_parameters": 0}, "max_parameters is 0, expected a whole number at least 1"),
        ({"max_parameters": 2.5}, "max_parameters is 2.5, expected a whole number at least 1"),
        ({"step": 0}, "step is 0, expected a number above 0 and below 1"),
        ({"step": -1e-3}, "step is -0.001, expected a number above 0 and below 1"),
        ({"step": np.nan}, "step is nan, expected a number above 0 and below 1"),
        ({"seed": -1}, "seed is -1, expected a whole number at least 0"),
    ],
    ids=str,
)
def test_a_gradient_check_that_cannot_be(
    classifier: Network, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        check_gradients(classifier, X, LABELS, **options)


TOO_LARGE = "too large for float32, the network's dtype"


def test_numbers_that_the_networks_dtype_has_no_room_for_are_told(regressor: Network) -> None:
    x, y = with_value(X, (2, 1), 1e300), np.ones((4, 2))
    for call in (
        lambda: regressor.predict(x),
        lambda: regressor.forward(x),
        lambda: regressor.backprop(x, y),
        lambda: regressor.cost(x, y),
    ):
        with pytest.raises(ValueError, match=rf"^x holds 1e\+300 at \[2, 1\], {TOO_LARGE}$"):
            call()
    for call in (regressor.backprop, regressor.cost):
        with pytest.raises(ValueError, match=rf"^y holds -1e\+40 at \[3, 0\], {TOO_LARGE}$"):
            call(X, with_value(y, (3, 0), -1e40))


def test_numbers_just_within_the_networks_dtype_are_taken(backend: Backend) -> None:
    most = float(np.finfo(np.float32).max)
    narrow = Network((1, 1), backend=backend, initializer="zeros")
    assert narrow.predict([[most], [-most]]).tolist() == [[0], [0]]
    wide = Network((1, 1), backend=backend, initializer="zeros", dtype="float64")
    assert wide.predict([[1e300]]).tolist() == [[0]]


def test_bad_arrays_on_a_device_are_told_like_others(
    classifier: Network, cuda_backend: Backend
) -> None:
    device = cuda_backend.asarray
    with pytest.raises(ValueError, match=re.escape("x holds nan at [2, 1], expected finite")):
        classifier.predict(device(with_value(X, (2, 1), np.nan)))
    with pytest.raises(ValueError, match=r"y holds the label 3 at \[2\], expected labels"):
        classifier.cost(X, device(LABELS + 1))
    with pytest.raises(ValueError, match=r"y's row 2 sums to 1\.5, expected rows of prob"):
        classifier.cost(X, device(with_value(np.eye(3)[LABELS], (2, 0), 0.5)))
    with pytest.raises(ValueError, match=r"sample_weight holds -1 at \[1\], expected no"):
        classifier.cost(X, LABELS, device(np.array([1.0, -1, 0, 0])))
    with pytest.raises(ValueError, match=rf"^x holds 1e\+300 at \[2, 1\], {TOO_LARGE}$"):
        classifier.predict(device(with_value(X, (2, 1), 1e300)))


def test_an_error_changes_nothing(classifier: Network) -> None:
    before, expected = classifier.backend.to_numpy(classifier.parameters).copy(), None
    expected = classifier.predict(X)
    with pytest.raises(ValueError, match="expected labels from 0 to 2"):
        classifier.backprop(X, LABELS + 5)
    with pytest.raises(ValueError, match="expected finite numbers"):
        classifier.predict(X * np.nan)
    np.testing.assert_array_equal(classifier.backend.to_numpy(classifier.parameters), before)
    np.testing.assert_array_equal(classifier.predict(X), expected)
