"""How the update of a step is cut: by layers, wide ones beside the backward pass, or by their rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from ..layers import Layout
from .layer_rates import LayerRates

__all__ = ["LEAST_WEIGHTS", "UpdatePart", "UpdateParts"]

LEAST_WEIGHTS = 2**20
"""The fewest weights of a layer that is updated by itself: to update 4 MiB takes longer than a launch."""

ALIGNED = 16
"""Parts begin at multiples of this, so that kernels go over them in vectors, as over the whole."""


class UpdatePart(NamedTuple):
    """A part of the flat array of parameters that is updated at once.

    Attributes
    ----------
    place : slice
        Where it is.
    factor : int
        The place of its factor of the learning rate in `LayerRates.distinct`; 0 is that of factor 1.
    """

    place: slice
    factor: int = 0


@dataclass(frozen=True)
class UpdateParts:
    """The parts of the flat array of parameters that are updated one by one.

    Attributes
    ----------
    beside : mapping of int to UpdatePart
        The weights of layers that are updated beside the backward pass of the layers below, without a few
        weights at their ends.
    after : sequence of UpdatePart
        Everything else that is trained: it is updated when the backward pass has ended.
    """

    beside: Mapping[int, UpdatePart]
    after: Sequence[UpdatePart]

    @classmethod
    def whole(cls, layout: Layout) -> UpdateParts:
        """Update everything after the backward pass, in one part."""
        return cls({}, [UpdatePart(slice(0, layout.size))])

    @classmethod
    def by_layer(cls, layout: Layout) -> UpdateParts:
        """Update wide layers beside the backward pass, except the first layer: it ends with that layer."""
        ends, beside = layout.weight_ends, dict[int, UpdatePart]()
        for k in range(1, len(ends) - 1):
            if ends[k + 1] - ends[k] >= LEAST_WEIGHTS:
                first, last = -(-ends[k] // ALIGNED), ends[k + 1] // ALIGNED
                beside[k] = UpdatePart(slice(first * ALIGNED, last * ALIGNED))
        places = [part.place for part in beside.values()]
        starts, stops = [0, *(p.stop for p in places)], [*(p.start for p in places), layout.size]
        between = zip(starts, stops, strict=True)
        after = [UpdatePart(slice(start, stop)) for start, stop in between if start < stop]
        return cls(beside, after)

    @classmethod
    def by_rate(cls, layout: Layout, rates: LayerRates) -> UpdateParts:
        """Update neighbours of one factor together, after the backward pass; leave out frozen layers.

        With factor 1 for every layer, this is `whole`.
        """
        after: list[UpdatePart] = []
        for ends in (layout.weight_ends, layout.bias_ends):
            for (start, stop), factor in zip(pairwise(ends), rates.of_layers, strict=True):
                if factor == 0 or start == stop:
                    continue
                number = rates.distinct.index(factor)
                first = start
                if after and (after[-1].place.stop, after[-1].factor) == (start, number):
                    first = after.pop().place.start
                after.append(UpdatePart(slice(first, stop), number))
        return cls({}, after)
