"""Products that do not read what the others write, in one launch, by joined.cu.

The time of a small product is mostly that of its launch. So the gradients of all layers are computed in one
launch, after δ has gone through the layers, and the mean cost beside them. The twins are those of the
operations one by one. It has not run on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from .cuda import launch
from .matmul import ARRIVALS, BLOCKS, THREADS, LaunchMemory, Product, product_text
from .row_block import NO_ORDER
from .typing import Array, Bound

__all__ = ["MOST_COSTS", "MOST_PRODUCTS", "CostSum", "SharedMemory", "joined_cuda"]

MOST_COSTS = 8192
"""The most rows whose costs one block adds beside products."""

PIECES = BLOCKS // 2
"""The most pieces of a product whose inner dimension is cut; with more there are BLOCKS blocks anyway."""

MOST_PRODUCTS = ARRIVALS // PIECES
"""The most products of a launch: each counts its arrivals in a part of the same array."""

_POINTERS = "a", "b", "v", "out", "z", "biases", "partial", "arrivals"
ARGUMENTS = np.dtype(
    [
        *((name, np.uint64) for name in _POINTERS),
        *((name, np.float64) for name in ("alpha", "beta")),
        *((name, np.int32) for name in ("rows", "columns", "inner", "step")),
        *((name, np.uint32) for name in ("across", "down", "parts", "end", "form")),
    ],
    align=True,
)
"""The struct Arguments of joined.cu."""


class CostSum(NamedTuple):
    """A weighted sum of costs: out[counters[1]] += Σ scale costs, in float64.

    Attributes
    ----------
    costs, scale : array of shape (rows,)
        The cost of each row, and its weight.
    out : float64 array of shape (steps,)
        The sums.
    counters : array of int64, shape (2,)
        The step counters.
    """

    costs: Array
    scale: Array
    out: Array
    counters: Array


class SharedMemory:
    """The memory of one product of a launch, which counts its arrivals apart from the other products.

    Parameters
    ----------
    memory : LaunchMemory
        The memory of the launch.
    number : int
        The number of the product, below `MOST_PRODUCTS`.
    """

    def __init__(self, memory: LaunchMemory, number: int) -> None:
        self._memory, self._number = memory, number

    def temporary(self, size: int, dtype: Any) -> Array:
        """Return memory for one launch and for its replays."""
        return self._memory.temporary(size, dtype)

    def arrivals(self) -> Array:
        """Return zeros for this product's pieces."""
        return self._memory.arrivals()[self._number * PIECES : (self._number + 1) * PIECES]


def joined_cuda(cupy: Any, products: Sequence[Product], cost: CostSum | None = None) -> Bound:
    """Bind up to `MOST_PRODUCTS` products, and the sum unless it is None.

    Several products have `SharedMemory` each, and no common text. At most one reads rows by an order.
    """
    forms = list(dict.fromkeys(product.constants for product in products))
    listed, end = np.zeros(len(products), ARGUMENTS), 0
    for k, product in enumerate(products):
        end += int(np.prod(product.grid))
        across, down, parts = product.grid
        of_launch = {"across": across, "down": down, "parts": parts, "end": end}
        of_launch["form"] = forms.index(product.constants)
        for name, value in (product.arguments._asdict() | of_launch).items():
            is_array = hasattr(getattr(value, "data", None), "ptr")
            listed[k][name] = value.data.ptr if is_array else value
    x = next((product.x for product in products if product.x is not None), None)
    text = "".join({product.text: None for product in products})
    kernel = _kernel(cupy, tuple(forms), text, len(products), x is not None, cost is not None)
    order = list(NO_ORDER if x is None else x.order)
    sums: tuple[Any, ...] = np.uintp(0), np.uintp(0), np.int32(0), np.uintp(0)
    if cost is not None:
        order[0] = cost.counters
        sums = cost.costs, cost.scale, np.int32(cost.costs.size), cost.out
    (record,) = listed.view(
        np.dtype([("of", ARGUMENTS, len(products))])
    )  # one struct, passed by value
    held = [product.arguments for product in products]
    grid = (end + (cost is not None),)
    return partial(_Holding(kernel), grid, (THREADS,), (record, *order, *sums), *held)


@dataclass(frozen=True)
class _Holding:
    """A kernel whose launches also hold arrays, of which its arguments have only the addresses."""

    kernel: Any
    name: str = "joined"

    def __call__(self, grid: Any, block: Any, arguments: Any, *arrays: Any) -> None:
        self.kernel(grid, block, arguments)


@cache
def _kernel(
    cupy: Any, forms: tuple[str, ...], text: str, products: int, by_order: bool, sums: bool
) -> Any:
    structs = "".join(
        f"template <> struct Form<{k}> {{\n{members}}};\n" for k, members in enumerate(forms)
    )
    constants = (
        f"constexpr int FORMS = {len(forms)}, PRODUCTS = {products};\n"
        f"constexpr bool BY_ORDER = {int(by_order)}, SUMS = {int(sums)};\n"
        f"template <int K> struct Form;\n{structs}"
    )
    return launch.raw(cupy, "joined.cu", "joined", product_text(text) + constants)
