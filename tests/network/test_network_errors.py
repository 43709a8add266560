"""Arguments that a network refuses, by the text of the error."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from samples import with_value

import gpubp
from gpubp import Network, get_activation, get_cost

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
    ({"hidden": 3}, TypeError, "hidden is 3, expected a name or an Activation, or a sequence of 1"),
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
    ({"biases": None}, TypeError, "biases is None, expected True or False, or a sequence of 2"),
    ({"biases": "no"}, TypeError, "biases is 'no', expected True or False, or a sequence of 2"),
    ({"biases": [1, 0]}, TypeError, "biases holds 1, expected True or False"),
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
        "what initializer gave holds 1e+300 at [0, 0], too large for float32, the network's dtype",
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
            "unknown parameter 'slope' of activation 'relu'; there are none",
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
            "unknown parameter 'label_smoothing' of cost 'quadratic'; there are none",
        ),
    ],
)
def test_parameters_that_are_none(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


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
