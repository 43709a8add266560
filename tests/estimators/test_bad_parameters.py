"""Each bad parameter and argument is told in scikit-learn's words, and changes nothing."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from small_data import examples, not_converged, targets

pytest.importorskip("sklearn", minversion="1.7")

from scipy.sparse import csr_matrix
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor

from gpubp import MLPClassifier, MLPRegressor

X, Y = examples(40)
NUMBERS = targets(1, 40)[1]
LABELS = np.eye(3, dtype=int)[Y]
QUICK: dict[str, Any] = {"hidden_layer_sizes": 4, "max_iter": 2, "random_state": 0}
KINDS = {
    "classifier": (MLPClassifier, TheirClassifier),
    "regressor": (MLPRegressor, TheirRegressor),
}
Call = Callable[[Any], Any]

NO_FLOATS = {
    "text": "0.1",
    "None": None,
    "list": [0.1],
    "nan": np.nan,
    "complex": 1j,
    "array": np.ones(2),
}
NO_COUNTS = {**NO_FLOATS, "zero": 0, "negative": -5, "float": 10.0, "inf": np.inf}
NO_FLAGS = {"text": "yes", "number": 1, "None": None}
NO_NAMES = {"near": "adma", "far": "best", "None": None, "list": ["adam"], "number": 3}
BAD: dict[str, dict[str, Any]] = {
    "hidden_layer_sizes": {
        "text": "10", "None": None, "zero": 0, "float": 2.5, "zero within": (10, 0), "negative": [-1]
    },
    "activation": {**NO_NAMES, "typing error": "rellu"},
    "solver": NO_NAMES,
    "alpha": {**NO_FLOATS, "negative": -1, "inf": np.inf},
    "batch_size": {"text": "all", "zero": 0, "float": 10.0, "None": None},
    "learning_rate": {**NO_NAMES, "typing error": "adaptiv"},
    "learning_rate_init": {**NO_FLOATS, "zero": 0, "inf": np.inf},
    "power_t": {**NO_FLOATS, "negative": -0.5},
    "max_iter": NO_COUNTS,
    "shuffle": NO_FLAGS,
    "random_state": {"text": "seed", "negative": -1, "float": 1.5, "generator": np.random.default_rng(0)},
    "tol": {**NO_FLOATS, "negative": -1e-4},
    "verbose": {"text": "x", "negative": -1, "float": 1.5, "None": None},
    "warm_start": NO_FLAGS,
    "momentum": {**NO_FLOATS, "above one": 1.01, "negative": -0.1},
    "nesterovs_momentum": NO_FLAGS,
    "early_stopping": NO_FLAGS,
    "validation_fraction": {**NO_FLOATS, "one": 1.0, "negative": -0.1},
    "beta_1": {**NO_FLOATS, "one": 1.0},
    "beta_2": {**NO_FLOATS, "one": 1.0},
    "epsilon": {**NO_FLOATS, "zero": 0.0},
    "n_iter_no_change": {"zero": 0, "float": 2.0, "text": "inf", "-inf": -np.inf},
    "max_fun": NO_COUNTS,
    "loss": {"near": "squared_eror", "far": "hinge", "None": None, "list": ["poisson"]},
}  # fmt: skip


def parameter_rows() -> list[Any]:
    return [
        pytest.param(kind, name, value, id=f"{kind}-{name}-{case}")
        for name, values in BAD.items()
        for case, value in values.items()
        for kind in (["regressor"] if name == "loss" else ["classifier"])
    ]


def told(
    error: type[Exception] | tuple[type[Exception], ...], call: Callable[[], Any]
) -> Exception:
    with pytest.raises(error) as caught:
        call()
    return caught.value


def assert_holds(ours: Exception, theirs: Exception) -> None:
    """Check that our message has all of theirs, except the names of choices, whose order varies."""
    place = 0
    for part in re.split(r"\{[^}]*\}", str(theirs)):
        assert part in str(ours)[place:], f"{ours!s} does not hold {theirs!s}"
        place = str(ours).index(part, place) + len(part)
    assert isinstance(ours, type(theirs))


def contents(model: Any) -> dict[str, Any]:
    """Copies of all attributes but those that describe training, which have no equality."""
    hidden = {"_trainer", "history_", "network_", "_record"}
    return {name: copy.deepcopy(value) for name, value in vars(model).items() if name not in hidden}


def assert_unchanged_by(model: Any, call: Call, error: type[Exception]) -> Exception:
    before, network, predicted = contents(model), model.network_, model.predict(X)
    found = told(error, lambda: call(model))
    np.testing.assert_equal(contents(model), before)
    assert model.network_ is network
    np.testing.assert_array_equal(model.predict(X), predicted)
    return found


@pytest.mark.parametrize(("kind", "name", "value"), parameter_rows())
def test_a_bad_parameter_is_told_in_scikit_learns_words(kind: str, name: str, value: Any) -> None:
    ours, theirs = (model(**{**QUICK, name: value}) for model in KINDS[kind])
    y = Y if kind == "classifier" else NUMBERS
    expected = told((ValueError, TypeError), lambda: theirs.fit(X, y))
    found = told(ValueError, lambda: ours.fit(X, y))
    assert_holds(found, expected)
    assert isinstance(found, TypeError) or "must be > 0, got" in str(found)
    assert not hasattr(ours, "network_")
    with pytest.raises(NotFittedError):
        ours.predict(X)


@not_converged
@pytest.mark.parametrize("name", BAD)
def test_a_fitted_estimator_is_not_changed_by_a_bad_parameter(name: str) -> None:
    kind = MLPRegressor if name == "loss" else MLPClassifier
    model = kind(**QUICK).fit(X, NUMBERS if name == "loss" else Y)
    model.set_params(**{name: next(iter(BAD[name].values()))})
    found = assert_unchanged_by(model, lambda model: model.fit(X, Y), ValueError)
    assert name in str(found)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"activation": "rellu"}, "Got 'rellu' instead. (did you mean 'relu'?)"),
        ({"solver": "adma"}, "Got 'adma' instead. (did you mean 'adam'?)"),
        ({"activation": "softmax"}, "'gelu', 'gelu_tanh', 'hard_sigmoid', 'hard_swish', 'hard_tanh',"),
        ({"max_iter": True}, "must be an int in the range [1, inf). Got True instead."),
        ({"hidden_layer_sizes": (3, 2.5)}, "each of hidden_layer_sizes is 2.5, expected a whole number"),
        ({"dtype": "float16"}, "dtype is 'float16', expected 'float32' or 'float64', or None for that"),
        ({"dtype": int}, "dtype is <class 'int'>"),
        ({"backend": "torch"}, "unknown backend 'torch'"),
        ({"dropout": 1}, "The 'dropout' parameter of MLPClassifier must be a float in the range [0.0,"),
        ({"solver": "lbfgs", "dropout": 0.5}, "dropout is 0.5, expected 0 with solver 'lbfgs'"),
        ({"early_stopping": True, "validation_fraction": 0.01},
         "validation_fraction is 0.01, which of 40 rows holds out fewer than the 2 that a score needs"),
    ],
)  # fmt: skip
def test_gpubp_says_more_about_parameters(parameters: dict[str, Any], expected: str) -> None:
    model = MLPClassifier(**{**QUICK, **parameters})
    assert expected in str(told(ValueError, lambda: model.fit(X, Y)))
    assert not hasattr(model, "network_")


@pytest.mark.parametrize("widths", [[3.0], [[3]], (True, 2)], ids=str)
def test_widths_that_are_no_whole_numbers_are_an_error_of_scikit_learns_type(widths: Any) -> None:
    parameters = QUICK | {"hidden_layer_sizes": widths}
    ours, theirs = (model(**parameters) for model in KINDS["classifier"])
    expected = told((ValueError, TypeError), lambda: theirs.fit(X, Y))
    told(type(expected), lambda: ours.fit(X, Y))


def test_a_search_leaves_a_bad_dtype_to_fit() -> None:
    search = GridSearchCV(MLPClassifier(**QUICK, dtype="int3"), {}, error_score="raise")
    assert "dtype is 'int3', expected" in str(told(ValueError, lambda: search.fit(X, Y)))


def with_bad(value: Any) -> Any:
    bad = X.copy()
    bad[3, [1, 4]] = value
    return bad


class Bad(NamedTuple):
    """A bad call of a fitted estimator."""

    kind: str
    call: Call
    more: str = ""
    """How our message goes on after scikit-learn's."""
    flag: str = ""
    """A parameter that is set to True before the call."""


