"""Large products whose next operation cuBLASLt computes in the same launch.

Forward, an epilogue adds the biases and applies relu or gelu; the output is stored once, in the operands'
type. Backward, it multiplies by the derivative. In the gradients, it adds up the rows of δ. All else stays
two launches: the functions return None. So do they if something reads what the epilogue would not store,
such as z of another activation than gelu, or a wider z than the output.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ...kernels import Activation, Precision
from ...kernels.matmul import MOST_INNER, LaunchMemory
from ...kernels.precision import convert_cuda
from ...kernels.typing import Array, Bound
from .cublaslt import CublasLt, Ending
from .recording import Recording

__all__ = ["Epilogues"]

ACTIVATED = {"identity": "", "relu": "RELU", "gelu_tanh": "GELU"}
"""The epilogue of an activation; cuBLASLt's gelu is the one with tanh."""

ALIGNED = 16
"""What the address of biases must be a multiple of, in bytes."""

MASK_BITS, GELU_COLUMNS = 128, 8
"""What the length of a mask's rows, in bits, and that of the rows of gelu's z must be multiples of."""


class Epilogues:
    """A layer's products, each with the operation after it.

    Parameters
    ----------
    cupy : module
        CuPy.
    library : ctypes library
        The result of `cublaslt.load_library`.
    recording : Recording
        The notes about the current step, which has cuBLASLt's workspace and relu's masks.
    memory : LaunchMemory
        Memory for launches.
    """

    def __init__(self, cupy: Any, library: Any, recording: Recording, memory: LaunchMemory) -> None:
        self._cupy, self._recording, self._memory = cupy, recording, memory
        self._products = CublasLt(cupy, library)

    def bind_forward(
        self,
        activation: Activation,
        x: Array,
        weights: Array,
        biases: Array | None,
        z: Array,
        a: Array,
        precision: Precision | None,
        keep_z: bool,
    ) -> Bound | None:
        """Bind a = σ(x wᵀ + b) and, if it is kept, z; None if cuBLASLt does not compute it.

        Within a step relu leaves its mask, for `bind_backward`.
        """
        name, place = ACTIVATED.get(activation.name), (a.data.ptr, a.shape)
        mask = self._recording.masks.pop(place, None)
        keeps = keep_z and a is not z
        nothing_follows = name == "" and biases is None and a.dtype == z.dtype
        if name is None or nothing_follows or (keeps and name != "GELU"):
            return None
        ending = Ending(name)
        if keeps:
            if z.dtype != a.dtype or z.shape[1] % GELU_COLUMNS:
                return None
            ending = Ending(f"{name}_AUX", aux=z, aux_leading=z.shape[1])
        elif name == "RELU" and self._recording.is_busy:
            rows, columns = a.shape
            bits = -(-columns // MASK_BITS) * MASK_BITS
            if mask is None:  # otherwise an earlier block's mask, which has been read
                mask = self._memory.temporary(rows * bits // 8, np.uint8).reshape(rows, bits // 8)
            ending = Ending(f"{name}_AUX", aux=mask, aux_leading=bits)
        operands = x, weights, biases, a, precision
        bound = self._with_biases(*operands, ending)
        if name == "RELU" and ending.aux is not None:
            if bound is None:
                return self._with_biases(*operands, Ending(name))
            self._recording.masks[place] = ending.aux
        return bound

    def _with_biases(
        self,
        x: Array,
        weights: Array,
        biases: Array | None,
        a: Array,
        precision: Precision | None,
        ending: Ending,
    ) -> Bound | None:
        """Bind the forward product with biases.

        NVIDIA's table of types has only biases of the output's type. If cuBLASLt refuses float32 biases
        beside a narrow output, they are rounded to its type first, as the weights are.
        """
        product = partial(self._bind, x, weights, a, False, True, precision)
        if biases is None:
            return product(ending)
        name = f"{ending.name}_BIAS".lstrip("_")
        bound = product(ending._replace(name=name, bias=biases))
        if bound is not None or a.dtype == biases.dtype:
            return bound
        narrow = self._memory.temporary(biases.size, a.dtype)
        bound = product(ending._replace(name=name, bias=narrow))
        if bound is None:
            return None
        return partial(_in_turn, convert_cuda(self._cupy, biases, narrow), bound)

    def bind_backward(
        self,
        activation: Activation,
        delta: Array,
        weights: Array,
        v: Array,
        out: Array,
        precision: Precision | None,
    ) -> Bound | None:
        """Bind out = (δ w) ⊙ σ′(v); None if cuBLASLt does not compute it.

        relu's derivative comes from the mask of the same step's forward pass, gelu's from z.
        """
        name, ending = ACTIVATED.get(activation.name), None
        if name == "RELU":
            mask = self._recording.masks.get((v.data.ptr, v.shape))
            if mask is not None:
                ending = Ending("DRELU", aux=mask, aux_leading=mask.shape[1] * 8)
        elif name == "GELU":
            if v.dtype == out.dtype and v.shape[1] % GELU_COLUMNS == 0:
                ending = Ending("DGELU", aux=v, aux_leading=v.shape[1])
        elif name == "" and out.dtype.char != "f":  # else nothing follows the product
            ending = Ending("")
        if ending is None:
            return None
        return self._bind(delta, weights, out, False, False, precision, ending)

    def bind_gradients(
        self,
        delta: Array,
        a: Array,
        weights: Array,
        biases: Array | None,
        beta: float,
        precision: Precision | None,
    ) -> Bound | None:
        """Bind weights = δᵀ a and biases = column sums of δ; None if cuBLASLt does not compute it.

        Over more than MOST_INNER rows column_sums.cu loses fewer digits.
        """
        if beta or biases is None or len(delta) > MOST_INNER:
            return None
        return self._bind(delta, a, weights, True, False, precision, Ending("BGRADB", bias=biases))

    def _bind(
        self,
        a: Array,
        b: Array,
        out: Array,
        transpose_a: bool,
        transpose_b: bool,
        precision: Precision | None,
        ending: Ending,
    ) -> Bound | None:
        workspace = self._recording.workspace_for_cublaslt(self._cupy)
        # cuBLASLt is told how the matrices are aligned, but not the biases.
        if workspace is None or (ending.bias is not None and ending.bias.data.ptr % ALIGNED):
            return None
        return self._products.bind(
            *(a, b, out, transpose_a, transpose_b, ending, workspace),
            tf32=precision is not None and a.dtype.char == "f",
            asks=self._recording.held is None,
        )


def _in_turn(first: Bound, second: Bound) -> None:
    first()
    second()
