"""The passes of a network that another library trains."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from ..arrays import as_array, move
from ..backends import Array
from .network import Network
from .predictor import Predictor
from .vjp import BackwardPasses

__all__ = ["OutsidePasses"]

DROPOUT_SEED = 0
"""The seed of all masks; the number of a step makes them different."""


class OutsidePasses:
    """Forward and backward passes of a network, with or without dropout. Threads take turns.

    Parameters
    ----------
    network : Network
        The network.

    Attributes
    ----------
    network : Network
        The network.
    drops : bool
        Whether a layer has dropout.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.drops = any(layer.dropout for layer in network.layers)

    def forward(self, x: Any, step: int | None = None) -> Array:
        """Compute the outputs, as `Network.predict` does; with a step's number, with dropout."""
        network = self.network
        if step is None:
            return network.predict(x)
        with network.backend.use():
            home, placed = network._inputs(x)
            return move(self._dropping[0](placed, lambda: None, step), home)

    def backward(
        self, x: Any, output_gradient: Any, step: int | None = None
    ) -> tuple[Array, Array | None]:
        """Compute the gradients of parameters and inputs, as `Network.vjp` does.

        Values are not checked: x was checked in the forward pass, and what is not finite in
        `output_gradient` gives gradients that are not finite. A step's number must be that of the forward
        pass: then the masks are the same.
        """
        network = self.network
        with network.backend.use(), np.errstate(all="ignore"):
            home, placed = network._inputs(x, finite=False)
            given = move(as_array("output_gradient", output_gradient), network.backend)
            back = network._back if step is None else self._dropping[1]
            gradient, inputs = back(placed, given, step)
            return gradient, None if inputs is None else move(inputs, home)

    @cached_property
    def _dropping(self) -> tuple[Predictor, BackwardPasses]:
        """The passes with dropout, each with a counter of its own."""
        network = self.network
        forward, backward = (
            network.problem(network.backend.zeros(2, np.int64), DROPOUT_SEED) for _ in range(2)
        )
        return Predictor(forward, checks=False), BackwardPasses(backward, network.layout)
