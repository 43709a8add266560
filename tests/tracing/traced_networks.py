"""What tests of traces share: small networks, rows for them, and every equation recomputed by NumPy."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from gpubp import Activation, Cost, Network, Trace


def small(sizes: tuple[int, ...] = (3, 4, 2), **options: Any) -> Network:
    """Make a float64 network with nonzero biases; an unmatched output and cost give no warning."""
    given = {"hidden": "tanh", "dtype": "float64", "backend": "numpy", "seed": 0} | options
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="cost .* is defined for outputs")
        network = Network(sizes, **given)
    rng = np.random.default_rng(1)
    for layer in network.layers:
        if layer.biases is not None:
            layer.biases = rng.normal(0, 0.3, layer.n_out)
    return network


def row_for(network: Network, seed: int = 2) -> tuple[Any, Any]:
    """Draw inputs, and a target that the cost takes."""
    rng = np.random.default_rng(seed)
    n_out, kind = network.sizes[-1], network.cost_function.targets
    if kind == "class":
        y = rng.dirichlet(np.ones(n_out))
    elif kind == "unit":
        y = rng.uniform(size=n_out)
    else:
        y = rng.uniform(1, 2, n_out)
    return rng.normal(size=network.sizes[0]), y


def softsign() -> Activation:
    return Activation.from_functions(
        "softsign", lambda xp, z: z / (1 + abs(z)), lambda xp, a: (1 - abs(a)) ** 2, reads="a"
    )


def fourth_power() -> Cost:
    return Cost.from_functions(
        "fourth_power", lambda xp, a, y: (a - y) ** 4, lambda xp, a, y: 4 * (a - y) ** 3
    )


def check_equations(trace: Trace, rtol: float = 1e-10) -> None:
    """Recompute each step from what it reads; what it reads must have been computed before."""
    given = {"x", "y"} | {name for name in trace.values if name[0] in "wb" and name[1:].isdecimal()}
    values = {name: None if v is None else np.float64(v) for name, v in trace.values.items()}
    for step in trace.steps:
        assert set(step.reads) <= given, step
        given.add(step.writes)
        reads = [values[name] for name in step.reads]
        expected = recomputed(step.operation, reads, trace)
        if step.operation == "cost":
            expected = sum(value for _, value in step.terms)
        if expected is not None:
            np.testing.assert_allclose(
                values[step.writes], expected, rtol=rtol, atol=rtol / 100, err_msg=step.id
            )


def recomputed(operation: str, reads: list[Any], trace: Trace) -> Any:
    """Compute a step's result; None for those that need a derivative or an activation."""
    eta = trace.learning_rate
    formulas: dict[str, Any] = {
        "affine": lambda w, a, *b: w @ a + sum(b),
        "softmax": lambda z: np.exp(z) / np.exp(z).sum(),
        "output_delta": lambda g, slope: g * slope,
        "output_delta_fused": lambda a, y: a - y,
        "output_delta_softmax": lambda a, g: a * (g - g @ a),
        "propagate": lambda w, delta: w.T @ delta,
        "delta": lambda e, slope: e * slope,
        "weight_gradient": np.outer,
        "bias_gradient": lambda delta: delta,
        "input_gradient": lambda w, delta: w.T @ delta,
        "update": lambda w, gradient, *b: w - eta * gradient,
    }
    if operation in formulas:
        return formulas[operation](*reads)
    assert operation in ("activation", "cost", "slope", "cost_derivative")
    return None
