"""Optimizer updates: formula, CUDA text and NumPy twin of each, side by side.

One kernel goes over the flat parameter array once. `cuda` are statements on `T theta`, `T g` (the
gradient), the state by its names, `learning_rate`, `factor1`, `factor2` and the entry's
hyperparameters, as T and, with a trailing underscore, as float64 (in float32, 1 - 0.999 has lost two of
its seven digits); `numpy(theta, g, state, s, learning_rate, factor1, factor2, **hyperparameters)`
is its twin on one block, with `s` a tuple of two scratch arrays and `g` not to be written.

What every update shares comes first, in `PROLOGUE` and `_prepare`: the gradient is clipped (by the
global norm, then by value) and gets the derivative of the penalties, and decoupled decay shrinks the
weights. Penalties and decay leave biases alone: weights are the first `n_weights` elements. What of this is
the same for all elements is in `ONCE`.

What changes from step to step is read from a device array, row counters[1] of `rates`, (steps, 3): the
learning rate, and the two numbers that the entry's `factors` makes of it and the step. They are made on
the host, in float64, so that an element of the parameters costs none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from .blocks import Scratch, flat_blocks
from .cuda import launch
from .typing import Array, Bound

__all__ = ["UPDATES", "Update", "UpdateOptions", "update_cuda", "update_numpy"]


@dataclass(frozen=True, eq=False)
class Update:
    """One optimizer's update of the flat parameter array."""

    name: str
    formula: str
    state: tuple[str, ...]
    hyperparameters: tuple[str, ...]
    cuda: str
    numpy: Callable[..., None]
    factors: Callable[..., tuple[Any, Any]] = lambda rate, step, **hyperparameters: (0.0, 0.0)
    """(learning_rate, step, **hyperparameters) -> factor1, factor2; steps count from 1."""


@dataclass(frozen=True)
class UpdateOptions:
    """What every update can do to the gradient and the weights; the defaults do nothing."""

    l1: float = 0.0
    l2: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float = float("inf")
    clip_value: float = float("inf")
    skips: bool = False
    """Whether a gradient whose squared norm is not finite changes nothing."""

    @property
    def changes_gradient(self) -> bool:
        return self.l1 > 0 or self.l2 > 0 or min(self.clip_norm, self.clip_value) < float("inf")


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


# Sutskever et al. 2013, in the form that needs no look-ahead gradient.
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


# Kingma and Ba 2015. The state holds sums, m / (1 - β1) and v / (1 - β2), which saves each moment a
# multiplication; the factors, √(c2 / (1 - β2)) and η (1 - β1) / c1 times that, put them back. With
# weight_decay, AdamW (Loshchilov and Hutter 2019).
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


# Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms". The text names what becomes of NaN: a
# compiler made 0 of `direction * T(0)`, where it comes after two comparisons, and lost it.
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

SKIPPED = "skips && !(squared_norm[0] <= 1.7976931348623157e308)"

ONCE = """
    const double* row = &rates[3 * counters[1]];
    const T learning_rate = T(row[0]);
    const T factor1 = T(row[1]), factor2 = T(row[2]);
    const bool too_long = squared_norm[0] > clip_norm * clip_norm;
    const T clip_factor = too_long ? T(clip_norm / sqrt(squared_norm[0])) : T(1), largest = T(clip_value);
    const T ridge = T(l2), lasso = T(l1), shrinkage = learning_rate * T(weight_decay);
"""

PROLOGUE = """
    T g = gradient * clip_factor;
    g = g > largest ? largest : g < -largest ? -largest : g;
    if (i < n_weights) {
        g += ridge * theta + (theta > T(0) ? lasso : theta < T(0) ? -lasso : T(0));
        theta -= shrinkage * theta;
    }
"""

UPDATE_ELEMENTS = """
constexpr int STATES = %(count)d;

// Elements `start` to start + VECTOR - 1, unless the step is skipped.
template <typename T> __device__ __forceinline__ bool update_elements(
    Vector<T>& thetas, const Vector<T>& gradients, Vector<T>* states, long long start, const double* rates,
    const long long* counters, const double* squared_norm, long long n_weights, double l1, double l2,
    double weight_decay, double clip_norm, double clip_value, int skips, const double* hyperparameters) {
    const bool skipped = %(skipped)s;
    %(constants)s
    %(once)s
    for (int k = 0; k < VECTOR; ++k) {
        const long long i = start + k;
        T& theta = thetas.value[k];
        const T gradient = gradients.value[k];
        %(states)s
        %(prologue)s
        %(update)s
    }
    return !skipped;
}
"""

