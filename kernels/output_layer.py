"""The output layer's forward pass, δ^L and the cost of each row in one launch, by output_layer.cu.

The twins are those of the operations one by one. It has not run on a GPU.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np

from .cuda import launch
from .cuda.text import device_function
from .matmul import THREADS, LaunchMemory, Tiling, product, product_text
from .output_head import OutputHead
from .row_block import RowBlock, Targets
from .typing import Array, Bound

__all__ = ["MOST_OUTPUTS", "fits_one_launch", "output_layer_cuda"]

MOST_OUTPUTS = 64
"""The most outputs: all of a row are in one block."""

TILINGS = Tiling(32, 32, 4, 4, 64), Tiling(32, 64, 4, 4, 32)
"""The tiling for up to 32 outputs, and for more."""


def fits_one_launch(head: OutputHead, n_out: int) -> bool:
    """Whether `output_layer_cuda` computes this head: its functions have CUDA text, and rows are short."""
    elementwise = head.activation.has_cuda and bool(head.delta_text and head.cost_text)
    return n_out <= MOST_OUTPUTS and (head.is_fused or elementwise)


def output_layer_cuda(
    cupy: Any,
    head: OutputHead,
    x: Array | RowBlock,
    weights: Array,
    biases: Array | None,
    outputs: Array | None,
    targets: Targets,
    scale: Array,
    delta: Array | None,
    costs: Array | None,
    memory: LaunchMemory,
) -> Bound:
    """Bind δ^L, the costs and a^L, each unless it is None, from targets by their order.

    The arrays are those of `Verbs.output_layer`.
    """
    n_out = len(weights)
    written = targets.y if delta is None else delta
    bound = product(
        *("OUTPUT", "", x, weights, written, False, True, memory),
        v=targets.y if outputs is None else outputs,
        tiling=TILINGS[n_out > TILINGS[0].columns],
    )
    source = targets.block.rows.y
    null = np.uintp(0)
    text = ""
    if not head.is_fused:
        text = head.activation.activation_text + head.delta_text + head.cost_text
    flags = {
        "SOFTMAX": head.is_fused,
        "LABELS": targets.labels is not None,
        "READS_Z": head.activation.reads == "z",
    }
    lines = "".join(f"constexpr bool {name} = {int(flag)};\n" for name, flag in flags.items())
    struct = f"struct Only {{\n{bound.constants}}};\n"
    kernel = _kernel(cupy, struct + lines + f"typedef {launch.c_type(source)} Y;\n", text)
    p = bound.arguments
    place = np.uintp(source.data.ptr)  # a step holds no user's array, only its address
    return partial(
        kernel,
        bound.grid,
        (THREADS,),
        (
            *(p.a, p.b, *(null if array is None else array for array in (delta, outputs, biases))),
            *(p.partial, p.arrivals, p.rows, p.columns, p.inner, p.step),
            *(place, float(targets.factor), float(targets.shift)),
            *(scale, null if costs is None else costs, *targets.block.order),
        ),
    )


@cache
def _kernel(cupy: Any, constants: str, text: str) -> Any:
    for name, arguments in (("delta_of", "a y scale v"), ("cost", "z a y")):
        if f" {name}(" not in text:  # softmax with cross-entropy needs neither
            text += device_function(name, arguments, "return a;")
    return launch.raw(cupy, "output_layer.cu", "output_layer", product_text(text) + constants)
