"""Check single batches before a training step."""

from __future__ import annotations

from operator import is_
from typing import Any

from ..arrays import move
from ..backends import Array, Backend, SparseRows
from ..data_validation import check_shapes, check_weights
from ..network import Network
from ..sparse import place

__all__ = ["BatchCheck"]


class BatchCheck:
    """Checks the shapes and types of single batches, not their values, and moves them to the device.

    The check takes longer than a small step. So it is skipped for a batch with the shapes and dtypes of the
    last one, if the last one needed no conversion. Sparse rows are checked in every step.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._passed: list[Any] = []

    def __call__(
        self, x: Any, y: Any, sample_weight: Any
    ) -> tuple[Array | SparseRows, Array, Array | None]:
        """Return the batch as a step needs it.

        Raises
        ------
        ValueError
            If the shape or type of an array does not fit the network.
        """
        network, given = self._network, (x, y, sample_weight)
        backend = network.backend
        described = [
            _describe(x, backend),
            _describe(y, backend),
            _describe(sample_weight, backend),
        ]
        if described == self._passed:
            return given
        x, y = check_shapes(x, y, network.cost_function, network.sizes)
        weights = check_weights(sample_weight, len(x), values=False)
        x, y = place(x, backend, network.dtype, network.precision), move(y, backend)
        taken = x, y, None if weights is None else move(weights, backend)
        as_it_is = None not in described and all(map(is_, given, taken))
        self._passed = described if as_it_is else []
        return taken


def _describe(array: Any, backend: Backend) -> tuple[Any, Any] | None:
    """Return shape and dtype of a dense array on the backend's device; None for all others."""
    if array is None:
        return (), None
    if type(array) is backend.xp.ndarray and array.flags.c_contiguous and backend.owns(array):
        return array.shape, array.dtype
    return None
