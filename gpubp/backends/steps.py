"""The part of a backend that cuts, runs and captures a step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, TypeAlias

import numpy as np

from ..kernels import Activation, OutputHead
from ..kernels.columns import Columns
from ..kernels.typing import Bound

__all__ = ["RowLayout", "Steps"]

_NOTHING = nullcontext()


RowLayout: TypeAlias = Literal["rows", "columns", "sparse"]
"""How a block's rows lie in memory: row by row, column by column (`Columns`), or row by row with a sparse
x."""


class Steps(ABC):
    """How a step is cut, run and captured, for the engine. This is no part of the public interface.

    Attributes
    ----------
    overlaps : bool
        Whether verbs called within `beside` may run at the same time as later verbs.
    steps_at_once : int
        The number of training steps that a fit captures together by `repeat`, if nothing comes between
        them. A request to stop waits for their end.
    updates_beside : bool
        Whether to update wide layers beside the backward pass of the layers below.
    checks_rows : bool
        Whether predictions check each block of x by `check_rows`, instead of all of x before.
    """

    overlaps: bool = False
    steps_at_once: int = 1
    updates_beside: bool = False
    checks_rows: bool = False

    @abstractmethod
    def plan(
        self,
        rows: int,
        widths: Sequence[int],
        limit: int | None,
        layout: RowLayout = "rows",
        trains: bool = True,
    ) -> list[list[slice]]:
        """Cut a batch of `rows` for layers of these widths; return the blocks of each shard.

        Shards run at the same time. The blocks of a shard run one after another and share buffers. A block
        has at most `limit` rows. `trains` says whether each shard has a gradient.
        """

    def has_columns(
        self,
        rows: int,
        widths: Sequence[int],
        activations: Sequence[Activation],
        head: OutputHead | None,
        dtype: np.dtype[Any],
        drops: bool,
    ) -> bool:
        """Whether matrices of so many rows lie column by column, for layers of these widths.

        `rows` are the batch, or the most of a block. `head` is None if no cost is computed. `drops` says
        whether a layer has dropout. The matrices are then made by `columns`, and verbs take them in the
        place of arrays.
        """
        return False

    def columns(self, rows: int, n: int, dtype: Any) -> Columns:
        """Make a matrix that is not initialised and lies column by column."""
        raise NotImplementedError

    @property
    def kernels(self) -> int:
        """The number of the kernels that this thread finds; it grows when more have been compiled."""
        return 0

    def keep_kernels(self, number: int | None = None) -> AbstractContextManager[None]:
        """Return a context in which this thread finds the kernels of one `number`, and no newer ones.

        By default it is the number of an outer context, else the latest. Kernels that are compiled in the
        background may become ready at any moment; what was begun without them then ends without them.
        """
        return _NOTHING

    @abstractmethod
    def run_shards(self, functions: Sequence[Bound]) -> None:
        """Run the functions, one for each shard, at the same time; return when all have finished."""

    def beside(self) -> AbstractContextManager[None]:
        """Return a context whose verbs may run at the same time as later verbs, until `meet`.

        Verbs that may run at the same time must not write to each other's arrays.
        """
        return _NOTHING

    def meet(self) -> None:  # noqa: B027
        """Make later verbs wait for all verbs that were called within `beside`."""

    @abstractmethod
    def capture(self, step: Bound) -> Bound:
        """Capture the verbs that `step` calls; return a function that replays them without `step`.

        `step` may contain several training steps, of one network or of several, and may call what was
        captured before. The arrays' addresses must not change. Their contents and the fields of a `Rows`
        may change between replays. `step` must not write to what a `Rows` holds: a replay may copy that.
        """

    def repeat(self, captured: Bound, times: int, steps: Bound) -> Bound:
        """Capture `steps`, which does the same as `times` runs of `captured`, a captured step.

        Both use the same buffers. A backend may replay `captured` several times instead.
        """
        return self.capture(steps)

    def replay_some(self, captured: Bound, most: int) -> int:
        """Replay a captured step at least once and at most `most` times; return how often.

        A backend that can replay a step again and again without Python does so for some milliseconds. A
        request to stop waits for their end. No replay warns of an overflow: it is reported as divergence.
        Call this within a function that is `uninterrupted`.
        """
        with np.errstate(all="ignore"):
            captured()
        return 1
