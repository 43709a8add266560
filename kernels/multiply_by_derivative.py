"""δ = product ⊙ σ′, the second half of the error propagation, in the three forms of bias_activate.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from .activations import Activation
from .blocks import Scratch, flat_blocks
from .cpu.calls import Call, bind
from .cpu.texts import activation_text, parameters_of
from .cuda import launch
from .typing import Array, Bound

__all__ = [
    "multiply_by_derivative_cpu",
    "multiply_by_derivative_cuda",
    "multiply_by_derivative_numpy",
]


def multiply_by_derivative_cuda(
    cupy: Any, activation: Activation, v: Array, product: Array, delta: Array, form: str = "rows"
) -> Bound:
    """Bind delta = product ⊙ σ′(v); v is the a or z that σ′ reads.

    `form` is one of `launch.FORMS`: "rows", by multiply_by_derivative.cu, or "elementwise", by the kernel
    below.
    """
    arrays, text = (v, product, delta), activation.derivative_text
    if form == "elementwise":
        operation = "store(delta, compute(product) * derivative(compute(v)));"
        parameters = "V v, P product", "D delta"
        name = "multiply_by_derivative"
        return launch.by_elements(cupy, name, *parameters, operation, text)(*arrays)
    types = dict(zip("VPD", map(launch.operand_type, arrays), strict=True))
    return launch.by_rows(cupy, "multiply_by_derivative", v.shape, arrays, text, **types)(*arrays)


def multiply_by_derivative_numpy(
    activation: Activation, v: Array, delta: Array, scratch: Scratch
) -> Bound:
    """Bind δ ← δ ⊙ σ′(v)."""
    function, parameters = activation.numpy_derivative, activation.parameters
    assert function is not None
    v, delta = v.reshape(-1), delta.reshape(-1)
    blocks = []
    for part in flat_blocks(delta.size):
        derivative, *s = scratch.arrays(3, delta[part].shape)
        blocks.append((v[part], delta[part], derivative, tuple(s)))

    def run() -> None:
        for v_block, delta_block, derivative, s in blocks:
            function(v_block, derivative, s, **parameters)
            np.multiply(delta_block, derivative, out=delta_block)

    return run


def multiply_by_derivative_cpu(activation: Activation, v: Array, delta: Array) -> Call | None:
    """Bind δ ← δ ⊙ σ′(v), by activation.cpp."""
    text = activation_text(activation)
    if not text:
        return None
    arguments = v, delta, delta.size, parameters_of(activation)
    return bind("multiply_by_derivative", delta.dtype, *arguments, text=text)
