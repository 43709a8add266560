"""Bad input is told in one sentence that names the argument, what came and what was expected."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from conftest import forget_cupy

import gpubp
from gpubp import (
    BackendUnavailableError,
    Network,
    Trainer,
    backends,
    check_gradients,
    get_activation,
    get_backend,
    get_cost,
)
from gpubp.backends import Backend

X = np.ones((4, 3))
LABELS = np.array([0, 1, 2, 1])


@pytest.fixture
def regressor(backend: Backend) -> Network:
    return Network((3, 4, 2), backend=backend, seed=0)


@pytest.fixture
def classifier(backend: Backend) -> Network:
    return Network((3, 4, 3), output="softmax", backend=backend, seed=0)


def with_value(array: Any, index: tuple[int, ...], value: float) -> Any:
    changed = np.array(array, float)
    changed[index] = value
    return changed


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
    "ragged": ([[1, 2], [1]], "x is not an array of numbers: "),
    "None": (None, "x has dtype object, expected real numbers"),
    "masked": (np.ma.masked_invalid(with_value(X, (2, 1), np.nan)), f"x {MASKED}"),
    "csr": (scipy.sparse.csr_matrix(X), f"x {SPARSE}"),
    "coo": (scipy.sparse.coo_array(X), f"x {SPARSE}"),
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
        "y has shape (4,), as labels have, but cost 'quadratic' takes shape (4, 2);"
        " one-hot encode it, or take cost 'cross_entropy'",
    ),
    "nan": (with_value(X[:, :2], (1, 1), np.nan), "y holds nan at [1, 1], expected finite"),
    "inf": (with_value(X[:, :2], (3, 0), np.inf), "y holds inf at [3, 0], expected finite"),
    "None": (None, "y has dtype object, expected real numbers"),
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
    "too large": ([0, 1, 3, 1], "y holds the label 3, expected labels from 0 to 2"),
    "negative": ([0, -1, 2, 1], "y holds the label -1, expected labels from 0 to 2"),
    "floats": (
        LABELS.astype(float),
        "y has dtype float64, expected integer labels from 0 to 2 (or rows of 3 probabilities)"
        " for cost 'cross_entropy'",
    ),
    "bools": ([True, False, True, False], "y has dtype bool, expected integer labels from 0 to 2"),
    "strings": (["a", "b", "c", "d"], "y has dtype <U1, expected real numbers"),
    "too few": (LABELS[:3], "y has 3 rows, expected 4, as x has"),
    "a column": (LABELS[:, None], "y has 1 columns, expected labels of shape (4,) or rows of sha"),
    "classes": (
        np.eye(4),
        "y has 4 columns, expected labels of shape (4,) or rows of shape (4, 3)",
    ),
    "no probability": (2 * np.eye(3)[LABELS], "y holds 2, expected numbers from 0 to 1 for cost"),
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
        ("sigmoid", [0, 1, 2, 1], "y holds 2, expected numbers from 0 to 1 for cost 'binary_cr"),
        (
            "exponential",
            [0, 1, -2, 1],
            "y holds -2, expected no negative number for cost 'poisson'",
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
    "negative": ([1, -1, 0, 0], "sample_weight holds -1, expected no negative number"),
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
        with pytest.raises(ValueError, match=rf"^x holds 1e\+300, {TOO_LARGE}$"):
            call()
    for call in (regressor.backprop, regressor.cost):
        with pytest.raises(ValueError, match=rf"^y holds -1e\+40, {TOO_LARGE}$"):
            call(X, with_value(y, (3, 0), -1e40))
        with pytest.raises(ValueError, match=rf"^sample_weight holds 1e\+39, {TOO_LARGE}$"):
            call(X, y, [1, 1e39, 1, 1])


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
    with pytest.raises(ValueError, match="y holds the label 3, expected labels from 0 to 2"):
        classifier.cost(X, device(LABELS + 1))
    with pytest.raises(ValueError, match=r"y's row 2 sums to 1\.5, expected rows of prob"):
        classifier.cost(X, device(with_value(np.eye(3)[LABELS], (2, 0), 0.5)))
    with pytest.raises(ValueError, match="sample_weight holds -1, expected no negative number"):
        classifier.cost(X, LABELS, device(np.array([1.0, -1, 0, 0])))
    with pytest.raises(ValueError, match=rf"^x holds 1e\+300, {TOO_LARGE}$"):
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


# Making a network

Options = dict[str, Any]
MAKING_ERRORS: list[tuple[Options, type[Exception], str]] = [
    ({"hidden": "rellu"}, ValueError, "hidden: unknown activation 'rellu'; did you mean 'relu'?"),
    (
        {"output": "sofmax"},
        ValueError,
        "output: unknown activation 'sofmax'; did you mean 'softmax'",
    ),
    ({"cost": "poison"}, ValueError, "unknown cost 'poison'; did you mean 'poisson'?"),
    ({"cost": "xyzzy"}, ValueError, "unknown cost 'xyzzy'; known: absolute_error, binary_cross"),
    ({"initializer": "he_norm"}, ValueError, "unknown initializer 'he_norm'; did you mean 'he_n"),
    ({"backend": "cuppy"}, ValueError, "unknown backend 'cuppy'; did you mean 'cupy'?"),
    ({"backend": 3}, ValueError, "unknown backend 3; known: auto, cupy, numpy"),
    ({"hidden": 3}, TypeError, "hidden is 3, expected one, or a sequence of 1"),
    ({"hidden": ["relu"] * 2}, ValueError, "hidden has 2 entries, expected one, or 1"),
    ({"hidden": "softmax"}, ValueError, "hidden is 'softmax', which only an output layer can have"),
    ({"output": None}, TypeError, "output: activation is None, expected a name or an Activation"),
    ({"cost": 3}, TypeError, "cost is 3, expected a name or a Cost"),
    ({"sizes": 3}, TypeError, "sizes is 3, expected layer widths such as (784, 256, 10)"),
    ({"sizes": (3,)}, ValueError, "sizes is (3,), expected an input and at least one layer"),
    ({"sizes": (3, 0, 2)}, ValueError, "each of sizes is 0, expected a whole number at least 1"),
    ({"sizes": (3, -4)}, ValueError, "each of sizes is -4, expected a whole number at least 1"),
    ({"sizes": (3, 2.5)}, ValueError, "each of sizes is 2.5, expected a whole number at least 1"),
    ({"sizes": (3, True)}, ValueError, "each of sizes is True, expected a whole number at least 1"),
    ({"dropout": -0.1}, ValueError, "dropout is -0.1, expected a number at least 0 and below 1"),
    ({"dropout": 1}, ValueError, "dropout is 1, expected a number at least 0 and below 1"),
    ({"dropout": np.nan}, ValueError, "dropout is nan, expected a number at least 0 and below 1"),
    ({"dropout": [0, 0.1]}, ValueError, "dropout has 2 entries, expected one, or 1"),
    ({"dtype": "float16"}, ValueError, "dtype is 'float16', expected 'float32' or 'float64'"),
    ({"dtype": "number"}, ValueError, "dtype is 'number', expected 'float32' or 'float64'"),
    ({"seed": -1}, ValueError, "seed is -1, expected a whole number at least 0"),
    ({"seed": 1.5}, ValueError, "seed is 1.5, expected a whole number at least 0"),
    ({"biases": [True]}, ValueError, "biases has 1 entries, expected one, or 2"),
    ({"biases": None}, TypeError, "biases is None, expected one, or a sequence of 2"),
    ({"biases": "no"}, TypeError, "biases is 'no', expected True or False, or one for each layer"),
    ({"biases": [1, 0]}, TypeError, "biases is [1, 0], expected True or False, or one for each"),
    (
        {"initializer": lambda rng, shape: np.ones(3)},
        ValueError,
        "initializer gave shape (3,), expected (4, 3) (n_out, n_in)",
    ),
    (
        {"initializer": lambda rng, shape: with_value(np.ones(shape), (1, 2), np.nan)},
        ValueError,
        "what initializer gave holds nan at [1, 2], expected finite numbers",
    ),
    (
        {"initializer": lambda rng, shape: np.full(shape, 1e300)},
        ValueError,
        "what initializer gave holds 1e+300, too large for float32, the network's dtype",
    ),
    (
        {"initializer": lambda rng, shape: np.full(shape, "a")},
        ValueError,
        "what initializer gave has dtype <U1, expected real numbers",
    ),
]


@pytest.mark.parametrize(("options", "kind", "message"), MAKING_ERRORS)
def test_a_network_that_cannot_be(options: Options, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        Network(**({"sizes": (3, 4, 2), "backend": "numpy"} | options))


@pytest.mark.parametrize("rate", [np.float32(0.5), np.float64(0.5), 0.5, [np.float32(0.5)]])
def test_numbers_of_numpy_are_numbers(rate: Any) -> None:
    assert Network((3, 4, 2), dropout=rate, backend="numpy").layers[0].dropout == 0.5


def test_parameters_are_kept_as_pythons_own_numbers() -> None:
    slope = get_activation("leaky_relu", slope=np.float32(0.5)).parameters["slope"]
    assert (type(slope), slope) == (float, 0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: get_activation("leaky_relu", slop=0.1), "did you mean 'slope'?"),
        (lambda: get_activation("leaky_relu", slope="a"), "slope is 'a', expected a number"),
        (lambda: get_activation("leaky_relu", slope=np.nan), "slope is nan, expected a number"),
        (
            lambda: get_activation("leaky_relu", slope=1),
            "slope is 1, expected a number at least 0 and below 1",
        ),
        (
            lambda: get_activation("leaky_relu", slope=-0.1),
            "slope is -0.1, expected a number at least 0 and below 1",
        ),
        (lambda: get_activation("elu", alpha=0), "alpha is 0, expected a number above 0"),
        (lambda: get_activation("elu", alpha=np.inf), "alpha is inf, expected a finite number"),
        (lambda: get_activation("selu", alpha=-1), "alpha is -1, expected a number above 0"),
        (lambda: get_activation("selu", scale=0.0), "scale is 0.0, expected a number above 0"),
        (lambda: get_cost("huber", threshold=np.inf), "threshold is inf, expected a finite number"),
        (
            lambda: get_activation("relu", slope=0.1),
            "unknown parameter of activation 'relu' 'slope'; there are none",
        ),
        (lambda: get_cost("huber", threshold=0), "threshold is 0, expected a number above 0"),
        (
            lambda: get_cost("quantile", quantile=1),
            "quantile is 1, expected a number above 0 and below 1",
        ),
        (
            lambda: get_cost("cross_entropy", label_smoothing=-0.1),
            "label_smoothing is -0.1, expected a number at least 0 and below 1",
        ),
        (
            lambda: get_cost("quadratic", label_smoothing=0.1),
            "unknown parameter of cost 'quadratic' 'label_smoothing'",
        ),
    ],
)
def test_parameters_that_are_none(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


# Backends that cannot run here


class Runtime:
    """The part of CuPy that counts devices, on a machine with `count` or with a broken driver."""

    class CUDARuntimeError(RuntimeError):
        pass

    def __init__(self, count: int | None) -> None:
        self.count = count

    def getDeviceCount(self) -> int:
        if self.count is None:
            raise self.CUDARuntimeError("cudaErrorInsufficientDriver: the driver is old\nmore")
        return self.count


def cupy_with(count: int | None) -> dict[str, Any]:
    runtime = Runtime(count)
    cuda = type("cuda", (), {"runtime": runtime})
    return {"cupy": type("cupy", (), {"cuda": cuda})}


NOT_HERE: dict[str, tuple[dict[str, Any], str]] = {
    "no CuPy": (
        {"cupy": None},
        "CuPy does not import (import of cupy halted; None in sys.modules)",
    ),
    "no GPU": (cupy_with(0), "CuPy finds no GPU"),
    "old driver": (
        cupy_with(None),
        "CuPy finds no usable GPU (cudaErrorInsufficientDriver: the driver is old)",
    ),
}


@pytest.fixture
def without_cupy(monkeypatch: pytest.MonkeyPatch) -> Any:
    def replace(modules: dict[str, Any]) -> None:
        for name in [name for name in sys.modules if name.split(".")[0] in ("cupy", "cupyx")]:
            monkeypatch.delitem(sys.modules, name)
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)
        forget_cupy()

    yield replace
    forget_cupy()


@pytest.mark.parametrize("kind", NOT_HERE)
def test_a_backend_that_cannot_run_says_what_is_missing(
    kind: str, without_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules, reason = NOT_HERE[kind]
    without_cupy(modules)
    message = re.escape(f"backend 'cupy' cannot run here: {reason}; pip install 'gpubp[cuda12]'")
    with pytest.raises(BackendUnavailableError, match=message):
        Network((3, 2), backend="cupy")
    assert get_backend("auto").name == "numpy"
    assert backends.explain_auto()[1] == reason
    assert gpubp.available_backends() == ["numpy"]
    monkeypatch.setenv("GPUBP_BACKEND", "cupy")
    with pytest.raises(BackendUnavailableError, match=f"^GPUBP_BACKEND=cupy: {message}"):
        Network((3, 2))


def test_a_cupy_without_cublas_says_so(
    cuda_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_library() -> None:
        raise ImportError("libcublas.so.13: cannot open\nnor anything else")

    monkeypatch.setattr("gpubp.backends.cupy.cublas.load_library", load_library)
    backends._cupy.cache_clear()
    message = "'cupy' cannot run here: cuBLAS does not load (libcublas.so.13: cannot open); pip"
    with pytest.raises(BackendUnavailableError, match=re.escape(message)):
        get_backend("cupy")
    chosen, reason = backends.explain_auto()
    assert chosen.name == "numpy" and message in reason
    backends._cupy.cache_clear()


def test_to_load_a_small_network_does_not_begin_with_the_gpu(
    cuda_backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Network((3, 2), backend="numpy").save(tmp_path / "small.safetensors")

    def begin(device: int) -> None:
        raise AssertionError("the GPU was asked for")

    monkeypatch.setattr(backends, "_cupy", cache(begin))
    assert Network.load(tmp_path / "small.safetensors").backend.name == "numpy"


def test_a_device_that_is_not_there(without_cupy: Any) -> None:
    without_cupy(cupy_with(2))
    assert gpubp.available_backends() == ["cupy", "cupy:1", "numpy"]
    with pytest.raises(
        BackendUnavailableError,
        match=r"backend 'cupy:2' cannot run here: CuPy finds 2 device\(s\), numbered from 0",
    ):
        get_backend("cupy:2")


def test_the_environment_chooses_what_auto_means(
    monkeypatch: pytest.MonkeyPatch, backend: Backend
) -> None:
    monkeypatch.setenv("GPUBP_BACKEND", backend.name)
    assert Network((3, 2)).backend is backend
    assert Network((3, 2), backend="numpy").backend.name == "numpy"
    assert backends.explain_auto()[1] == f"GPUBP_BACKEND={backend.name} asks for it"
    monkeypatch.setenv("GPUBP_BACKEND", "cuppy")
    with pytest.raises(
        ValueError, match=r"^GPUBP_BACKEND=cuppy: unknown backend 'cuppy'; did you mean 'cupy'\?$"
    ):
        Network((3, 2))


def test_an_unproven_gpu_backend_is_not_the_default(
    monkeypatch: pytest.MonkeyPatch, cuda_backend: Backend
) -> None:
    monkeypatch.setattr("gpubp.backends.cupy.PROVEN", False)
    chosen, reason = backends.explain_auto()
    assert chosen.name == "numpy"
    assert "has not been proven" in reason
    monkeypatch.setattr("gpubp.backends.cupy.PROVEN", True)
    chosen, reason = backends.explain_auto()
    assert chosen is cuda_backend
    assert reason == "CuPy finds a GPU; networks of fewer than 100000 parameters stay on the CPU"


def test_auto_keeps_small_networks_on_the_cpu(cuda_backend: Backend) -> None:
    chosen, reason = backends.explain_auto(99_999)
    assert chosen.name == "numpy" and "a network of 99999 parameters" in reason
    assert backends.explain_auto(100_000)[0] is cuda_backend
    assert Network((10, 10)).backend.name == "numpy"
    assert Network((1000, 100)).backend is cuda_backend
    assert Network((10, 10), backend="cupy").backend is cuda_backend


@pytest.mark.parametrize("name", ["sigmoid", "identity", ""])
def test_a_custom_activation_needs_a_name_of_its_own(name: str) -> None:
    with pytest.raises(
        ValueError, match=f"name is {name!r}, .* expected a new one for your activation"
    ):
        gpubp.Activation.from_functions(name, lambda xp, z: z, lambda xp, z: z)


def test_custom_entries_are_checked() -> None:
    with pytest.raises(
        ValueError, match="name is 'huber', which is a built-in one's, expected a new"
    ):
        gpubp.Cost.from_functions("huber", lambda xp, a, y: a, lambda xp, a, y: a)
    with pytest.raises(ValueError, match="reads is 'x', expected 'a' or 'z'"):
        gpubp.Activation.from_functions("own", lambda xp, z: z, lambda xp, z: z, reads="x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": "rellu"}, "hidden: unknown activation 'rellu'; did you mean 'relu'?"),
        ({"dropout": 7.0}, "dropout is 7.0"),
        ({"initializer": [3]}, "initializer is 3, expected a name or a callable"),
    ],
)
def test_arguments_are_checked_without_hidden_layers_too(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        gpubp.Network((4, 2), **options)
