"""A factor of the learning rate for each layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..kernels.messages import shown
from ..network.arguments import is_sequence
from ..validation import check_number

__all__ = ["LayerRates", "as_layer_rates"]


@dataclass(frozen=True)
class LayerRates:
    """The factors of the layers' learning rates.

    Attributes
    ----------
    given : tuple of float, or None
        The factor of each layer except the input; None means 1 for each.
    depth : int
        The number of layers.
    """

    given: tuple[float, ...] | None
    depth: int

    @classmethod
    def of(cls, layer_rates: Any, depth: int) -> LayerRates:
        """Check the factors of `depth` layers, and take them."""
        return cls(as_layer_rates(layer_rates, depth), depth)

    @cached_property
    def of_layers(self) -> tuple[float, ...]:
        """The factor of each layer."""
        return (1.0,) * self.depth if self.given is None else self.given

    @cached_property
    def distinct(self) -> tuple[float, ...]:
        """1, then all other factors of layers that are trained."""
        others = [factor for factor in self.of_layers if factor not in (0.0, 1.0)]
        return (1.0, *dict.fromkeys(others))

    @cached_property
    def others(self) -> list[tuple[int, float]]:
        """The factors in `distinct` but the first, each after its place there."""
        return [*enumerate(self.distinct)][1:]

    @cached_property
    def trained(self) -> tuple[bool, ...]:
        """For each layer, whether it is trained: its factor is not 0."""
        return tuple(factor > 0 for factor in self.of_layers)


def as_layer_rates(layer_rates: Any, depth: int) -> tuple[float, ...] | None:
    """Check the factors of the learning rate of `depth` layers.

    Parameters
    ----------
    layer_rates : sequence of float, or None
        A factor for each layer except the input, not negative and not all 0; None means 1 for each.
    depth : int
        The number of layers.

    Returns
    -------
    tuple of float, or None
        The factors.

    Raises
    ------
    TypeError
        If it is not a sequence.
    ValueError
        If it has another length, a factor is not such a number, or all are 0.
    """
    if layer_rates is None:
        return None
    if not is_sequence(layer_rates):
        raise TypeError(
            f"layer_rates is {shown(layer_rates)}, expected None or a sequence of {depth} numbers, one"
            " for each layer"
        )
    if len(layer_rates) != depth:
        raise ValueError(
            f"layer_rates has {len(layer_rates)} entries, expected {depth}, one for each layer except"
            " the input"
        )
    for k, factor in enumerate(layer_rates):
        check_number(f"layer_rates[{k}]", factor, 0, float("inf"))
    factors = tuple(float(factor) for factor in layer_rates)
    if not any(factors):
        raise ValueError(
            f"layer_rates is {shown(factors)}, expected a number above 0 for a layer: nothing would be"
            " trained"
        )
    return factors