WARM, STOPS = "warm_start", "early_stopping"
CALLS: dict[str, Bad] = {
    "NaN": Bad(
        "classifier", lambda m: m.fit(with_bad(np.nan), Y), " in columns 1, 4; MLPClassifier d"
    ),
    "inf": Bad("classifier", lambda m: m.fit(with_bad(np.inf), Y), " in columns 1, 4"),
    "sparse NaN": Bad(
        "regressor",
        lambda m: m.fit(csr_matrix(with_bad(np.nan)), NUMBERS),
        " in columns 1, 4; MLPR",
    ),
    "X of text": Bad("classifier", lambda m: m.fit([["a"]] * 40, Y)),
    "X complex": Bad("classifier", lambda m: m.fit(X * 1j, Y)),
    "X of one axis": Bad("classifier", lambda m: m.fit(X[:, 0], Y)),
    "X of three axes": Bad("classifier", lambda m: m.fit(X[:, :, None], Y)),
    "X without rows": Bad("classifier", lambda m: m.fit(X[:0], Y[:0])),
    "X without columns": Bad("classifier", lambda m: m.fit(X[:, :0], Y)),
    "X None": Bad("classifier", lambda m: m.fit(None, Y)),
    "X shorter": Bad("classifier", lambda m: m.fit(X[:9], Y)),
    "y None": Bad("classifier", lambda m: m.fit(X, None)),
    "y NaN": Bad("regressor", lambda m: m.fit(X, NUMBERS * np.nan)),
    "y of three axes": Bad("classifier", lambda m: m.fit(X, Y[:, None, None])),
    "two classes a row": Bad(
        "classifier", lambda m: m.fit(X, np.c_[Y, Y]), ": y has 2 columns of cl"
    ),
    "y of bytes": Bad("classifier", lambda m: m.fit(X, Y.astype("S1"))),
    "weights of another length": Bad("classifier", lambda m: m.fit(X, Y, np.ones(9))),
    "weights of two axes": Bad("regressor", lambda m: m.fit(X, NUMBERS, np.ones((40, 1)))),
    "weights of text": Bad("classifier", lambda m: m.fit(X, Y, "heavy")),
    "weights NaN": Bad("classifier", lambda m: m.fit(X, Y, np.full(40, np.nan))),
    "no classes": Bad("classifier", lambda m: type(m)().partial_fit(X, Y)),
    "other classes": Bad("classifier", lambda m: m.partial_fit(X, Y, classes=[0, 1])),
    "unknown classes": Bad("classifier", lambda m: m.partial_fit(X, Y + 1)),
    "labels after classes": Bad("classifier", lambda m: m.partial_fit(X, LABELS)),
    "warm start, other classes": Bad("classifier", lambda m: m.fit(X, Y + 1), "", WARM),
    "warm start, fewer classes": Bad("classifier", lambda m: m.fit(X, Y % 2), "", WARM),
    "warm start, fewer columns": Bad("regressor", lambda m: m.fit(X[:, :4], NUMBERS), "", WARM),
    "partial_fit that stops early": Bad(
        "regressor", lambda m: m.partial_fit(X, NUMBERS), "", STOPS
    ),
    "a class once": Bad("classifier", lambda m: m.fit(X, np.arange(40) == 0), "", STOPS),
    "predict other columns": Bad("classifier", lambda m: m.predict(X[:, :4])),
    "predict one row": Bad("regressor", lambda m: m.predict(X[0])),
    "predict NaN": Bad(
        "regressor", lambda m: m.predict(with_bad(np.nan)), " in columns 1, 4; MLPReg"
    ),
    "unfitted": Bad("classifier", lambda m: type(m)().predict(X)),
}