MOST_STATES, MOST_HYPERPARAMETERS = 2, 3
"""What update.cu has room for."""

THREADS = 128
"""Of a block: few, so that the parameters of a small network keep many multiprocessors busy."""


@cache
def _update_kernel(cupy: Any, update: Update, size: int, c_type: str) -> Any:
    """The kernel whose threads have `size` elements each."""
    text = UPDATE_ELEMENTS % {
        "count": len(update.state),
        "skipped": SKIPPED,
        "constants": "".join(
            f"const double {name}_ = hyperparameters[{k}]; const T {name} = T({name}_);"
            for k, name in enumerate(update.hyperparameters)
        ),
        "once": ONCE,
        "states": "".join(
            f"T& {name} = states[{k}].value[k];" for k, name in enumerate(update.state)
        ),
        "prologue": PROLOGUE,
        "update": update.cuda,
    }
    return launch.by_vectors(cupy, "update", size, text, T=c_type)


def update_cuda(
    cupy: Any,
    update: Update,
    hyperparameters: Mapping[str, float],
    options: UpdateOptions,
    theta: Array,
    gradient: Array,
    state: tuple[Array, ...],
    n_weights: int,
    rates: Array,
    counters: Array,
    squared_norm: Array,
) -> Bound:
    """Bind the update of `theta` and `state`, flat arrays of one type, in one pass, by update.cu."""
    size = launch.vector_size((theta, gradient, *state))
    kernel = _update_kernel(cupy, update, size, launch.c_type(theta))
    values = [float(hyperparameters[name]) for name in update.hyperparameters]
    return partial(
        kernel,
        (-(-theta.size // (size * THREADS)),),
        (THREADS,),
        (
            *(theta, gradient, *state, *(np.uintp(0),) * (MOST_STATES - len(state))),
            *(rates, counters, squared_norm, np.int64(theta.size), np.int64(n_weights)),
            *(float(options.l1), float(options.l2), float(options.weight_decay)),
            *(float(options.clip_norm), float(options.clip_value), np.int32(options.skips)),
            *(*values, *(0.0,) * (MOST_HYPERPARAMETERS - len(values))),
        ),
    )


def _prepare(
    theta: Array,
    g: Array,
    s: Array,
    options: UpdateOptions,
    is_weights: bool,
    norm: float,
    rate: float,
) -> Array:
    """The gradient that the update sees: `g` itself where nothing changes it, else a copy in s[2]."""
    if options.changes_gradient:
        scale = options.clip_norm / norm if norm > options.clip_norm else 1.0
        np.multiply(g, scale, out=s[2])
        g = s[2]
        if options.clip_value < float("inf"):
            np.clip(g, -options.clip_value, options.clip_value, out=g)
        if is_weights and options.l2:
            np.multiply(theta, options.l2, out=s[0])
            np.add(g, s[0], out=g)
        if is_weights and options.l1:
            np.sign(theta, out=s[0])
            np.multiply(s[0], options.l1, out=s[0])
            np.add(g, s[0], out=g)
    if is_weights and options.weight_decay:
        np.multiply(theta, 1 - rate * options.weight_decay, out=theta)
    return g


def update_numpy(
    update: Update,
    hyperparameters: Mapping[str, float],
    options: UpdateOptions,
    theta: Array,
    gradient: Array,
    state: tuple[Array, ...],
    n_weights: int,
    rates: Array,
    counters: Array,
    squared_norm: Array,
    scratch: Scratch,
) -> Bound:
    """Bind the twin of `update_cuda`: block after block, every pass of the update on each."""
    blocks = []
    weights = min(max(n_weights, 0), theta.size)
    for first, size in ((0, weights), (weights, theta.size - weights)):
        for part in flat_blocks(size):
            cut = slice(first + part.start, first + part.stop)
            s = scratch.arrays(3, (part.stop - part.start,))
            blocks.append(
                (theta[cut], gradient[cut], tuple(v[cut] for v in state), s, first < weights)
            )

    def run() -> None:
        if options.skips and not squared_norm[0] < float("inf"):
            return
        rate, factor1, factor2 = rates[int(counters[1])].tolist()
        norm = float(squared_norm[0]) ** 0.5
        for theta_block, g_block, state_block, s, is_weights in blocks:
            g = _prepare(theta_block, g_block, s, options, is_weights, norm, rate)
            update.numpy(theta_block, g, state_block, s, rate, factor1, factor2, **hyperparameters)

    return run
