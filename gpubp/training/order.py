"""The order of a data set's rows in training, and its batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..backends import Array, Backend
from .block_groups import BlockGroups
from .seeds import RandomSource
from .values import plain

__all__ = ["DataOrder"]


class DataOrder:
    """The order of the rows in an epoch. Iteration gives the indices of each batch's rows.

    A Generator draws a new order of the rows for each epoch. With a RandomState, each epoch reorders the
    order of the epoch before, as scikit-learn does; the first epoch of a fit reorders 0, 1, 2, ...

    The state between two epochs is the generator's. Within an epoch it is the state before the epoch's
    order was drawn: the same order is then drawn again. A RandomState's order needs those of all epochs
    before it, so its state is that at the start of the fit, and the number of orders drawn since. A pickle
    stores only the generator.

    Parameters
    ----------
    rng : numpy.random.Generator or numpy.random.RandomState
        The generator that shuffled orders are drawn from.

    Attributes
    ----------
    rows : int64 array of shape (rows,), on the host
        The indices of the rows in this epoch's order.
    stride : int
        The number of rows from the start of one batch to the start of the next.
    """

    def __init__(self, rng: RandomSource) -> None:
        self.rows: Any = np.arange(0)
        self._ascending: Any = self.rows
        self.stride = 1
        self._buffer: Array = None
        self._copied: Any = None  # the rows in the buffer
        self._before_epoch: Any = None
        self.rng = rng

    @property
    def rng(self) -> RandomSource:
        """The generator; if another is set, orders no longer depend on earlier ones."""
        return self._rng

    @rng.setter
    def rng(self, rng: RandomSource) -> None:
        self._rng = rng
        self.begin()

    def begin(self) -> None:
        """Begin a fit: its orders do not depend on earlier ones."""
        self._drawn = self._missing = 0
        self._unsorted: Any = np.arange(0)
        self._begun: Any = None
        if isinstance(self._rng, np.random.RandomState):
            self._begun = self.rng_state

    @property
    def rng_state(self) -> dict[str, Any]:
        """The generator's own state, for `go_back`."""
        if isinstance(self._rng, np.random.Generator):
            return dict(self._rng.bit_generator.state)
        return dict(self._rng.get_state(legacy=False))

    @property
    def _now(self) -> Any:
        """The state of a Generator, or the number of orders that a RandomState has drawn in this fit."""
        if isinstance(self._rng, np.random.Generator):
            return self._rng.bit_generator.state
        return self._drawn + self._missing

    def _described(self, state: Any) -> dict[str, Any]:
        """Return a state as a checkpoint has it; with "drawn" if it is that of a RandomState."""
        return dict(state) if self._begun is None else plain(self._begun) | {"drawn": state}

    @property
    def state(self) -> dict[str, Any]:
        """The state now."""
        return self._described(self._now)

    @property
    def drawn_from(self) -> dict[str, Any]:
        """The state before the order of this epoch was drawn."""
        return self._described(self._before_epoch)

    def go_on(self, bit_generator: np.random.BitGenerator, drawn: int | None) -> None:
        """Go on with the state of a checkpoint.

        Parameters
        ----------
        bit_generator : numpy.random.BitGenerator
            The generator with the state of the checkpoint.
        drawn : int or None
            For a RandomState, the number of orders that it has drawn since; None for a Generator.
        """
        if drawn is None:
            self.rng = np.random.Generator(bit_generator)
        else:
            self.rng = np.random.RandomState(bit_generator)
            self._missing = drawn  # `catch_up` knows how many rows there are

    def go_back(self, rng: RandomSource, state: dict[str, Any]) -> None:
        """Go back to this generator, with the `rng_state` that it had before a fit."""
        if isinstance(rng, np.random.Generator):
            rng.bit_generator.state = state
        else:
            rng.set_state(state)
        self.rng = rng

    def catch_up(self, rows: int, groups: BlockGroups | None = None) -> None:
        """Draw the orders that a RandomState had drawn before the checkpoint."""
        while self._missing:
            self._missing -= 1
            self._permuted(rows, groups)

    def draw(
        self,
        rows: int,
        stride: int,
        *,
        shuffle: bool,
        groups: BlockGroups | None = None,
        keeps_state: bool = True,
    ) -> None:
        """Draw the order of an epoch; with `keeps_state`, `drawn_from` returns the state before.

        The rows of each batch are sorted: memory and files are then read from front to back.

        Parameters
        ----------
        rows, stride : int
            The number of rows, and of those of a batch.
        shuffle : bool
            Whether to draw an order; else the rows rise.
        groups : BlockGroups, optional
            Blocks of rows that stay near each other; by default all rows are shuffled together.
        keeps_state : bool, default True
            Whether `drawn_from` is needed.
        """
        self.catch_up(rows, groups)
        self.stride, self._before_epoch = stride, self._now if keeps_state else None
        drawn = self._permuted(rows, groups) if shuffle else None
        if drawn is None or rows <= stride:
            if len(self._ascending) != rows:
                self._ascending = _counted(rows)
            self.rows = self._ascending
            return
        whole = rows // stride * stride
        drawn[:whole].reshape(-1, stride).sort(axis=1)
        drawn[whole:].sort()
        self.rows = drawn

    def pass_over(self) -> None:
        """Draw nothing, in an epoch whose batches come in an order of their own."""
        self.rows, self._before_epoch = np.arange(0), self._now

    def _permuted(self, rows: int, groups: BlockGroups | None) -> Any:
        """Draw an order whose batches are not sorted."""
        if groups is not None:
            self._drawn += 1
            return groups.permuted(self._rng)
        if isinstance(self._rng, np.random.Generator):
            return self._rng.permutation(_counted(rows))
        before = self._unsorted if len(self._unsorted) == rows else _counted(rows)
        self._unsorted = before[self._rng.permutation(rows)]
        self._drawn += 1
        return self._unsorted.copy()

    def __iter__(self) -> Iterator[Any]:
        """Yield the indices of each batch's rows."""
        for start in range(0, len(self.rows), self.stride):
            yield self.rows[start : start + self.stride]

    def on_device(self, backend: Backend) -> Array:
        """Copy the order to the device.

        It is copied to the same array in every epoch, because captured steps read it there.
        """
        if self._buffer is None or len(self._buffer) != len(self.rows):
            self._buffer, self._copied = backend.empty(len(self.rows), np.int64), None
        if self._copied is not self.rows:
            self._buffer[...] = backend.asarray(self.rows)
            self._copied = self.rows
        return self._buffer

    def __getstate__(self) -> dict[str, Any]:
        nothing = np.arange(0)
        empty = {"rows": nothing, "_ascending": nothing, "_unsorted": nothing}
        return vars(self) | empty | {"_buffer": None, "_copied": None}


def _counted(rows: int) -> Any:
    """Return 0, 1, 2, ... as int64, which is not NumPy's usual integer on every system."""
    return np.arange(rows, dtype=np.int64)
