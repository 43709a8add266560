"""Number formats that matmuls round their operands to: tf32, bfloat16 and float16.

Sums are float32. The product of two numbers with so few digits is exact in float32. The rounding of the
operands is therefore the only difference from a float32 matmul. A GPU stores the operands in the dtype
`storage`. The NumPy twin stores the rounded operands in float32 and computes the same.

Formats: NVIDIA, "NVIDIA A100 Tensor Core GPU Architecture" (2020), for tf32 and bfloat16; IEEE 754 for
float16. All round to the nearest, ties to even. (Tensor cores may truncate to tf32 instead, which doubles
`unit_roundoff`.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .blocks import Scratch, flat_blocks
from .cuda import launch
from .typing import Array, Bound

__all__ = ["PRECISIONS", "Precision", "convert_cuda", "round_numpy", "rounded"]


@dataclass(frozen=True, eq=False)
class Precision:
    """A number format of matmul operands.

    Attributes
    ----------
    name : str
        The format's name.
    digits : int
        Number of significant binary digits, including the leading one; float32 has 24.
    storage : str
        The NumPy dtype that a GPU stores operands in; uint16 holds the bits of a bfloat16.
    scaled : bool
        Whether training scales the loss (scaling.py), because numbers below 6e-5 lose digits.

    References
    ----------
    .. [1] NVIDIA (2020). "NVIDIA A100 Tensor Core GPU Architecture", for tf32 and bfloat16.
    .. [2] IEEE (2019). "IEEE Standard for Floating-Point Arithmetic", IEEE 754-2019, for float16.

    Examples
    --------
    A network with float16 operands rounds its weight 1/3 to 11 binary digits, 1365/4096:

    >>> import gpubp
    >>> network = gpubp.Network((1, 1), precision="float16", backend="numpy", seed=0)
    >>> network.parameters = [1 / 3, 0.0]
    >>> float(network.predict([[1.0]])[0, 0]) == 1365 / 4096
    True
    >>> error = 1 - 3 * 1365 / 4096
    >>> error < gpubp.kernels.PRECISIONS["float16"].unit_roundoff
    True
    """

    name: str
    digits: int
    storage: str
    scaled: bool

    @property
    def unit_roundoff(self) -> float:
        """The largest relative error of a rounded number."""
        return 2.0**-self.digits


TF32 = Precision("tf32", 11, "float32", scaled=False)
BFLOAT16 = Precision("bfloat16", 8, "uint16", scaled=False)
FLOAT16 = Precision("float16", 11, "float16", scaled=True)

PRECISIONS: Mapping[str, Precision] = {p.name: p for p in (TF32, BFLOAT16, FLOAT16)}
"""The number formats of matmul operands by name: the values of `precision` of `gpubp.Network`.

Examples
--------
>>> from gpubp.kernels import PRECISIONS
>>> for name, precision in PRECISIONS.items():
...     print(name, precision.digits, precision.unit_roundoff)
tf32 11 0.00048828125
bfloat16 8 0.00390625
float16 11 0.00048828125
"""


# Conversion and rounding.


def convert_cuda(cupy: Any, values: Array, out: Array) -> Bound:
    """Bind out = values, by convert.cu; each may be float32 or an operand's storage dtype."""
    columns = math.gcd(out.size, 1024)
    shape = out.size // columns, columns
    types = {"S": launch.operand_type(values), "T": launch.operand_type(out)}
    return launch.by_rows(cupy, "convert", shape, (values, out), **types)(values, out)


def rounded(precision: Precision, values: Array) -> Array:
    """Return float32 values rounded to the precision, on their device."""
    if precision is FLOAT16:
        return values.astype(np.float16).astype(np.float32)
    dropped = 24 - precision.digits
    below_half, kept = np.uint32(2 ** (dropped - 1) - 1), np.uint32(2**32 - 2**dropped)
    bits = values.view(np.uint32)
    # As in `_round`, which explains the steps.
    bits = (bits + ((bits >> np.uint32(dropped)) & np.uint32(1)) + below_half) & kept
    return np.where(np.isnan(values), values, bits.view(np.float32))


def round_numpy(precision: Precision, values: Array, scratch: Scratch) -> Bound:
    """Bind values ← values rounded to the precision; `values` is float32 and C-contiguous."""
    flat = values.reshape(-1)
    parts = [flat[part] for part in flat_blocks(flat.size)]
    return _round_to_half(parts) if precision is FLOAT16 else _round(precision, parts, scratch)


def _round_to_half(parts: list[Array]) -> Bound:
    half = np.empty(max((part.size for part in parts), default=0), np.float16)

    def run() -> None:
        # A number that is too large becomes infinite, without a warning, as on a GPU.
        with np.errstate(over="ignore"):
            for part in parts:
                np.copyto(half[: part.size], part, casting="same_kind")
                np.copyto(part, half[: part.size])

    return run


def _round(precision: Precision, parts: list[Array], scratch: Scratch) -> Bound:
    """Bind the rounding of float32 numbers to fewer digits, with the same range of exponents."""
    dropped = 24 - precision.digits
    place, one = np.uint32(dropped), np.uint32(1)
    below_half, kept = np.uint32(2 ** (dropped - 1) - 1), np.uint32(2**32 - 2**dropped)
    blocks = [(part, part.view(np.uint32), *scratch.arrays(1, part.shape)) for part in parts]

    def run() -> None:
        for numbers, bits, s in blocks:
            rounded = s.view(np.uint32)
            # To round half to even: add just under half of the last place, plus one bit if that place is
            # odd.
            np.right_shift(bits, place, out=rounded)
            np.bitwise_and(rounded, one, out=rounded)
            np.add(rounded, below_half, out=rounded)
            np.add(bits, rounded, out=rounded)
            # NaNs are not changed: the addition would turn a NaN whose digits are all set into a zero.
            np.bitwise_and(rounded, kept, out=bits, where=np.equal(numbers, numbers))

    return run
