"""Products that do not read what the others write, in one launch, by joined.cu.

The time of a small product is mostly that of its launch. So a layer's gradients are computed in the launch
that propagates its δ, and the mean cost beside the first of these. The twins are those of the operations
one by one. It has not run on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from .cuda import launch
from .matmul import THREADS, Product, product_text
from .row_block import order_of
from .typing import Array, Bound

__all__ = ["MOST_COSTS", "CostSum", "joined_cuda"]

MOST_COSTS = 8192
"""The most rows whose costs one block adds beside products."""


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


def joined_cuda(cupy: Any, products: Sequence[Product], cost: CostSum | None) -> Bound:
    """Bind one product or two, and the sum unless it is None."""
    first, second = products[0], products[-1]
    structs = "".join(
        f"struct {name} {{\n{product.constants}}};\n"
        for name, product in (("First", first), ("Second", second))
    )
    flags = f"constexpr bool SECOND = {len(products) - 1}, SUMS = {int(cost is not None)};\n"
    kernel = _kernel(
        cupy, structs + flags, first.text + (second.text if second is not first else "")
    )
    places = [(*p.arguments, *map(np.int32, p.grid)) for p in (first, second)]
    blocks = sum(int(np.prod(product.grid)) for product in products) + (cost is not None)
    order = list(order_of(first.x))
    if cost is None:
        sums = np.uintp(0), np.uintp(0), np.int32(0), np.uintp(0)
    else:
        order[0] = cost.counters
        sums = cost.costs, cost.scale, np.int32(cost.costs.size), cost.out
    return partial(kernel, (blocks,), (THREADS,), (*places[0], *places[1], *order, *sums))


@cache
def _kernel(cupy: Any, structs: str, text: str) -> Any:
    return launch.raw(cupy, "joined.cu", "joined", product_text(text) + structs)
