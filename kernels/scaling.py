"""Loss scaling for float16, entirely on the device.

float16 has no numbers between 0 and 6e-8. So the output delta is multiplied by a large number, the loss
scale. The backward pass is linear in the output delta, and the gradient, in float32, is divided by the
scale again. A scale that is too large makes the gradient overflow. An overflowing step changes no
parameter, and the scale is halved. After many steps without overflow the scale is doubled (Micikevicius et
al. 2018, "Mixed Precision Training"). All scales are powers of two, which lose no digits.

The loss scale is a float64 array of shape (3,): the scale, its inverse, and the steps since it changed.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from .blocks import flat_blocks
from .cuda import launch
from .typing import Array, Bound

__all__ = [
    "adapt_loss_scale_cuda",
    "adapt_loss_scale_numpy",
    "fresh_loss_scale",
    "multiply_cuda",
    "multiply_numpy",
]


FIRST, LARGEST, STEPS = 2.0**16, 2.0**24, 2000
"""The first scale, the largest scale, and the number of steps without overflow after which it doubles."""

LEAST = 2.0**-64
"""The smallest scale. Training is reported as diverged long before it is reached."""


def fresh_loss_scale(scale: float = FIRST) -> Any:
    """Make the loss scale of a first step, as a NumPy array."""
    return np.array([scale, 1 / scale, 0.0])


def adapt_loss_scale_cuda(cupy: Any, loss_scale: Array, squared_norm: Array) -> Bound:
    """Bind the change of the loss scale after a gradient of this squared norm, by adapt_loss_scale.cu."""
    kernel = launch.raw(cupy, "adapt_loss_scale.cu", "adapt_loss_scale")
    limits = np.float64(STEPS), np.float64(LEAST), np.float64(LARGEST)
    return partial(kernel, (1,), (1,), (loss_scale, squared_norm, *limits))


def adapt_loss_scale_numpy(loss_scale: Array, squared_norm: Array) -> Bound:
    """Bind the twin of `adapt_loss_scale_cuda`."""

    def run() -> None:
        scale, _, since = loss_scale.tolist()
        since += 1
        if not squared_norm[0] < math.inf:
            scale, since = max(scale / 2, LEAST), 0
        elif since >= STEPS:
            scale, since = 2 * scale if scale < LARGEST else scale, 0
        loss_scale[:] = scale, 1 / scale, since

    return run


# out = factor values. The factor is read from an array when the step runs.


def multiply_cuda(cupy: Any, values: Array, factor: Array, out: Array) -> Bound:
    """Bind out = factor values; factor is float64 and has one element."""
    kernel = launch.elementwise(
        cupy, "T values, raw float64 factor", "T out", "out = values * T(factor[0]);", "multiply"
    )
    return partial(kernel, values, factor, out)


def multiply_numpy(values: Array, factor: Array, out: Array) -> Bound:
    """Bind the twin of `multiply_cuda`."""
    values, out = values.reshape(-1), out.reshape(-1)
    blocks = [(values[part], out[part]) for part in flat_blocks(values.size)]

    def run() -> None:
        number = float(factor[0])
        for values_block, out_block in blocks:
            np.multiply(values_block, number, out=out_block)

    return run
