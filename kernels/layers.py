"""The elementwise kernels of a layer: bias and activation, derivative, output delta.

Each is a pair: `*_cuda(cupy, ...)` binds the CUDA kernel to its arrays, and `*_numpy(..., scratch)` the
NumPy twin (see blocks.py). What is bound is a call without arguments. Arrays are C-contiguous; a batch is
(rows, n).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from .activations import Activation
from .blocks import Scratch, flat_blocks, row_blocks
from .costs import Cost
from .cuda import launch
from .typing import Array, Bound

__all__ = [
    "bias_activate_cuda",
    "bias_activate_numpy",
    "multiply_by_derivative_cuda",
    "multiply_by_derivative_numpy",
    "output_delta_cuda",
    "output_delta_numpy",
]


# Entries of the tables are asked for their text at every launch: it is put together once.


@cache
def activation_text(activation: Activation) -> str:
    return launch.device_function("activation", "z", activation.cuda, activation.parameters)


@cache
def derivative_text(activation: Activation) -> str:
    return launch.device_function(
        "derivative", activation.reads, activation.cuda_derivative, activation.parameters
    )


# a = σ(z + b); where z is needed again it keeps z + b, else a takes its place.


def bias_activate_cuda(
    cupy: Any,
    activation: Activation,
    z: Array,
    biases: Array | None,
    a: Array,
    keep_z: bool = True,
) -> Bound:
    """Bind a = σ(z + b), by bias_activate.cu, leaving z + b in `z` if it is to be kept and `a` is not
    `z`."""
    types = {"T": launch.c_type(z), "A": launch.operand_type(a)}
    text = activation_text(activation)
    kernel = launch.by_rows(cupy, "bias_activate", z.shape, (z, a), text, **types)
    keeps = np.bool_(keep_z and a is not z)
    return kernel(np.uintp(0) if biases is None else biases, z, a, keeps)


def bias_activate_numpy(
    activation: Activation, z: Array, biases: Array | None, a: Array, scratch: Scratch
) -> Bound:
    """Bind a = σ(z + b), leaving z + b in `z` unless `a` is `z`."""
    function, parameters = activation.numpy, activation.parameters
    assert function is not None
    blocks = []
    for rows in row_blocks(*z.shape):
        z_block = z[rows]
        a_block = z_block if a is z else a[rows]
        blocks.append((z_block, a_block, scratch.arrays(2, z_block.shape)))

    def run() -> None:
        for z_block, a_block, s in blocks:
            if biases is not None:
                np.add(z_block, biases, out=z_block)
            function(z_block, a_block, s, **parameters)

    return run


# δ = product ⊙ σ′, the second half of the error propagation.


def multiply_by_derivative_cuda(
    cupy: Any, activation: Activation, v: Array, product: Array, delta: Array
) -> Bound:
    """Bind delta = product ⊙ σ′(v), by multiply_by_derivative.cu; v is what the derivative reads."""
    arrays = v, product, delta
    types = dict(zip("VPD", map(launch.operand_type, arrays), strict=True))
    text = derivative_text(activation)
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


# δ^L = scale ∂C/∂a ⊙ σ′(z), or scale (a - y) where cost and activation are a canonical pair; softmax
# with another cost gets scale ∂C/∂a here and its Jacobian product from softmax_jacobian.cu.


@cache
def delta_text(cost: Cost, activation: Activation) -> str:
    """CUDA text of `delta_of(a, y, scale, v)`: an element of the output delta, or of scale ∂C/∂a where
    the activation goes by rows."""
    text, formula = "", "a - y"
    if cost.canonical != activation.name:
        text = launch.device_function(
            "cost_derivative", "a y", cost.cuda_derivative, cost.parameters
        )
        formula = "cost_derivative(a, y)"
        if not activation.rowwise:
            text += derivative_text(activation)
            formula += " * derivative(v)"
    return text + launch.device_function("delta_of", "a y scale v", f"return ({formula}) * scale;")


def output_delta_cuda(
    cupy: Any,
    cost: Cost,
    activation: Activation,
    a: Array,
    y: Array,
    scale: Array,
    v: Array,
    delta: Array,
) -> Bound:
    """Bind δ^L by output_delta.cu; scale is (rows,), v what the activation's derivative reads."""
    text = delta_text(cost, activation)
    arrays = a, y, v, delta
    kernel = launch.by_rows(cupy, "output_delta", a.shape, arrays, text, T=launch.c_type(a))
    return kernel(a, y, scale, v, delta)


def output_delta_numpy(
    cost: Cost,
    activation: Activation,
    a: Array,
    y: Array,
    scale: Array,
    v: Array,
    delta: Array,
    scratch: Scratch,
) -> Bound:
    """Bind the twin of `output_delta_cuda`; scale is (rows,)."""
    canonical = cost.canonical == activation.name
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
                if sigma_derivative is not None:
                    sigma_derivative(v_block, derivative, s, **activation.parameters)
                    np.multiply(delta_block, derivative, out=delta_block)
            np.multiply(delta_block, scale_block, out=delta_block)

    return run
