"""How the update of a step is cut: wide layers beside the backward pass, and the rest after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..layers import Layout

__all__ = ["LEAST_WEIGHTS", "UpdateParts"]

LEAST_WEIGHTS = 2**20
"""The fewest weights of a layer that is updated by itself: to update 4 MiB takes longer than a launch."""

ALIGNED = 16
"""Parts begin at multiples of this, so that kernels go over them in vectors, as over the whole."""


@dataclass(frozen=True)
class UpdateParts:
    """The parts of the flat array of parameters that are updated one by one.

    Attributes
    ----------
    beside : mapping of int to slice
        The places of the weights of layers that are updated beside the backward pass of the layers below,
        without a few weights at their ends.
    after : sequence of slice
        Everything else: it is updated when the backward pass has ended.
    """

    beside: Mapping[int, slice]
    after: Sequence[slice]

    @classmethod
    def whole(cls, layout: Layout) -> UpdateParts:
        """Update everything after the backward pass, in one part."""
        return cls({}, [slice(0, layout.size)])

    @classmethod
    def by_layer(cls, layout: Layout) -> UpdateParts:
        """Update wide layers beside the backward pass, except the first layer: it ends with that layer."""
        ends, beside = layout.weight_ends, dict[int, slice]()
        for k in range(1, len(ends) - 1):
            if ends[k + 1] - ends[k] >= LEAST_WEIGHTS:
                first, last = -(-ends[k] // ALIGNED), ends[k + 1] // ALIGNED
                beside[k] = slice(first * ALIGNED, last * ALIGNED)
        places = beside.values()
        starts, stops = [0, *(p.stop for p in places)], [*(p.start for p in places), layout.size]
        between = zip(starts, stops, strict=True)
        return cls(beside, [slice(start, stop) for start, stop in between if start < stop])
