"""The interface of a backend: everything that the engine calls.

A backend has three parts: a place for arrays (`Arrays`), the layout and capture of a step (`Steps`), and
the kernels (`Verbs`, in verbs.py). A verb's arrays belong to the backend and are C-contiguous. They have
the network's dtype, except for labels, counters and float64 sums. A batch has shape (rows, n). A verb
writes its results to arrays that are its arguments.

A value that changes from step to step is never an argument of a verb. It is stored in an array, and the
verb reads it when it runs. `counters` is int64, (2,): the steps since training began, and the step within
the epoch (or among those prepared together). `rates` is float64, (steps, 4): for each step the learning
rate, the two factors of the update, and the factor of the penalties. So a captured step can be replayed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, TypeAlias

import numpy as np

from ..kernels import Activation, OutputHead, Precision
from ..kernels.columns import Columns
from ..kernels.row_block import RowBlock, Targets
from ..kernels.sparse_rows import SparseBlock, SparseRows
from ..kernels.typing import Array, Bound
from .rows import Rows
from .verbs import Verbs

__all__ = [
    "Array",
    "Arrays",
    "Backend",
    "RowBlock",
    "RowLayout",
    "Rows",
    "SparseBlock",
    "SparseRows",
    "Steps",
    "Targets",
    "Verbs",
]

_NOTHING = nullcontext()


RowLayout: TypeAlias = Literal["rows", "columns", "sparse"]
"""How a block's rows lie in memory: row by row, column by column (`Columns`), or row by row with a sparse
x."""


class Arrays(ABC):
    """The backend's arrays: how they are made and moved.

    Attributes
    ----------
    name : str
        The backend's name for `get_backend`.
    xp : module
        The array namespace: NumPy, or a module that follows NumPy's interface.
    """

    name: str
    xp: Any

    @property
    @abstractmethod
    def device(self) -> str:
        """Description of the device, for people to read."""

    def use(self) -> AbstractContextManager[Any]:
        """Return a context that makes this backend's device current in this thread."""
        return _NOTHING

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        """Make an array that is not initialised."""
        return self.xp.empty(shape, dtype)

    def zeros(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        """Make an array of zeros."""
        return self.xp.zeros(shape, dtype)

    @abstractmethod
    def operands(self, shape: tuple[int, ...], precision: Precision) -> Array:
        """Make an array for matmul operands of this precision, in the backend's dtype for them."""

    @abstractmethod
    def asarray(self, values: Any, dtype: Any = None) -> Array:
        """Convert `values` to a contiguous array of this backend, without a copy if possible."""

    @abstractmethod
    def to_numpy(self, array: Array) -> Any:
        """Convert `array` to a NumPy array, after all work on it is done."""

    @abstractmethod
    def owns(self, array: Any) -> bool:
        """Whether `array` is an array of this backend, on its device."""

    @abstractmethod
    def free_memory(self) -> int | None:
        """Return the bytes of memory that new arrays may take; None if the system does not say."""

    def feed(self) -> Callable[[str, Any], Array]:
        """Return a function (name, values) -> array that copies NumPy arrays to the backend.

        It copies batch after batch and reuses its memory: an array is valid until the second
        later call with its name.
        """
        return lambda name, values: self.asarray(values)

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until all verbs that were called have finished."""


class Steps(ABC):
    """How a step is cut, run and captured.

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


class Backend(Arrays, Steps, Verbs):
    """A backend: arrays, steps and verbs together. `get_backend` finds it by name."""

    def __copy__(self) -> Backend:
        """Return the backend itself: its arrays belong to the one object."""
        return self

    def __deepcopy__(self, memo: Any) -> Backend:
        """Return the backend itself."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a backend by its name."""
        from . import get_backend  # noqa: PLC0415 - it imports this module

        return get_backend, (self.name,)