@not_converged
@pytest.mark.parametrize("name", CALLS)
def test_a_bad_argument_is_told_in_scikit_learns_words(name: str) -> None:
    kind, call, more, flag = CALLS[name]
    parameters = {flag: True} if flag else {}
    y = Y if kind == "classifier" else NUMBERS
    ours, theirs = KINDS[kind]
    model, other = ours(dtype=None, **QUICK).fit(X, y), theirs(**QUICK).fit(X, y)
    expected = told((ValueError, TypeError), lambda: call(other.set_params(**parameters)))
    found = assert_unchanged_by(model.set_params(**parameters), call, type(expected))
    line, *others = str(expected).split("\n")
    if more:
        line = line.rstrip(".")
    assert line + more in str(found)
    if others and "missing values" in others[0]:
        assert others[0].partition(".")[0] in str(found)


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (Y + 0.5, "Unknown label type: continuous"),
        (
            np.array([None, "a"] * 20, object),
            "y holds classes that cannot be sorted: '<' not supported",
        ),
    ],
)
def test_what_is_no_class_is_told(y: Any, expected: str) -> None:
    found = told((ValueError, TypeError), lambda: MLPClassifier(**QUICK).fit(X, y))
    assert expected in str(found)
    theirs = told((ValueError, TypeError), lambda: TheirClassifier(**QUICK).fit(X, y))
    assert isinstance(found, type(theirs))


