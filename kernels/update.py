"""An optimizer's update of the flat parameter array, in one pass.

It has the three forms that bias_activate.py describes.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np

from .blocks import Scratch, flat_blocks
from .cpu.calls import Call, bind
from .cpu.texts import update_text
from .cuda import launch
from .cuda.text import text_of
from .matmul import LaunchMemory
from .typing import Array, Bound
from .update_rules import ParameterArrays, StepVariables, Update, UpdateOptions, UpdateRule

__all__ = ["update_and_advance_cuda", "update_cpu", "update_cuda", "update_numpy"]

MOST_STATES, MOST_HYPERPARAMETERS = 2, 3
"""The most state arrays and hyperparameters that update.cu and update.cpp take."""

THREADS = 128
"""The threads of a block. They are few, so that a small network's parameters use many multiprocessors."""


MOST_ARRIVING = 4096
"""The most blocks of an update that advance the counters: they arrive one after another."""


@cache
def _text(update: Update) -> str:
    """Join the text of an update that comes before its kernels."""
    return text_of("update.cuh") + update.apply_text + text_of("update_elements.cuh")


def update_cuda(
    cupy: Any, rule: UpdateRule, parameters: ParameterArrays, step: StepVariables
) -> Bound:
    """Bind the update of the parameters and the state, by update.cu."""
    size = launch.vector_size(_moved(parameters))
    types = {"T": launch.c_type(parameters.theta)}
    kernel = launch.by_vectors(cupy, "update", size, _text(rule.update), **types)
    return partial(
        kernel, (_blocks(parameters, size),), (THREADS,), _arguments(rule, parameters, step)
    )


def update_and_advance_cuda(
    cupy: Any,
    rule: UpdateRule,
    parameters: ParameterArrays,
    step: StepVariables,
    rounded: Array | None,
    memory: LaunchMemory | None,
) -> tuple[Bound, bool]:
    """Bind the update and what else ends a step, in one launch, by update_and_advance.cu.

    Parameters
    ----------
    cupy : module
        CuPy.
    rule, parameters, step
        As in `update_cuda`.
    rounded : array of shape (weights,), or None
        Memory for the rounded weights among the parameters, if they are to be rounded.
    memory : LaunchMemory or None
        The memory in which blocks count arrivals, if the counters are to advance.

    Returns
    -------
    call : callable
        The bound launch.
    advances : bool
        Whether it advances the counters. A grid of too many blocks does not.
    """
    theta, null = parameters.theta, np.uintp(0)
    written = () if rounded is None else (rounded,)
    size = launch.vector_size((*_moved(parameters), *written))
    blocks = _blocks(parameters, size)
    advances = memory is not None and blocks <= MOST_ARRIVING
    if not (advances or written):
        return update_cuda(cupy, rule, parameters, step), False
    text = _text(rule.update) + _constants(ROUNDS=bool(written), ADVANCES=advances)
    types = {"T": launch.c_type(theta), "R": launch.operand_type(rounded if written else theta)}
    kernel = launch.by_vectors(cupy, "update_and_advance", size, text, **types)
    arrivals = memory.arrivals() if advances and memory is not None else null
    more = rounded if written else null, arrivals
    arguments = (*_arguments(rule, parameters, step), *more)
    return partial(kernel, (blocks,), (THREADS,), arguments), advances


@cache
def _constants(**values: bool) -> str:
    lines = (f"constexpr bool {name} = {str(value).lower()};\n" for name, value in values.items())
    return text_of("arrive.cuh") + "".join(lines)


def _moved(parameters: ParameterArrays) -> tuple[Array, ...]:
    return parameters.theta, parameters.gradient, *parameters.state


def _blocks(parameters: ParameterArrays, size: int) -> int:
    """Count the blocks of an update whose threads update `size` elements each."""
    return -(-int(parameters.theta.size) // (size * THREADS))


def _arguments(
    rule: UpdateRule, parameters: ParameterArrays, step: StepVariables
) -> tuple[Any, ...]:
    """Return the arguments of update.cu."""
    theta, gradient, state, n_weights = parameters
    options, values = rule.options, _hyperparameters(rule)
    return (
        *(theta, gradient, *state, *(np.uintp(0),) * (MOST_STATES - len(state))),
        *(*step, np.int64(theta.size), np.int64(n_weights)),
        *(float(options.l1), float(options.l2), float(options.weight_decay)),
        *(float(options.clip_norm), float(options.clip_value), np.int32(options.skips)),
        *(*values, *(0.0,) * (MOST_HYPERPARAMETERS - len(values))),
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
    options = rule.options
    text = update_text(rule.update, plain=options == UpdateOptions())
    names = "l1", "l2", "weight_decay", "clip_norm", "clip_value", "skips"
    numbers = [float(getattr(options, name)) for name in names] + _hyperparameters(rule)
    scalars = np.zeros(len(names) + MOST_HYPERPARAMETERS)
    scalars[: len(numbers)] = numbers
    arguments = theta, gradient, *step, theta.size, n_weights, scalars, *state
    return bind("update", theta.dtype, *arguments, text=text)
