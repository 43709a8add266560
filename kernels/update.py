"""An optimizer's update of the flat parameter array, in one pass.

It has the three forms that bias_activate.py describes.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np

from .blocks import Scratch, flat_blocks
from .cpu.build import text_of as cpu_text_of
from .cpu.calls import Call, bind
from .cuda import launch
from .cuda.text import text_of
from .typing import Array, Bound
from .update_rules import ParameterArrays, StepVariables, Update, UpdateOptions, UpdateRule

__all__ = ["update_cpu", "update_cuda", "update_numpy"]

MOST_STATES, MOST_HYPERPARAMETERS = 2, 3
"""The most state arrays and hyperparameters that update.cu and update.cpp take."""

THREADS = 128
"""The threads of a block. They are few, so that a small network's parameters use many multiprocessors."""


@cache
def _kernel(cupy: Any, update: Update, size: int, c_type: str) -> Any:
    """Build the kernel whose threads update `size` elements each."""
    text = text_of("update.cuh") + update.apply_text
    return launch.by_vectors(cupy, "update", size, text, T=c_type)


def update_cuda(
    cupy: Any, rule: UpdateRule, parameters: ParameterArrays, step: StepVariables
) -> Bound:
    """Bind the update of the parameters and the state, by update.cu."""
    theta, gradient, state, n_weights = parameters
    size = launch.vector_size((theta, gradient, *state))
    kernel = _kernel(cupy, rule.update, size, launch.c_type(theta))
    options = rule.options
    values = _hyperparameters(rule)
    return partial(
        kernel,
        (-(-theta.size // (size * THREADS)),),
        (THREADS,),
        (
            *(theta, gradient, *state, *(np.uintp(0),) * (MOST_STATES - len(state))),
            *(*step, np.int64(theta.size), np.int64(n_weights)),
            *(float(options.l1), float(options.l2), float(options.weight_decay)),
            *(float(options.clip_norm), float(options.clip_value), np.int32(options.skips)),
            *(*values, *(0.0,) * (MOST_HYPERPARAMETERS - len(values))),
        ),
    )


def _hyperparameters(rule: UpdateRule) -> list[float]:
    return [float(rule.hyperparameters[name]) for name in rule.update.hyperparameters]


def _prepare(
    theta: Array,
    g: Array,
    s: Array,
    options: UpdateOptions,
    is_weights: bool,
    norm: float,
    rate: float,
    penalties: float,
) -> Array:
    """Decay `theta`; return the clipped and penalised gradient, in s[2], or `g` if it is not changed."""
    if options.changes_gradient:
        scale = options.clip_norm / norm if norm > options.clip_norm else 1.0
        np.multiply(g, scale, out=s[2])
        g = s[2]
        if options.clip_value < float("inf"):
            np.clip(g, -options.clip_value, options.clip_value, out=g)
        if is_weights and options.l2:
            np.multiply(theta, options.l2 * penalties, out=s[0])
            np.add(g, s[0], out=g)
        if is_weights and options.l1:
            np.sign(theta, out=s[0])
            np.multiply(s[0], options.l1 * penalties, out=s[0])
            np.add(g, s[0], out=g)
    if is_weights and options.weight_decay:
        np.multiply(theta, 1 - rate * options.weight_decay, out=theta)
    return g


def update_numpy(
    rule: UpdateRule, parameters: ParameterArrays, step: StepVariables, scratch: Scratch
) -> Bound:
    """Bind the twin of `update_cuda`. It makes all passes of the update over one block, then the next."""
    theta, gradient, state, n_weights = parameters
    rates, counters, squared_norm = step
    update, options, hyperparameters = rule.update, rule.options, rule.hyperparameters
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
        rate, factor1, factor2, penalties = rates[int(counters[1])].tolist()
        norm = float(squared_norm[0]) ** 0.5
        for theta_block, g_block, state_block, s, is_weights in blocks:
            g = _prepare(theta_block, g_block, s, options, is_weights, norm, rate, penalties)
            update.numpy(theta_block, g, state_block, s, rate, factor1, factor2, **hyperparameters)

    return run


def update_cpu(rule: UpdateRule, parameters: ParameterArrays, step: StepVariables) -> Call | None:
    """Bind the update of the parameters and the state, by update.cpp.

    If the rule has no clipping, penalty or decay, their code is left out, and the compiler can vectorise
    the loop over the parameters.
    """
    theta, gradient, state, n_weights = parameters
    options, plain = rule.options, rule.options == UpdateOptions()
    text = "".join(
        (
            text_of("update.cuh"),
            rule.update.apply_text,
            f"constexpr bool PLAIN = {str(plain).lower()};\n",
            cpu_text_of("update.cpp"),
        )
    )
    names = "l1", "l2", "weight_decay", "clip_norm", "clip_value", "skips"
    numbers = [float(getattr(options, name)) for name in names] + _hyperparameters(rule)
    scalars = np.zeros(len(names) + MOST_HYPERPARAMETERS)
    scalars[: len(numbers)] = numbers
    arguments = theta, gradient, *step, theta.size, n_weights, scalars, *state
    return bind("update", theta.dtype, *arguments, text=text)
