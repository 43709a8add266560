"""Random generators of a trainer, made from its seed."""

from __future__ import annotations

import numpy as np

from ..network import Network
from ..validation import check_seed

__all__ = ["RandomSource", "draw_dropout_seed", "random_source"]

RandomSource = np.random.Generator | np.random.RandomState


def random_source(seed: int | RandomSource | None) -> RandomSource:
    """Return `seed` if it is a generator, else make one from it."""
    if isinstance(seed, np.random.Generator | np.random.RandomState):
        return seed
    if seed is not None:
        check_seed(seed)
    return np.random.default_rng(seed)


def draw_dropout_seed(rng: RandomSource, network: Network) -> int:
    """Draw a seed of dropout masks.

    A RandomState draws none for a network without dropout: it draws what scikit-learn draws.
    """
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(2**63))
    drops = any(layer.dropout for layer in network.layers)
    return int(rng.randint(2**63, dtype=np.int64)) if drops else 0
