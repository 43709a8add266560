"""a = σ(z + b), the second half of a layer's forward pass.

Each operation of this folder has three forms with the same result. `*_cuda(cupy, ...)` binds the CUDA
kernel to its arrays. `*_numpy(..., scratch)` binds the NumPy twin, which works on blocks that fit a cache
(blocks.py). `*_cpu(...)` binds the kernel compiled for the CPU, or returns None if there is no such kernel.
To bind is to make a function without arguments, which runs the kernel. Arrays are C-contiguous; a batch has
shape (rows, n).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .activations import Activation
from .blocks import Scratch, row_blocks
from .cpu.calls import Call, bind
from .cpu.texts import activation_text, parameters_of
from .cuda import launch
from .typing import Array, Bound

__all__ = ["add_bias_cpu", "bias_activate_cpu", "bias_activate_cuda", "bias_activate_numpy"]


def bias_activate_cuda(
    cupy: Any,
    activation: Activation,
    z: Array,
    biases: Array | None,
    a: Array,
    keep_z: bool = True,
    form: str = "rows",
) -> Bound:
    """Bind a = σ(z + b); z + b is written to `z` if `keep_z` and `a` is not `z`.

    `form` is one of `launch.FORMS`: "rows", by bias_activate.cu, or "elementwise", by the kernel below.
    """
    text, keeps = activation.activation_text, np.bool_(keep_z and a is not z)
    if form == "elementwise":
        operation = "const T sum = z + biases; if (keeps) z = sum; store(a, activation(sum));"
        parameters = "T biases, bool keeps", "T z, A a"
        kernel = launch.by_elements(cupy, "bias_activate", *parameters, operation, text)
        return kernel(z.dtype.type(0) if biases is None else biases, keeps, z, a)
    types = {"T": launch.c_type(z), "A": launch.operand_type(a)}
    kernel = launch.by_rows(cupy, "bias_activate", z.shape, (z, a), text, **types)
    return kernel(np.uintp(0) if biases is None else biases, z, a, keeps)


def bias_activate_numpy(
    activation: Activation, z: Array, biases: Array | None, a: Array, scratch: Scratch
) -> Bound:
    """Bind a = σ(z + b); z + b is written to `z` unless `a` is `z`."""
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


def bias_activate_cpu(
    activation: Activation, z: Array, biases: Array | None, a: Array
) -> Call | None:
    """Bind a = σ(z + b), by activation.cpp; z + b is written to `z` unless `a` is `z`."""
    text = activation_text(activation)
    if not text:
        return None
    arguments = z, biases, a, *z.shape, a is z, parameters_of(activation)
    return bind("bias_activate", z.dtype, *arguments, text=text)


def add_bias_cpu(z: Array, biases: Array) -> Call | None:
    """Bind z ← z + b, by arithmetic.cpp."""
    return bind("add_bias", z.dtype, z, biases, *z.shape)
