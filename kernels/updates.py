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
has shape (steps, 3). A row holds the learning rate and two numbers that the entry's `factors` computes from
the learning rate and the step. The host computes all rows in float64, once for all parameters.

To add an update, add an entry here and an optimizer that uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .typing import Array

__all__ = [
    "UPDATES",
    "ParameterArrays",
    "StepVariables",
    "Update",
    "UpdateOptions",
    "UpdateRule",
]


@dataclass(frozen=True, eq=False)
class Update:
    """One optimizer's update of the flat parameter array.

    Attributes
    ----------
    name, formula : str
        The update's name, and its formula as text.
    state : tuple of str
        Names of the state arrays, which are shaped like the parameters; two at most.
    hyperparameters : tuple of str
        Names of the hyperparameters; three at most.
    cuda : str
        CUDA statements that update one element.
    numpy : callable
        The NumPy twin of `cuda`.
    factors : callable
        (learning_rate, step, **hyperparameters) -> factor1, factor2; steps count from 1.
    """

    name: str
    formula: str
    state: tuple[str, ...]
    hyperparameters: tuple[str, ...]
    cuda: str
    numpy: Callable[..., None]
    factors: Callable[..., tuple[Any, Any]] = lambda rate, step, **hyperparameters: (0.0, 0.0)

    @cached_property
    def apply_text(self) -> str:
        """CUDA text of the function `apply`, which updates one element with the statements of `cuda`."""
        states = "".join(f"T& {name} = state{k}; " for k, name in enumerate(self.state))
        numbers = "".join(
            f"const double {name}_ = hyperparameters[{k}]; const T {name} = T({name}_); "
            for k, name in enumerate(self.hyperparameters)
        )
        arguments = (
            "T& theta, const T g, T& state0, T& state1, const StepNumbers<T>& step,"
            " const double* hyperparameters"
        )
        rates = (
            "const T learning_rate = step.learning_rate, factor1 = step.factor1,"
            " factor2 = step.factor2;"
        )
        return (
            f"constexpr int STATES = {len(self.state)};\n"
            f"template <typename T> __device__ __forceinline__ void apply({arguments}) {{\n"
            f"    {rates}\n    {states}{numbers}\n    {self.cuda}\n}}\n"
        )


@dataclass(frozen=True)
class UpdateOptions:
    """Options that every update has; the defaults change nothing.

    Attributes
    ----------
    l1, l2 : float
        Factors of the penalty l1 Σ|w| + ½ l2 Σ w².
    weight_decay : float
        Factor of the decoupled decay w ← w - η weight_decay w.
    clip_norm, clip_value : float
        The largest norm of the gradient, and the largest absolute value of its elements.
    skips : bool
        Whether a step is skipped if the gradient's squared norm is not finite.
    """

    l1: float = 0.0
    l2: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float = float("inf")
    clip_value: float = float("inf")
    skips: bool = False

    @property
    def changes_gradient(self) -> bool:
        """Whether the update clips the gradient or adds penalties to it."""
        return self.l1 > 0 or self.l2 > 0 or min(self.clip_norm, self.clip_value) < float("inf")


@dataclass(frozen=True, eq=False)
class UpdateRule:
    """An update with its hyperparameters and options, which are the same in all steps.

    Attributes
    ----------
    update : Update
        The entry of `UPDATES`.
    hyperparameters : mapping of str to float
        The value of each hyperparameter of the entry.
    options : UpdateOptions
        Penalties, decay and clipping.
    """

    update: Update
    hyperparameters: Mapping[str, float]
    options: UpdateOptions = UpdateOptions()


class ParameterArrays(NamedTuple):
    """The flat arrays that an update works on, of one dtype and one size.

    Attributes
    ----------
    theta : array of shape (size,)
        The parameters, weights first.
    gradient : array of shape (size,)
        The gradient of the cost.
    state : tuple of arrays of shape (size,)
        The optimizer's state.
    n_weights : int
        The number of weights.
    """

    theta: Array
    gradient: Array
    state: tuple[Array, ...]
    n_weights: int

    def part(self, part: slice) -> ParameterArrays:
        """Return the same arrays for a part of the parameters."""
        state = tuple(array[part] for array in self.state)
        return ParameterArrays(
            self.theta[part], self.gradient[part], state, self.n_weights - part.start
        )


class StepVariables(NamedTuple):
    """Numbers that change from step to step, in arrays that a captured step reads.

    Attributes
    ----------
    rates : array of float64, shape (steps, 3)
        The learning rate and the update's two factors, for each step.
    counters : array of int64, shape (2,)
        The steps since training began, and the row of `rates` for this step.
    squared_norm : array of float64, shape (1,)
        The gradient's squared norm; read only if the rule clips by the norm or may skip a step.
    """

    rates: Array
    counters: Array
    squared_norm: Array


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
        theta -= factor1 * first / (sqrt(second) + epsilon * factor2);
    """,
    numpy=_adam,
    factors=_adam_factors,
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
        theta -= learning_rate * g / (sqrt(square) + epsilon);
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
    update.name: update for update in (SGD, MOMENTUM, NESTEROV, ADAM, RMSPROP, LION)
}
