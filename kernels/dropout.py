"""Dropout without a stored mask: the mask is a function of (seed, step, layer, position).

The generator is Philox4x64-10 (Salmon et al. 2011). It is counter-based: the random number of any element
can be computed alone. So the backward pass, another part of the batch and another backend compute the same
mask. The NumPy twin calls `numpy.random.Philox`, and the CUDA text follows its conventions. The first block
comes from the counter plus one. Each 64-bit word gives two float32 numbers, the low half first; each number
is made of the upper 24 bits of its half.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from .blocks import Scratch, flat_blocks
from .cpu.calls import Call, bind
from .cpu.texts import dropout_text
from .cuda import launch
from .cuda.text import text_of
from .typing import Array, Bound

__all__ = ["dropout_cpu", "dropout_cuda", "dropout_numpy", "keep_scale"]


ELEMENTS_PER_COUNTER = 8


def keep_scale(rate: float) -> float:
    """The factor 1 / (1 - rate) of elements that are not dropped.

    `rate` is rounded to float32 first, because the random numbers it is compared with are float32.
    """
    return 1 / (1 - float(np.float32(rate)))


def dropout_cuda(
    cupy: Any, x: Array, out: Array, counters: Array, seed: int, layer: int, first: int, rate: float
) -> Bound:
    """Bind out = x / (1 - rate) where an element's random number is at least `rate`, else 0, by dropout.cu.

    counters[0] is the step; `first` is the position of x's first element. `out` may be `x`.
    """
    size = 1 if first % ELEMENTS_PER_COUNTER else launch.vector_size((x, out))
    kernel = launch.by_vectors(
        cupy, "dropout", size, text_of("philox.cuh"), T=launch.operand_type(x)
    )
    threads = (first + x.size - 1) // ELEMENTS_PER_COUNTER - first // ELEMENTS_PER_COUNTER + 1
    place = np.uint64(seed), np.uint64(layer), np.int64(first), np.int64(x.size)
    factors = np.float32(rate), np.float64(keep_scale(rate))
    arguments = x, counters, *place, *factors, out
    return partial(kernel, (-(-threads // 128),), (128,), arguments)


def dropout_numpy(
    x: Array,
    out: Array,
    counters: Array,
    seed: int,
    layer: int,
    first: int,
    rate: float,
    scratch: Scratch,
) -> Bound:
    """Bind the twin of `dropout_cuda`."""
    generator = np.random.Philox(key=np.array([seed, 0], np.uint64))
    uniform = np.random.Generator(generator)
    state: Any = generator.state
    x, out = x.reshape(-1), out.reshape(-1)
    parts = list(flat_blocks(x.size))
    longest = max(part.stop - part.start for part in parts)
    numbers = np.empty(longest + ELEMENTS_PER_COUNTER, np.float32)
    rate32 = np.float32(rate)
    scale = keep_scale(rate)
    blocks = []
    for part in parts:
        counter, skip = divmod(first + part.start, ELEMENTS_PER_COUNTER)
        (mask,) = scratch.arrays(1, x[part].shape)
        drawn = numbers[: skip + mask.size]
        blocks.append((counter, drawn, drawn[skip:], mask, x[part], out[part]))

    def run() -> None:
        step = int(counters[0])
        for counter, drawn, used, mask, x_block, out_block in blocks:
            state["state"]["counter"][:] = (counter, step, layer, 0)
            generator.state = state
            uniform.random(dtype=np.float32, out=drawn)
            np.greater_equal(used, rate32, out=mask)
            np.multiply(mask, scale, out=mask)
            np.multiply(x_block, mask, out=out_block)

    return run


def dropout_cpu(
    x: Array, out: Array, counters: Array, seed: int, layer: int, first: int, rate: float
) -> Call | None:
    """Bind out = x / (1 - rate) or 0, as `dropout_cuda` does, by dropout.cpp."""
    numbers = float(np.float32(rate)), keep_scale(rate)
    arguments = x, out, counters, seed, layer, first, *numbers, x.size
    return bind("dropout", x.dtype, *arguments, text=dropout_text())
