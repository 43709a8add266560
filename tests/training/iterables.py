"""Rows, cut into batches, and a trainer for them: what the tests of fits on iterables share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from small_networks import classes, classifier

from gpubp import Adam, Trainer
from gpubp.backends import Backend

ROWS, BATCH = 22, 4
X, Y = classes(ROWS, seed=3)
WEIGHTS = np.random.default_rng(5).uniform(0.5, 2, ROWS)
VALIDATION = classes(9, seed=4)


def cut(*arrays: Any, size: int = BATCH) -> list[tuple[Any, ...]]:
    """Cut arrays into batches, which are tuples."""
    return [
        tuple(array[k : k + size] for array in arrays) for k in range(0, arrays[0].shape[0], size)
    ]


class NoLength:
    """An iterable that can be iterated again, but has no length."""

    def __init__(self, batches: list[Any]) -> None:
        self._batches, self.begun = batches, 0

    def __iter__(self) -> Iterator[Any]:
        self.begun += 1
        yield from self._batches


def trainer(backend: Backend | str = "numpy", **options: Any) -> Trainer:
    network = classifier(backend, dropout=0.3)
    options = {"optimizer": Adam(), "batch_size": BATCH, "shuffle": False, "seed": 7, **options}
    return Trainer(network, **options)
