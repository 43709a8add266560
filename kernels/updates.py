"""Optimizer updates: formula, CUDA text and NumPy twin of each, side by side.

One kernel goes over the flat parameter array once (update.py). `cuda` holds the statements for one element.
They use `T theta`, `T g` (the gradient), the state by its names, `learning_rate`, `factor1`, `factor2` and
the entry's hyperparameters. Each hyperparameter is there as T and, with a trailing underscore, as float64,
because in float32 1 - 0.999 has lost two of its seven digits. The twin `numpy(theta, g, state, s,
learning_rate, factor1, factor2, **hyperparameters)` updates one block. `s` is a tuple of two scratch
arrays. The twin must not write to `g`.

Before these statements every update does the same. It clips the gradient, by the global norm and then by
value. It adds the derivative of the penalties to the gradient. Decoupled decay shrinks the weights.
Penalties and decay do not change biases: weights are the first `n_weights` elements.

The numbers that change from step to step are read from a device array: row counters[1] of `rates`, which
has shape (steps, 4). A row holds the learning rate, two numbers that the entry's `factors` computes from
the learning rate and the step, and the factor of the penalties. The host computes all rows in float64, once
for all parameters.

To add an update, add an entry here and an optimizer that uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .typing import Array
from .update_rules import Update

__all__ = ["UPDATES"]


def _sgd(
    theta: Array, g: Array, state: tuple[()], s: Any, rate: float, factor1: float, factor2: float
) -> None:
    np.multiply(g, rate, out=s[0])
    np.subtract(theta, s[0], out=theta)


SGD = Update(
    name="sgd",
    formula="θ ← θ - η g",
    state=(),
    hyperparameters=(),
    cuda="theta -= learning_rate * g;",
    numpy=_sgd,
)


def _momentum(
    theta: Array,
    g: Array,
    state: Any,
    s: Any,
    rate: float,
    factor1: float,
    factor2: float,
    *,
    momentum: float,
) -> None:
    (velocity,) = state
    np.multiply(velocity, momentum, out=velocity)
    np.add(velocity, g, out=velocity)
    np.multiply(velocity, rate, out=s[0])
    np.subtract(theta, s[0], out=theta)


MOMENTUM = Update(
    name="momentum",
    formula="v ← μ v + g, θ ← θ - η v",
    state=("velocity",),
    hyperparameters=("momentum",),
    cuda="velocity = momentum * velocity + g; theta -= learning_rate * velocity;",
    numpy=_momentum,
)


def _nesterov(
    theta: Array,
    g: Array,
    state: Any,
    s: Any,
    rate: float,
    factor1: float,
    factor2: float,
    *,
    momentum: float,
) -> None:
    (velocity,) = state
    np.multiply(velocity, momentum, out=velocity)
    np.add(velocity, g, out=velocity)
    np.multiply(velocity, momentum, out=s[0])
    np.add(s[0], g, out=s[0])
    np.multiply(s[0], rate, out=s[0])
    np.subtract(theta, s[0], out=theta)


# Sutskever et al. 2013, rewritten without a look-ahead gradient.
NESTEROV = Update(
    name="nesterov",
    formula="v ← μ v + g, θ ← θ - η (g + μ v)",
    state=("velocity",),
    hyperparameters=("momentum",),
    cuda="""
        velocity = momentum * velocity + g;
        theta -= learning_rate * (g + momentum * velocity);
    """,
    numpy=_nesterov,
)


def _momentum_with_rate(
    theta: Array,
    g: Array,
    state: Any,
    s: Any,
    rate: float,
    factor1: float,
    factor2: float,
    *,
    momentum: float,
) -> None:
    (velocity,) = state
    np.multiply(g, rate, out=s[0])
    np.multiply(velocity, momentum, out=velocity)
    np.add(velocity, s[0], out=velocity)
    np.subtract(theta, velocity, out=theta)


# Sutskever et al. 2013. While η stays the same, it takes the steps of `MOMENTUM`. When η changes, earlier
# gradients keep the η that they came with.
MOMENTUM_WITH_RATE = Update(
    name="momentum_with_rate",
    formula="v ← μ v + η g, θ ← θ - v",
    state=("velocity",),
    hyperparameters=("momentum",),
    cuda="velocity = momentum * velocity + learning_rate * g; theta -= velocity;",
    numpy=_momentum_with_rate,
)


def _nesterov_with_rate(
    theta: Array,
    g: Array,
    state: Any,
    s: Any,
    rate: float,
    factor1: float,
    factor2: float,
    *,
    momentum: float,
) -> None:
    (velocity,) = state
    np.multiply(g, rate, out=s[0])
    np.multiply(velocity, momentum, out=velocity)
    np.add(velocity, s[0], out=velocity)
    np.multiply(velocity, momentum, out=s[1])
    np.add(s[1], s[0], out=s[0])
    np.subtract(theta, s[0], out=theta)


NESTEROV_WITH_RATE = Update(
    name="nesterov_with_rate",
    formula="v ← μ v + η g, θ ← θ - (η g + μ v)",
    state=("velocity",),
    hyperparameters=("momentum",),
    cuda="""
        velocity = momentum * velocity + learning_rate * g;
        theta -= learning_rate * g + momentum * velocity;
    """,
    numpy=_nesterov_with_rate,
)


def _adam(
    theta: Array,
    g: Array,
    state: Any,
    s: Any,
    rate: float,
    factor1: float,
    factor2: float,
    *,
    beta1: float,
    beta2: float,
    epsilon: float,
) -> None:
    first, second = state
    np.multiply(first, beta1, out=first)
    np.add(first, g, out=first)
    np.multiply(g, g, out=s[0])
    np.multiply(second, beta2, out=second)
    np.add(second, s[0], out=second)
    np.sqrt(second, out=s[0])
    np.add(s[0], epsilon * factor2, out=s[0])
    np.divide(first, s[0], out=s[0])
    np.multiply(s[0], factor1, out=s[0])
    np.subtract(theta, s[0], out=theta)


def _adam_factors(
    rate: Any, step: Any, *, beta1: float, beta2: float, epsilon: float
) -> tuple[Any, Any]:
    root = np.sqrt((1 - beta2**step) / (1 - beta2))
    return rate * (1 - beta1) / (1 - beta1**step) * root, root


# Kingma and Ba 2015; with weight_decay, AdamW (Loshchilov and Hutter 2019). The state holds the sums m / (1
# - β1) and v / (1 - β2), which saves a multiplication for each moment. factor2 = √(c2 / (1 - β2)) and
# factor1 = factor2 η (1 - β1) / c1 bring the missing multiplications back.
ADAM = Update(
    name="adam",
    formula="m ← β1 m + (1 - β1) g, v ← β2 v + (1 - β2) g², θ ← θ - η (m / c1) / (√(v / c2) + ε)",
    state=("first", "second"),
    hyperparameters=("beta1", "beta2", "epsilon"),
    cuda="""
        first = beta1 * first + g;
        second = beta2 * second + g * g;
        theta -= quotient(factor1 * first, sqrt(second) + epsilon * factor2);
    """,
    numpy=_adam,
    factors=_adam_factors,
)


def _adam_hat_factors(
    rate: Any, step: Any, *, beta1: float, beta2: float, epsilon: float
) -> tuple[Any, Any]:
    factor1, _ = _adam_factors(rate, step, beta1=beta1, beta2=beta2, epsilon=epsilon)
    return factor1, 1 / np.sqrt(1 - beta2)


# The form of section 2 of Kingma and Ba's paper, whose ε is not divided by √c2. Only factor2 differs.
ADAM_HAT = replace(
    ADAM,
    name="adam_hat",
    formula="m ← β1 m + (1 - β1) g, v ← β2 v + (1 - β2) g², θ ← θ - η (√c2 / c1) m / (√v + ε)",
    factors=_adam_hat_factors,
)


def _rmsprop(
    theta: Array,
    g: Array,
    state: Any,
    s: Any,
    rate: float,
    factor1: float,
    factor2: float,
    *,
    decay: float,
    epsilon: float,
) -> None:
    (square,) = state
    np.multiply(g, g, out=s[0])
    np.multiply(s[0], 1 - decay, out=s[0])
    np.multiply(square, decay, out=square)
    np.add(square, s[0], out=square)
    np.sqrt(square, out=s[0])
    np.add(s[0], epsilon, out=s[0])
    np.divide(g, s[0], out=s[0])
    np.multiply(s[0], rate, out=s[0])
    np.subtract(theta, s[0], out=theta)


# Tieleman and Hinton 2012.
RMSPROP = Update(
    name="rmsprop",
    formula="v ← ρ v + (1 - ρ) g², θ ← θ - η g / (√v + ε)",
    state=("square",),
    hyperparameters=("decay", "epsilon"),
    cuda="""
        square = decay * square + T(1.0 - decay_) * g * g;
        theta -= quotient(learning_rate * g, sqrt(square) + epsilon);
    """,
    numpy=_rmsprop,
)


def _lion(
    theta: Array,
    g: Array,
    state: Any,
    s: Any,
    rate: float,
    factor1: float,
    factor2: float,
    *,
    beta1: float,
    beta2: float,
) -> None:
    (average,) = state
    np.multiply(average, beta1, out=s[0])
    np.multiply(g, 1 - beta1, out=s[1])
    np.add(s[0], s[1], out=s[0])
    np.sign(s[0], out=s[0])
    np.multiply(s[0], rate, out=s[0])
    np.subtract(theta, s[0], out=theta)
    np.multiply(g, 1 - beta2, out=s[1])
    np.multiply(average, beta2, out=average)
    np.add(average, s[1], out=average)


# Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms". The CUDA text passes NaN on explicitly:
# a compiler replaced `direction * T(0)`, after the two comparisons, by 0, and NaN was lost.
LION = Update(
    name="lion",
    formula="θ ← θ - η sign(β1 m + (1 - β1) g), m ← β2 m + (1 - β2) g",
    state=("average",),
    hyperparameters=("beta1", "beta2"),
    cuda="""
        const T direction = beta1 * average + T(1.0 - beta1_) * g;
        theta -= learning_rate *
            (direction == direction ? T((direction > T(0)) - (direction < T(0))) : direction);
        average = beta2 * average + T(1.0 - beta2_) * g;
    """,
    numpy=_lion,
)

UPDATES: Mapping[str, Update] = {
    update.name: update
    for update in (
        SGD, MOMENTUM, NESTEROV, MOMENTUM_WITH_RATE, NESTEROV_WITH_RATE, ADAM, ADAM_HAT, RMSPROP, LION,
    )
}  # fmt: skip
"""The updates of the built-in optimizers by name.

Examples
--------
>>> from gpubp.kernels import UPDATES
>>> UPDATES["momentum"].formula, UPDATES["momentum"].state
('v ← μ v + g, θ ← θ - η v', ('velocity',))
>>> import gpubp
>>> gpubp.SGD(0.1, momentum=0.9, nesterov=True).update is UPDATES["nesterov"]
True
"""
