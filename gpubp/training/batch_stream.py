"""Training data that a user's iterable gives batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import home_of, is_on_host, is_sparse, move, namespace
from ..backends import Array, Rows, SparseRows
from ..batches import drawn, is_batch, is_batches, parts_of
from ..data_validation import check_inputs, check_targets, check_weights
from ..kernels.messages import shown
from ..network import Network
from ..sparse import place as put
from .data import Dataset
from .order import DataOrder

__all__ = ["BatchStream", "are_batches", "training_data"]


def training_data(
    network: Network, x: Any, y: Any, sample_weight: Any, epochs: int, joined: int
) -> Dataset | BatchStream:
    """Take the data of a fit: x and y, or batches of both in x.

    Parameters
    ----------
    network : Network
        The network that the rows are for.
    x, y, sample_weight
        The arguments of `Trainer.fit`.
    epochs : int
        The number of epochs to come.
    joined : int
        The number of batches of an iterable that make one.

    Raises
    ------
    ValueError
        If the data do not fit the network; the message names the argument.
    """
    if not are_batches(x, y):
        return Dataset(network, x, y, sample_weight)
    if sample_weight is not None:
        raise ValueError(
            f"sample_weight is {shown(sample_weight)}, expected None, because x is an iterable: its batches"
            " are (x, y, sample_weight)"
        )
    return BatchStream(network, x, epochs, "x", joined)


def are_batches(x: Any, y: Any) -> bool:
    """Whether the arguments x and y of a fit are an iterable of batches and None."""
    if y is not None or not is_batches(x):
        return False
    if not isinstance(x, list) or not x:
        return True
    return isinstance(x[0], tuple | dict) or is_batch(x[0])  # else a list of rows


class BatchStream:
    """Batches of x, y and sample weights, which an iterable gives in each epoch.

    Batches may have any number of rows. They are checked as they come.

    Parameters
    ----------
    network : Network
        The network that the rows are for.
    batches : iterable of (x, y) or (x, y, sample_weight), or callable
        The batches of an epoch. A function returns a new iterator of them in each epoch.
    epochs : int
        The number of epochs to come.
    name : str
        The name of the argument in messages: "x" or "validation_data".
    joined : int, default 1
        The number of batches that make one.

    Attributes
    ----------
    labels, weighted, sparse : bool
        Whether the last batch has integer labels, sample weights and sparse rows.
    failed : bool
        Whether batches could not be read, or did not fit the network.

    Raises
    ------
    ValueError
        If the batches are an iterator, which gives them once, and there are several epochs; or if there are
        none.
    """

    def __init__(
        self, network: Network, batches: Any, epochs: int, name: str, joined: int = 1
    ) -> None:
        if hasattr(batches, "__next__") and epochs > 1:
            raise ValueError(
                f"{name} is {shown(batches)}, which gives its batches once, expected for {epochs} epochs a"
                " list, another iterable, or a function that returns a new iterator"
            )
        self._network, self._batches, self._name, self._joined = network, batches, name, joined
        self._prefix = "" if name == "x" else "validation "
        self.labels = self.weighted = self.sparse = self.failed = False
        self._weights: list[float] = []
        self._feed = network.backend.feed()
        if self.steps(1) == 0:
            raise ValueError(f"{name} holds no batch, expected at least one")

    def steps(self, stride: int) -> int | None:
        """Return the number of batches of an epoch, if the iterable has a length."""
        try:
            return -(-len(self._batches) // self._joined)
        except (TypeError, NotImplementedError):  # as len of a DataLoader of an iterable data set
            return None

    def draw(
        self, order: DataOrder, stride: int, shuffle: bool | str, *, keeps_state: bool
    ) -> None:
        """Draw no order: the batches come in their own."""
        order.pass_over()

    def catch_up(self, order: DataOrder, shuffle: bool | str) -> None:
        """Draw no orders."""

    def described(self, shuffle: bool | str = False) -> dict[str, Any]:
        """Describe the data for a checkpoint: by the number of batches, if it is known."""
        return {"number of batches": self.steps(1)}

    def batch_weights(self, order: DataOrder) -> list[float]:
        """Return the weights of an epoch's batches in a mean over all rows: a list that grows with them."""
        self._weights = []
        return self._weights

    def batches(
        self, rows: Rows, order: DataOrder, epoch: int, first: int = 0
    ) -> Iterator[tuple[int, int]]:
        """Set `rows` to an epoch's batches, one after another; see `Dataset.batches`.

        The batches before `first` are drawn, but `rows` is not set to them.
        """
        count = 0
        for count, size in enumerate(self._read(rows, f"in epoch {epoch + 1}"), 1):
            if count > first:
                yield size, 1
        if count < first:
            self.failed = True
            raise ValueError(
                f"{self._name} gave {count} batches in epoch {epoch + 1}, expected more than the {first}"
                " before the checkpoint"
            )
        self._check_weights()

    def chunks(self, rows: Rows, size: int, epoch: int) -> Iterator[tuple[int, float]]:
        """Set `rows` to the batches after this epoch, one after another; see `Dataset.chunks`."""
        weights = self._weights = []
        for count in self._read(rows, f"after epoch {epoch + 1}"):
            yield count, weights[-1]
        self._check_weights()

    def _check_weights(self) -> None:
        """Check that not all batches of the epoch have the weight 0."""
        if not sum(self._weights):
            self.failed = True
            raise ValueError(
                f"the sample weights of {self._name} are all zero, expected a positive one"
            )

    def _read(self, rows: Rows, when: str) -> Iterator[int]:
        """Draw and check batches, join them, set `rows` to them, and yield their numbers of rows."""
        try:
            start, parts = 0, list[_Part]()
            for _, batch, where in drawn(self._name, self._batches, f"{when}, "):
                place = f"{where}, which begins at row {start}"
                parts.append(self._checked(batch, start, place))
                start += parts[-1].count
                if len(parts) == self._joined:
                    yield self._set(rows, parts, place)
                    parts = []
            if parts:
                yield self._set(rows, parts, place)
            if not start:
                raise ValueError(f"{self._name} gave no batch ({when}), expected at least one")
        except Exception:
            self.failed = True
            raise

    def _checked(self, batch: Any, start: int, place: str) -> _Part:
        """Check a batch whose first row is the row `start` of the epoch."""
        network, name = self._network, self._prefix
        cost, dtype = network.cost_function, network.dtype
        n_in, n_out = network.sizes[0], network.sizes[-1]
        try:
            given = parts_of(self._name, batch)
            x = check_inputs(given[0], n_in, f"{name}x", finite=False)
            count = int(x.shape[0])
            places = np.arange(start, start + count)
            check_inputs(x, n_in, f"{name}x", dtype=network.input_dtype, rows=places)
            y = check_targets(given[1], cost, count, n_out, f"{name}y", dtype=dtype, rows=places)
            weights = check_weights(
                given[2], count, f"{name}sample_weight", dtype=dtype, places=places
            )
        except ValueError as error:
            raise ValueError(f"{error} ({place})") from error.__cause__
        if self._joined > 1:  # an iterable may give its next batch in the same memory
            x = x.moved(_copied) if isinstance(x, SparseRows) else _copied(x)
            y, weights = _copied(y), None if weights is None else _copied(weights)
        total = float(count) if weights is None else float(weights.sum(dtype=np.float64))
        return _Part(count, x, y, weights, total)

    def _set(self, rows: Rows, parts: list[_Part], place: str) -> int:
        """Set `rows` to the batches, which become one; return their number of rows."""
        part = parts[0]
        if len(parts) > 1:
            forms = {(is_sparse(p.x), p.y.ndim, p.weights is None) for p in parts}
            if len(forms) > 1:
                raise ValueError(
                    f"{self._name} gave batches that are not alike, expected all sparse or none, all with"
                    f" labels or none, all with sample weights or none, as accumulate adds them ({place})"
                )
            part = _Part(
                sum(p.count for p in parts),
                _joined([p.x for p in parts]),
                _joined([p.y for p in parts]),
                None if part.weights is None else _joined([p.weights for p in parts]),
                sum(p.total for p in parts),
            )
        network = self._network
        self.labels, self.weighted = part.y.ndim == 1, part.weights is not None
        self.sparse = isinstance(part.x, SparseRows)
        x = (
            put(part.x, network.backend, network.dtype, network.precision)
            if self.sparse
            else self._bring("x", part.x)
        )
        weights = None if part.weights is None else self._bring("weights", part.weights)
        rows.set(x, self._bring("y", part.y), weights)
        self._weights.append(part.total)
        return part.count

    def _bring(self, name: str, array: Array) -> Array:
        """Move an array of a batch to the device."""
        return self._feed(name, array) if is_on_host(array) else move(array, self._network.backend)


@dataclass
class _Part:
    """A checked batch: its number of rows, their arrays, and their weight in a mean over all rows."""

    count: int
    x: Array | SparseRows
    y: Array
    weights: Array | None
    total: float


def _copied(array: Array) -> Array:
    with home_of(array).use():
        return array.copy()


def _joined(arrays: list[Any]) -> Any:
    """Append arrays, or sparse rows, to each other."""
    if not isinstance(arrays[0], SparseRows):
        return namespace(arrays[0]).concatenate(arrays)
    xp = namespace(arrays[0].values)
    stored = np.cumsum([0, *(len(rows.values) for rows in arrays)]).tolist()
    starts = [rows.starts[:-1] + k for rows, k in zip(arrays, stored, strict=False)]
    return SparseRows(
        xp.concatenate([rows.values for rows in arrays]),
        xp.concatenate([rows.indices for rows in arrays]),
        xp.concatenate([*starts, xp.asarray(stored[-1:])]),
        arrays[0].columns,
    )
