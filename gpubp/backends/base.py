"""The interface of a backend: everything that the engine calls.

A backend has three parts: a place for arrays (`Arrays`, in arrays.py), the layout and capture of a step
(`Steps`, in steps.py), and the kernels (`Verbs`, in verbs.py). A verb's arrays belong to the backend and
are C-contiguous. They have the network's dtype, except for labels, counters and float64 sums. A batch has
shape (rows, n). A verb writes its results to arrays that are its arguments.

A value that changes from step to step is never an argument of a verb. It is stored in an array, and the
verb reads it when it runs. `counters` is int64, (2,): the steps since training began, and the step within
the epoch (or among those prepared together). `rates` is float64, (steps, 4): for each step the learning
rate, the two factors of the update, and the factor of the penalties. So a captured step can be replayed.
"""

from __future__ import annotations

from typing import Any

from ..kernels.row_block import RowBlock, Targets
from ..kernels.sparse_rows import SparseBlock, SparseRows
from ..kernels.typing import Array
from .arrays import Arrays
from .rows import Rows
from .steps import RowLayout, Steps
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


class Backend(Arrays, Steps, Verbs):
    """A backend: where a network's arrays are, and what computes on them. `get_backend` finds it by name.

    Code of your own needs the arrays: `xp`, `device`, `use`, `empty`, `zeros`, `asarray`, `to_numpy`,
    `owns`, `free_memory` and `synchronize`. All other methods are the interface that gpubp's engine calls.
    It serves those who add an array library, and changes without notice.

    A copy of a backend is the backend itself, and it is pickled by its name.

    Attributes
    ----------
    name : str
        The backend's name for `get_backend`.
    xp : module
        The array namespace: NumPy, or a module that follows NumPy's interface.

    See Also
    --------
    gpubp.get_backend : Finds a backend by its name.
    backend_of : Finds the backend of an array.

    Examples
    --------
    >>> import gpubp, pickle
    >>> backend = gpubp.Network((2, 1), backend="numpy", seed=0).backend
    >>> backend.name, backend.xp.__name__
    ('numpy', 'numpy')
    >>> pickle.loads(pickle.dumps(backend)) is backend
    True
    """

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