@pytest.mark.parametrize(
    ("rows", "parameters"),
    [
        (40, {"validation_fraction": 0.0}),
        (40, {"validation_fraction": 0.999}),
        (5, {"validation_fraction": 0.1}),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_validation_fraction_without_rows_is_told_in_scikit_learns_words(
    kind: str, rows: int, parameters: dict[str, Any]
) -> None:
    ours, theirs = (model(early_stopping=True, **QUICK, **parameters) for model in KINDS[kind])
    y = [0, 0, 0, 0, 1] * (rows // 5)
    expected = told(ValueError, lambda: theirs.fit(X[:rows], y))
    found = told(ValueError, lambda: ours.fit(X[:rows], y))
    assert str(expected) in str(found)
    assert f"validation_fraction is {parameters['validation_fraction']}" in str(found)


@pytest.mark.parametrize(
    ("weights", "more"),
    [
        ("balanced", "sample_weight: "),
        ({0: 1}, "sample_weight: "),
        (np.ones((40, 1, 1)), "sample_weight: "),
        (np.ones(9), ""),
        (np.full(40, np.nan), ""),
    ],
    ids=["text", "dict", "three axes", "too short", "NaN"],
)
def test_sample_weights_that_cannot_be_read_are_named(weights: Any, more: str) -> None:
    ours, theirs = MLPClassifier(**QUICK), TheirClassifier(**QUICK)
    expected = told((ValueError, TypeError), lambda: theirs.fit(X, Y, weights))
    found = told(type(expected), lambda: ours.fit(X, Y, weights))
    assert str(found) == f"{more}{expected}"


def test_partial_fit_tells_a_bad_learning_rate_in_scikit_learns_words() -> None:
    model = MLPClassifier(**QUICK, learning_rate=np.ones(2))
    found = told(ValueError, lambda: model.partial_fit(X, Y, classes=[0, 1, 2]))
    assert "The 'learning_rate' parameter of MLPClassifier must be a str among" in str(found)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_columns_that_are_not_finite_have_their_names(library: str) -> None:
    frames = pytest.importorskip(library)
    frame = frames.DataFrame({f"feature {k}": with_bad(np.nan)[:, k] for k in range(6)})
    found = told(ValueError, lambda: MLPClassifier(**QUICK).fit(frame, Y))
    assert "Input X contains NaN in columns 'feature 1', 'feature 4'; " in str(found)
    assert str(found).endswith("sklearn.impute.SimpleImputer fills them in")


def test_what_does_not_fit_float32_is_told() -> None:
    found = told(ValueError, lambda: MLPClassifier(**QUICK).fit(with_bad(1e300), Y))
    assert "too large for dtype('float32') in columns 1, 4" in str(found)


def test_weights_that_make_no_mean_are_told() -> None:
    found = told(ValueError, lambda: MLPClassifier(**QUICK).fit(X, Y, -np.ones(40)))
    assert "sample_weight holds -1 at [0], expected no negative number" in str(found)
    found = told(ValueError, lambda: MLPClassifier(**QUICK).fit(X, Y, np.zeros(40)))
    assert "zero" in str(found)


def test_bad_targets_of_a_cost_are_told() -> None:
    found = told(ValueError, lambda: MLPRegressor("poisson", **QUICK).fit(X, NUMBERS - 2))
    assert "y holds -" in str(found)
    assert "expected no negative number" in str(found)


@not_converged
def test_a_warm_start_with_other_widths_is_told() -> None:
    model = MLPClassifier(warm_start=True, **QUICK).fit(X, Y).set_params(hidden_layer_sizes=7)
    found = assert_unchanged_by(model, lambda model: model.fit(X, Y), ValueError)
    assert "the layer widths are now (6, 7, 3), but were (6, 4, 3)" in str(found)


@not_converged
def test_labels_stay_labels() -> None:
    model = MLPClassifier(**QUICK).fit(X, LABELS)
    found = assert_unchanged_by(model, lambda model: model.partial_fit(X, Y), ValueError)
    assert "y holds classes, expected columns of labels, as the last y had" in str(found)
