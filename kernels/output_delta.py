"""δ^L = scale ∂C/∂a ⊙ σ′(z), or scale (a - y) for a canonical pair, in the three forms of bias_activate.py.

For softmax with a cost other than cross-entropy, these kernels compute scale ∂C/∂a. softmax.py then
multiplies it by the Jacobian.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .blocks import Scratch, row_blocks
from .cpu.calls import Call, bind
from .cpu.texts import output_delta_text, parameters_of
from .cuda import launch
from .output_head import OutputHead
from .typing import Array, Bound

__all__ = ["output_delta_cpu", "output_delta_cuda", "output_delta_numpy"]


def output_delta_cuda(
    cupy: Any,
    text: str,
    a: Array,
    y: Array,
    scale: Array,
    v: Array,
    delta: Array,
    form: str = "rows",
) -> Bound:
    """Bind δ^L; `text` is CUDA text of an `OutputHead`.

    `scale` has shape (rows,); `v` is the a or z that the activation's derivative reads. `form` is one of
    `launch.FORMS`: "rows", by output_delta.cu, or "elementwise", by the kernel below.
    """
    if form == "elementwise":
        parameters = "T a, T y, T scale, T v", "T delta"
        operation = "delta = delta_of(a, y, scale, v);"
        kernel = launch.by_elements(cupy, "output_delta", *parameters, operation, text)
        return kernel(a, y, scale[:, None], v, delta)
    arrays = a, y, v, delta
    kernel = launch.by_rows(cupy, "output_delta", a.shape, arrays, text, T=launch.c_type(a))
    return kernel(a, y, scale, v, delta)


def output_delta_numpy(
    head: OutputHead, a: Array, y: Array, scale: Array, v: Array, delta: Array, scratch: Scratch
) -> Bound:
    """Bind the twin of `output_delta_cuda`."""
    cost, activation, canonical = head.cost, head.activation, head.is_canonical
    cost_derivative, sigma_derivative = cost.numpy_derivative, activation.numpy_derivative
    assert cost_derivative is not None
    blocks = []
    for rows in row_blocks(*delta.shape):
        derivative, *s = scratch.arrays(3, delta[rows].shape)
        blocks.append(
            (a[rows], y[rows], scale[rows, None], v[rows], delta[rows], derivative, tuple(s))
        )

    def run() -> None:
        for a_block, y_block, scale_block, v_block, delta_block, derivative, s in blocks:
            if canonical:
                np.subtract(a_block, y_block, out=delta_block)
            else:
                cost_derivative(a_block, y_block, delta_block, s, **cost.parameters)
                if sigma_derivative is not None:  # softmax has none
                    sigma_derivative(v_block, derivative, s, **activation.parameters)
                    np.multiply(delta_block, derivative, out=delta_block)
            np.multiply(delta_block, scale_block, out=delta_block)

    return run


def output_delta_cpu(
    head: OutputHead, a: Array, y: Array, scale: Array, v: Array, delta: Array
) -> Call | None:
    """Bind δ^L, by output_delta.cpp; not where σ′ has text but σ has none, as in hidden layers."""
    activation = head.activation
    derivative_alone = activation.has_cuda_derivative and not activation.has_cuda
    text = "" if derivative_alone else output_delta_text(head)
    if not text:
        return None
    arguments = a, y, scale, v, delta, *delta.shape, parameters_of(activation, head.cost)
    return bind("output_delta", a.dtype, *arguments, text=text)
