"""The cost of each row, Σ_j c(a_j, y_j), in the three forms of bias_activate.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from .blocks import Scratch, row_blocks
from .cpu.calls import Call, bind
from .cpu.texts import parameters_of, row_costs_text
from .cuda import launch
from .output_head import OutputHead
from .softmax import by_warps
from .typing import Array, Bound

__all__ = ["row_costs_cpu", "row_costs_cuda", "row_costs_numpy"]


def row_costs_cuda(cupy: Any, head: OutputHead, z: Array, a: Array, y: Array, out: Array) -> Bound:
    """Bind out = the cost of each row, (rows,), by row_costs.cu."""
    kernel = launch.raw(cupy, "row_costs.cu", "row_costs", head.cost_text, T=launch.c_type(a))
    return by_warps(kernel, a.shape, z, a, y, out)


def row_costs_numpy(
    head: OutputHead, z: Array, a: Array, y: Array, out: Array, scratch: Scratch
) -> Bound:
    """Bind the twin of `row_costs_cuda`."""
    cost = head.cost
    function = (head.is_canonical and cost.canonical_numpy) or cost.numpy
    assert function is not None
    blocks = []
    for rows in row_blocks(*a.shape):
        terms, *s = scratch.arrays(3, a[rows].shape)
        blocks.append((z[rows], a[rows], y[rows], out[rows], terms, tuple(s)))

    def run() -> None:
        for z_block, a_block, y_block, out_block, terms, s in blocks:
            function(z_block, a_block, y_block, terms, s, **cost.parameters)
            np.add.reduce(terms, axis=1, out=out_block)

    return run


def row_costs_cpu(head: OutputHead, z: Array, a: Array, y: Array, out: Array) -> Call | None:
    """Bind out = the cost of each row, (rows,), by row_costs.cpp."""
    text = row_costs_text(head)
    if not text:
        return None
    arguments = z, a, y, out, *a.shape, parameters_of(None, head.cost)
    return bind("row_costs", a.dtype, *arguments, text=text)
