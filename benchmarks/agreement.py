"""Check that a contender computes what it should, against backprop in float64 in plain NumPy.

Every contender gets the same weights and batch. It must agree with the reference on four things: the
cost, the predictions, the gradient, and the weights after three steps of the optimizer. The gradient is
what the first SGD step at learning rate 1 subtracts from the weights. A contender whose call makes several
steps makes those three in one call. One that only predicts is checked on its predictions. A contender that
disagrees is an error in the report and has no figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..kernels.typing import Array
from .contenders.base import Contender
from .tasks import OPTIMIZERS, Architecture, OptimizerSettings, Weights

if TYPE_CHECKING:
    from .contenders import Predictor

__all__ = ["TOLERANCES", "Outcome", "difference", "observe", "reference"]

TOLERANCES = {"cost": 1e-5, "predictions": 1e-4, "gradient": 1e-4, "three steps": 2e-2}
"""Largest relative differences from the reference that are accepted.

They are at least ten times the differences that float32 contenders have shown. Three steps differ most:
Adam moves a weight by a full step even if its gradient is lost in rounding, and a moved weight may switch a
relu. A missing momentum or a wrong learning rate differs far more."""

CHECKED = {
    "sgd": replace(OPTIMIZERS["sgd"], learning_rate=1e-2),
    "adam": replace(OPTIMIZERS["adam"], learning_rate=1e-3),
}
"""The rates are larger than in measurements, so that three steps move weights well beyond rounding."""


_erf = np.vectorize(math.erf, [np.float64])


def _gelu_derivative(z: Array) -> Array:
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + _erf(z / math.sqrt(2))) + z * density


def _silu_derivative(z: Array) -> Array:
    sigmoid = 1 / (1 + np.exp(-z))
    return sigmoid * (1 + z * (1 - sigmoid))


ACTIVATIONS: Mapping[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(z.dtype)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "gelu": (lambda z: 0.5 * z * (1 + _erf(z / math.sqrt(2))), _gelu_derivative),
    "silu": (lambda z: z / (1 + np.exp(-z)), _silu_derivative),
}
"""Each hidden activation of the reference, and its derivative, as functions of z."""


@dataclass(frozen=True)
class Outcome:
    """What is compared with the reference; None is what a contender that only predicts does not have.

    Attributes
    ----------
    predictions : array of shape (distinct rows, n_out)
        The predictions before any update.
    cost : float or None
        The cost before any update.
    gradient : array of shape (parameters,) or None
        The gradient of the cost, flat.
    three_steps : array of shape (parameters,) or None
        The weights after three steps minus those before, flat.
    """

    predictions: Array
    cost: float | None = None
    gradient: Array | None = None
    three_steps: Array | None = None


@lru_cache(4)
def reference(architecture: Architecture, optimizer: str, batch_size: int) -> Outcome:
    """Compute the outcome by the textbook equations, in float64."""
    batch = architecture.batch(batch_size)
    x = batch.x[: batch.distinct].astype(np.float64)
    targets = [t[: batch.distinct] for t in batch.targets]
    start = [(w.astype(np.float64), b.astype(np.float64)) for w, b in architecture.weights()]
    cost, gradient, predictions = _backprop(architecture, start, x, targets[0])
    settings = CHECKED[optimizer]
    moved = start
    state = [np.zeros_like(flatten(start)) for _ in range(2)]
    for step in range(3):
        g = flatten(_backprop(architecture, moved, x, targets[step % 2])[1])
        change = -settings.learning_rate * _direction(settings, g, state, step + 1)
        moved = _add(moved, change)
    return Outcome(predictions, cost, flatten(gradient), flatten(moved) - flatten(start))


def observe(
    contender: Predictor, architecture: Architecture, optimizer: str, batch_size: int
) -> Outcome:
    """Observe the outcome of a contender; load its batch and optimizer anew before it is measured."""
    batch, start = architecture.batch(batch_size), flatten(architecture.weights())
    contender.load(architecture, replace(OPTIMIZERS["sgd"], learning_rate=1.0), batch)
    predictions = np.array(contender.predict_to_numpy()[: batch.distinct])
    if not isinstance(contender, Contender):
        return Outcome(predictions)
    contender.steps(1)
    cost = contender.cost()
    gradient = start - flatten(contender.parameters())
    contender.load(architecture, CHECKED[optimizer], batch)
    contender.steps(3)
    return Outcome(predictions, cost, gradient, flatten(contender.parameters()) - start)


def difference(outcome: Outcome, expected: Outcome) -> str:
    """Say in words what disagrees; "" if nothing does."""
    wrong = []
    for what, tolerance in TOLERANCES.items():
        if getattr(outcome, what.replace(" ", "_")) is None:
            continue
        got = np.asarray(getattr(outcome, what.replace(" ", "_")), np.float64)
        right = np.asarray(getattr(expected, what.replace(" ", "_")), np.float64)
        if got.shape != right.shape:
            wrong.append(f"{what} of shape {got.shape}, expected {right.shape}")
            continue
        error = relative_error(got, right)
        if not error <= tolerance:
            wrong.append(f"{what} by {error:.1e} (tolerance {tolerance:.0e})")
    return f"differs from the float64 reference: {', '.join(wrong)}" if wrong else ""


def relative_error(got: Array, right: Array) -> float:
    """Compute ‖got − right‖ / ‖right‖."""
    return float(np.linalg.norm(got - right) / max(float(np.linalg.norm(right)), 1e-30))


def flatten(weights: Weights) -> Array:
    """Join all weights and biases into one float64 array."""
    return np.concatenate([np.asarray(p, np.float64).ravel() for layer in weights for p in layer])


def _add(weights: Weights, change: Array) -> Weights:
    moved, place = [], 0
    for layer in weights:
        parts = []
        for part in layer:
            parts.append(part + change[place : place + part.size].reshape(part.shape))
            place += part.size
        moved.append((parts[0], parts[1]))
    return moved


def _backprop(
    architecture: Architecture, weights: Weights, x: Array, y: Array
) -> tuple[float, Weights, Array]:
    """Compute the mean cost, its gradient, and the outputs."""
    activation, derivative = ACTIVATIONS[architecture.hidden]
    a, hidden_z = [x], []
    for w, b in weights[:-1]:
        hidden_z.append(a[-1] @ w.T + b)
        a.append(activation(hidden_z[-1]))
    w, b = weights[-1]
    z, rows = a[-1] @ w.T + b, np.arange(len(x))
    if architecture.is_classifier:
        log_sum = np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)) + z.max(1)
        outputs = np.exp(z - log_sum[:, None])
        cost = float(np.mean(log_sum - z[rows, y]))
        delta = outputs.copy()
        delta[rows, y] -= 1
    else:
        outputs, delta = z, z - y
        cost = float(0.5 * np.mean((delta**2).sum(1)))
    delta /= len(x)
    gradient: Weights = []
    for k in reversed(range(len(weights))):
        gradient.insert(0, (delta.T @ a[k], delta.sum(0)))
        if k:
            delta = (delta @ weights[k][0]) * derivative(hidden_z[k - 1])
    return cost, gradient, outputs


def _direction(settings: OptimizerSettings, g: Array, state: list[Array], step: int) -> Array:
    """Compute what a step subtracts, divided by the learning rate."""
    if settings.name == "sgd":
        state[0] = settings.momentum * state[0] + g
        return state[0]
    state[0] = 0.9 * state[0] + 0.1 * g
    state[1] = 0.999 * state[1] + 0.001 * g**2
    return state[0] / (1 - 0.9**step) / (np.sqrt(state[1] / (1 - 0.999**step)) + 1e-8)
