"""Random networks against autograd."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from oracles import given, st
from random_networks import ELEMENTWISE, host, network, targets_for

from gpubp.backends import Backend
from gpubp.kernels import COSTS
from gpubp.kernels.typing import Array


def oracle_functions(anp: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write σ and c in autograd's NumPy; at kinks they take the same side as gpubp."""

    def elu(z: Array, alpha: float) -> Array:
        return anp.where(z > 0, z, alpha * (anp.exp(anp.where(z > 0, 0, z)) - 1))

    def softplus(z: Array) -> Array:
        return anp.logaddexp(0.0, z)

    def sigmoid(z: Array) -> Array:
        return 0.5 * (1 + anp.tanh(z / 2))

    def hard_sigmoid(z: Array) -> Array:
        return anp.where(z <= -3, 0, anp.where(z >= 3, 1, z / 6 + 0.5))

    def gelu_tanh(z: Array) -> Array:
        return z / 2 * (1 + anp.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))

    def softmax(z: Array) -> Array:
        e = anp.exp(z - anp.max(z, axis=1, keepdims=True))
        return e / anp.sum(e, axis=1, keepdims=True)

    sigmas = {
        "identity": lambda z: z,
        "sigmoid": sigmoid,
        "tanh": anp.tanh,
        "relu": lambda z: anp.where(z > 0, z, 0),
        "leaky_relu": lambda z: anp.where(z > 0, z, 0.01 * z),
        "elu": lambda z: elu(z, 1.0),
        "selu": lambda z: 1.0507009873554805 * elu(z, 1.6732632423543772),
        "gelu_tanh": gelu_tanh,
        "silu": lambda z: z * sigmoid(z),
        "mish": lambda z: z * anp.tanh(softplus(z)),
        "softplus": softplus,
        "squareplus": lambda z: (z + anp.sqrt(z * z + 4)) / 2,
        "sine": anp.sin,
        "hard_sigmoid": hard_sigmoid,
        "hard_tanh": lambda z: anp.where(z <= -1, -1, anp.where(z >= 1, 1, z)),
        "hard_swish": lambda z: z * hard_sigmoid(z),
        "exponential": anp.exp,
        "softmax": softmax,
    }
    r = lambda a, y: anp.abs(a - y)  # noqa: E731
    costs = {
        "quadratic": lambda a, y: (a - y) ** 2 / 2,
        "cross_entropy": lambda a, y: -y * anp.log(a),
        "binary_cross_entropy": lambda a, y: -y * anp.log(a) - (1 - y) * anp.log(1 - a),
        "huber": lambda a, y: anp.where(r(a, y) <= 1, (a - y) ** 2 / 2, r(a, y) - 0.5),
        "absolute_error": r,
        "log_cosh": lambda a, y: anp.log(anp.cosh(a - y)),
        "poisson": lambda a, y: a - y + y * anp.log(anp.maximum(y, 1e-300) / a),
        "quantile": lambda a, y: r(a, y) / 2,
    }
    return sigmas, costs


HIDDEN = [name for name in ELEMENTWISE if name not in ("exponential", "gelu")]
POSITIVE = ["sigmoid", "softplus", "squareplus", "exponential", "softmax"]
OUTPUTS = {(0.0, 1.0): ["sigmoid", "softmax"], (0.0, math.inf): POSITIVE}


@st.composite
def random_problems(draw: st.DrawFn) -> dict[str, Any]:
    depth = draw(st.integers(1, 4))
    cost = draw(st.sampled_from(sorted(COSTS)))
    sizes = tuple(draw(st.lists(st.integers(1, 6), min_size=depth + 1, max_size=depth + 1)))
    outputs = OUTPUTS.get(COSTS[cost].domain, [*HIDDEN, "softmax"])
    if sizes[-1] == 1:  # the softmax of one number is 1: the oracle's log(1 - a) is infinite
        outputs = [name for name in outputs if name != "softmax"]
    return {
        "sizes": sizes,
        "hidden": [draw(st.sampled_from(HIDDEN)) for _ in range(depth - 1)],
        "cost": cost,
        "output": draw(st.sampled_from(outputs)),
        "biases": [draw(st.booleans()) for _ in range(depth)],
        "rows": draw(st.integers(1, 9)),
        "weighted": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


@pytest.mark.slow
@given(random_problems())
def test_random_networks_agree_with_autograd(backend: Backend, problem: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        autograd = pytest.importorskip("autograd", reason="the oracle, autograd, is not installed")
        import autograd.numpy as anp
    rng = np.random.default_rng(problem["seed"])
    rows, cost = problem["rows"], COSTS[problem["cost"]]
    keys = ("hidden", "output", "cost", "biases")
    net = network(problem["sizes"], **{key: problem[key] for key in keys}, backend=backend)
    values = rng.normal(0, 0.6, net.layout.size)
    net.parameters[...] = backend.asarray(values)
    x = rng.normal(size=(rows, net.sizes[0]))
    y = targets_for(cost, (rows, net.sizes[-1])) + (0.01 if cost.targets == "real" else 0)
    weights = rng.uniform(size=rows) if problem["weighted"] else None

    sigmas, costs = oracle_functions(anp)
    share = np.full(rows, 1 / rows) if weights is None else weights / weights.sum()
    names = [*problem["hidden"], problem["output"]]

    def mean_cost(theta: Array, a: Array) -> Array:
        for (w, b), name in zip(net.layout.views(theta), names, strict=True):
            z = anp.dot(a, w.T)
            a = sigmas[name](z if b is None else z + b)
        return anp.sum(share * anp.sum(costs[cost.name](a, y), axis=1))

    expected_cost = mean_cost(values, x)
    by_parameters = autograd.grad(mean_cost, 0)(values, x)
    by_inputs = autograd.grad(mean_cost, 1)(values, x)
    bp = net.backprop(x if rows > 1 else x[0], y, weights)
    assert bp.cost == pytest.approx(expected_cost, rel=1e-10)
    for actual, expected in (
        (host(net, bp.gradient), by_parameters),
        (bp.input_gradient, by_inputs),
    ):
        scale = max(float(np.linalg.norm(expected)), 1e-3)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-9 * scale)
