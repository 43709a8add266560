"""What is checked of custom activations and costs: the functions' arguments, and what they return."""

from __future__ import annotations

import functools
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from samples import cube, cube_derivative

from gpubp import Activation, Cost, Network, Trainer
from gpubp.backends import Backend

X, Y = np.random.default_rng(0).normal(size=(2, 5, 3))

RETURNED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "None": (lambda z: None, "None"),
    "fewer rows": (lambda z: z[:-1], "float32 of shape (*)"),
    "one element": (lambda z: z.reshape(-1)[:1], "float32 of shape (1,)"),
    "one axis more": (lambda z: z[None], "float32 of shape (1, *)"),
    "a list": (lambda z: [1.0], "[1.0]"),
    "a text": (lambda z: "z", "'z'"),
    "complex numbers": (lambda z: z.astype(complex), "complex128 of shape (*)"),
}


def spoilt(role: str, returned: Callable[[Any], Any]) -> Activation:
    functions = {"function": cube, "derivative": cube_derivative}
    functions[role] = lambda xp, z: returned(z)
    return Activation.from_functions("own", functions["function"], functions["derivative"])


@pytest.mark.parametrize("role", ["function", "derivative"])
@pytest.mark.parametrize("kind", RETURNED)
def test_an_activation_that_returns_something_else_is_told(
    backend: Backend, kind: str, role: str
) -> None:
    returned, came = RETURNED[kind]
    net = Network((3, 4, 3), hidden=spoilt(role, returned), backend=backend, seed=0)
    before = backend.to_numpy(net.parameters).copy()
    text = f"{role} of activation 'own' gave {came}, expected real numbers of shape (*)"
    # A backend calls the function on blocks of its choice.
    text = f"^{re.escape(text)}$".replace(r"\*", r"\d+(, \d+|,)?")
    calls: list[Callable[[], Any]] = [
        lambda: net.backprop(X, Y),
        lambda: Trainer(net, "sgd").fit(X, Y, epochs=1),
        lambda: Trainer(net, "sgd").step(X, Y),
    ]
    if role == "function":
        calls.append(lambda: net.predict(X))
    for call in calls:
        with pytest.raises(ValueError, match=text):
            call()
    np.testing.assert_array_equal(backend.to_numpy(net.parameters), before)


@pytest.mark.parametrize("role", ["function", "derivative"])
@pytest.mark.parametrize(
    ("returned", "came"),
    [
        (lambda a: None, "None"),
        (lambda a: a[:, :1], r"float32 of shape \(\d+, 1\)"),
        (lambda a: a.sum(axis=1), r"float32 of shape \(\d+,\)"),
    ],
)
def test_a_cost_that_returns_something_else_is_told(
    backend: Backend, returned: Callable[[Any], Any], came: str, role: str
) -> None:
    functions: dict[str, Callable[..., Any]] = {
        "function": lambda xp, a, y: (a - y) ** 2,
        "derivative": lambda xp, a, y: 2 * (a - y),
    }
    functions[role] = lambda xp, a, y: returned(a)
    cost = Cost.from_functions("own", functions["function"], functions["derivative"])
    net = Network((3, 3), cost=cost, backend=backend, seed=0)
    text = rf"^{role} of cost 'own' gave {came}, expected real numbers of shape \(\d+, 3\)$"
    with pytest.raises(ValueError, match=text):
        net.backprop(X, Y)
    with pytest.raises(ValueError, match=text):
        Trainer(net, "sgd").fit(X, Y, epochs=1)


@pytest.mark.parametrize("one", [1, 1.0, np.float32(1), np.array(1.0)], ids=repr)
def test_one_number_stands_for_all(backend: Backend, one: Any) -> None:
    own = Activation.from_functions("own", lambda xp, z: z, lambda xp, z: one)
    flat = Cost.from_functions("flat", lambda xp, a, y: 3, lambda xp, a, y: one)
    options: dict[str, Any] = {"initializer": "orthogonal", "backend": backend, "seed": 0}
    net = Network((3, 4, 3), hidden=own, cost=flat, **options)
    like = Network((3, 4, 3), hidden="identity", **options)
    result = net.backprop(X, Y)
    assert result.cost == pytest.approx(9)
    z = [backend.to_numpy(z) for z in like.forward(X).z]
    np.testing.assert_allclose(backend.to_numpy(result.z[0]), z[0], rtol=1e-6)
    np.testing.assert_allclose(backend.to_numpy(result.deltas[-1]), np.full((5, 3), 0.2), rtol=1e-6)


def partial_ok(xp: Any, z: Any, power: int = 3) -> Any:
    return z**power


@pytest.mark.parametrize("function", [partial_ok, functools.partial(partial_ok, power=2), print])
def test_functions_with_more_optional_arguments_are_taken(function: Any) -> None:
    Activation.from_functions("own", function, function)


def test_a_checked_function_can_be_pickled() -> None:
    own = Activation.from_functions("own", cube, cube_derivative)
    net = pickle.loads(pickle.dumps(Network((3, 3), output=own, backend="numpy", seed=0)))
    np.testing.assert_allclose(net.predict(X), net.forward(X).z[-1] ** 3, rtol=1e-6)
