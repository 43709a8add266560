"""Data that need not fit in memory, and data of other types and containers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from small_networks import parameters

from gpubp import Callback, Network, Trainer
from gpubp.arrays import as_array
from gpubp.backends import Backend
from gpubp.training import evaluation
from gpubp.training.data import Dataset
from gpubp.workspace import Workspace

ROWS, N_IN, N_OUT, BATCH = 17, 3, 2, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, N_IN))
LABELS = RNG.integers(0, N_OUT, ROWS)
WEIGHTS = RNG.uniform(0.5, 2, ROWS)


class Sliceable:
    """The least that a file of rows offers: a shape, and rows read on request. It counts the rows read."""

    def __init__(self, data: np.ndarray) -> None:
        self._data, self.shape = data, data.shape
        self.read: list[int] = []

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = np.array(self._data[index])
        self.read.append(len(rows))
        return rows


class SlicesOnly(Sliceable):
    def __getitem__(self, index: Any) -> np.ndarray:
        if not isinstance(index, slice):
            raise TypeError(f"only slices, not {index!r}")
        return super().__getitem__(index)


class RisingOnly(Sliceable):
    """Like an h5py dataset: the indices must increase."""

    def __getitem__(self, index: Any) -> np.ndarray:
        if not isinstance(index, slice) and not (np.diff(index) > 0).all():
            raise TypeError("Indexing elements must be in increasing order")
        return super().__getitem__(index)


class Frame:
    """Like a pandas DataFrame: an index is a column's name, and `__array__` gives the rows."""

    def __init__(self, data: np.ndarray) -> None:
        self._data, self.shape = data, data.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._data, dtype)

    def __getitem__(self, name: str) -> Any:
        raise KeyError(name)


def memmap(folder: Path, data: np.ndarray, name: str = "data") -> np.memmap:
    path = folder / f"{name}.bin"
    data.tofile(path)
    return np.memmap(path, data.dtype, mode="r", shape=data.shape)


def network_for(backend: Backend | str, dtype: str = "float64", **options: Any) -> Network:
    options = {"output": "softmax", "dropout": 0.3, **options}
    return Network((N_IN, 4, N_OUT), hidden="tanh", dtype=dtype, backend=backend, seed=0, **options)


def fitted(
    network: Network, x: Any, y: Any, weights: Any = WEIGHTS, **options: Any
) -> tuple[np.ndarray, list[float]]:
    trainer = Trainer(network, "adam", batch_size=BATCH, seed=1, **options)
    history = trainer.fit(x, y, epochs=2, sample_weight=weights, validation_data=(x, y, weights))
    return parameters(network), [*history.cost, *history.validation_cost]


@pytest.fixture(params=["memmap", "sliceable", "slices only", "rising only"])
def wrap(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    kinds = {"sliceable": Sliceable, "slices only": SlicesOnly, "rising only": RisingOnly}
    if request.param == "memmap":
        return lambda data, name="data": memmap(tmp_path, data, name)
    return lambda data, name="data": kinds[request.param](data)


@pytest.mark.slow
@pytest.mark.parametrize("shuffle", [True, False])
def test_rows_read_batch_by_batch_give_the_bits_of_an_array_in_memory(
    backend: Backend, wrap: Any, monkeypatch: pytest.MonkeyPatch, shuffle: bool
) -> None:
    monkeypatch.setattr(evaluation, "CHUNK_ROWS", 6)
    theta, costs = fitted(network_for(backend), X, LABELS, shuffle=shuffle)
    for x, y in [
        (wrap(X, "x"), LABELS),
        (wrap(X, "x"), wrap(LABELS, "y")),
        (X, wrap(LABELS, "y")),
    ]:
        other_theta, other_costs = fitted(network_for(backend), x, y, shuffle=shuffle)
        np.testing.assert_array_equal(other_theta, theta)
        assert other_costs == costs


def test_targets_of_several_columns_can_be_read_batch_by_batch_too(
    backend: Backend, wrap: Any
) -> None:
    y = RNG.normal(size=(ROWS, N_OUT))
    options = {"output": "identity"}
    theta, _ = fitted(network_for(backend, **options), X, y, None)
    other, _ = fitted(network_for(backend, **options), wrap(X, "x"), wrap(y, "y"), None)
    np.testing.assert_array_equal(other, theta)


@pytest.mark.parametrize("kind", [Sliceable, SlicesOnly])
def test_only_batches_are_read_and_each_row_once_an_epoch(kind: type[Sliceable]) -> None:
    x, y = kind(X), kind(LABELS)
    trainer = Trainer(network_for("numpy"), "sgd", batch_size=BATCH, seed=0)
    trainer.fit(x, y, epochs=3)
    for source in (x, y):
        assert sum(source.read) == 3 * ROWS
        assert max(source.read) <= BATCH
    # Rows that are not neighbours are read one by one only where nothing else works.
    if kind is Sliceable:
        assert x.read == [4, 4, 4, 4, 1] * 3


def test_an_accumulated_batch_is_read_at_once() -> None:
    x = Sliceable(X)
    trainer = Trainer(network_for("numpy"), "sgd", batch_size=BATCH, accumulate=2)
    trainer.fit(x, LABELS, epochs=1)
    assert x.read == [8, 8, 1]


@pytest.mark.parametrize("spoilt", ["x", "y"])
@pytest.mark.parametrize("part", ["training", "validation"])
def test_nan_in_a_batch_that_is_read_later_ends_the_fit_after_the_last_good_step(
    backend: Backend, tmp_path: Path, part: str, spoilt: str
) -> None:
    y = RNG.normal(size=(ROWS, N_OUT))
    wrong = {"x": X.copy(), "y": y.copy()}
    wrong[spoilt][15, 1] = np.nan
    bad = tuple(memmap(tmp_path, data, name) for name, data in wrong.items())
    train, validation = (bad, None) if part == "training" else ((X, y), bad)
    network = network_for(backend, output="identity")
    trainer = Trainer(network, "adam", batch_size=BATCH, shuffle=False, seed=1)
    other = Trainer(network_for(backend, output="identity"), "adam", seed=1)
    kind = "" if part == "training" else "validation "
    when = "in epoch 1, batch 4" if part == "training" else "after epoch 1"
    text = f"{kind}{spoilt} holds nan at [15, 1], expected finite numbers ({when})"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        trainer.fit(*train, epochs=2, validation_data=validation)
    make_steps(other, y, rows=3 * BATCH if part == "training" else ROWS)
    np.testing.assert_array_equal(parameters(network), parameters(other.network))


def make_steps(trainer: Trainer, y: np.ndarray, rows: int) -> None:
    """Train on batches of the first rows of X."""
    for start in range(0, rows, BATCH):
        trainer.step(X[start : start + BATCH], y[start : start + BATCH])


@pytest.mark.parametrize("source", [Sliceable, SlicesOnly])
@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (np.ma.masked_array, "is a masked array, expected a number everywhere"),
        (scipy.sparse.csr_array, "is sparse, expected a dense array"),
    ],
)
def test_a_batch_of_masked_or_sparse_rows_is_told(
    source: type[Sliceable], kind: Callable[[np.ndarray], Any], text: str
) -> None:
    class Other(source):  # type: ignore[valid-type, misc]
        def __getitem__(self, index: Any) -> Any:
            return kind(super().__getitem__(index))

    network = network_for("numpy")
    before = parameters(network)
    with pytest.raises(ValueError, match=f"^a batch of x {text}"):
        Trainer(network, batch_size=BATCH, seed=0).fit(Other(X), LABELS, epochs=1)
    np.testing.assert_array_equal(parameters(network), before)


def test_a_label_out_of_range_in_a_batch_is_told(tmp_path: Path) -> None:
    labels = np.where(np.arange(ROWS) == 16, 9, LABELS)
    network, other = network_for("numpy"), Trainer(network_for("numpy"), seed=1)
    text = r"^y holds the label 9 at \[16\], expected labels from 0 to 1 \(in epoch 1, batch 5\)$"
    with pytest.raises(ValueError, match=text):
        Trainer(network, batch_size=BATCH, shuffle=False, seed=1).fit(
            X, memmap(tmp_path, labels), epochs=1
        )
    make_steps(other, LABELS, rows=4 * BATCH)
    np.testing.assert_array_equal(parameters(network), parameters(other.network))


@pytest.mark.parametrize(
    ("x", "y", "text"),
    [
        (Sliceable(X[:, :2]), LABELS, "x has shape (17, 2), expected (rows, 3)"),
        (Sliceable(X[:, 0]), LABELS, "x has shape (17,), expected (rows, 3)"),
        (Sliceable(X[:0]), LABELS, "x has no rows, expected at least one"),
        (Sliceable(X), LABELS[:5], "y has 5 rows, expected 17, as x has"),
        (Sliceable(X), Sliceable(LABELS[:5]), "y has 5 rows, expected 17, as x has"),
        (X, Sliceable(LABELS[:5]), "y has 5 rows, expected 17, as x has"),
    ],
)
def test_shapes_are_checked_before_anything_is_read(x: Any, y: Any, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Trainer(network_for("numpy")).fit(x, y, epochs=1)
    for source in (x, y):
        assert not isinstance(source, Sliceable) or source.read == []


# Other types and containers.


@pytest.mark.parametrize("dtype", ["float64", "float16", "longdouble", "uint8", "int64", "bool"])
def test_other_types_train_like_the_same_numbers_in_the_networks_type(
    backend: Backend, dtype: str
) -> None:
    numbers = RNG.integers(0, 2, (ROWS, N_IN))
    expected, _ = fitted(network_for(backend, "float32"), numbers.astype("float32"), LABELS)
    given, _ = fitted(network_for(backend, "float32"), numbers.astype(dtype), LABELS)
    assert given.dtype == np.float32
    np.testing.assert_array_equal(given, expected)


def test_byte_swapped_numbers_train_like_native_ones() -> None:
    expected, _ = fitted(network_for("numpy"), X, LABELS)
    given, _ = fitted(network_for("numpy"), X.astype(">f8"), LABELS.astype(">i4"))
    np.testing.assert_array_equal(given, expected)


def test_the_other_byte_order_is_the_same_numbers(backend: Backend, tmp_path: Path) -> None:
    theta, costs = fitted(network_for(backend), X, LABELS)
    swapped = [array.astype(array.dtype.newbyteorder()) for array in (X, LABELS, WEIGHTS)]
    assert not as_array("x", swapped[0]).dtype.str.startswith(swapped[0].dtype.str[0])
    for x in (swapped[0], memmap(tmp_path, swapped[0])):
        other_theta, other_costs = fitted(network_for(backend), x, swapped[1], swapped[2])
        np.testing.assert_array_equal(other_theta, theta)
        assert other_costs == costs


def test_a_batch_too_large_for_the_networks_dtype_ends_the_fit_after_the_last_good_step(
    backend: Backend, tmp_path: Path
) -> None:
    x = X.copy()
    x[15, 1] = 1e300
    network = network_for(backend, "float32")
    other = Trainer(network_for(backend, "float32"), seed=1)
    text = "x holds 1e+300 at [15, 1], too large for float32, the network's dtype (in epoch 1, batch 4)"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Trainer(network, batch_size=BATCH, shuffle=False, seed=1).fit(
            memmap(tmp_path, x), LABELS, epochs=1
        )
    make_steps(other, LABELS, rows=3 * BATCH)
    np.testing.assert_array_equal(parameters(network), parameters(other.network))


@pytest.mark.parametrize("dtype", ["float64", "int32", "uint8"])
def test_a_memmap_of_another_type_trains_like_the_networks_own(
    backend: Backend, tmp_path: Path, dtype: str
) -> None:
    numbers = RNG.integers(0, 9, (ROWS, N_IN))
    expected, _ = fitted(network_for(backend, "float32"), numbers.astype("float32"), LABELS)
    given, _ = fitted(
        network_for(backend, "float32"), memmap(tmp_path, numbers.astype(dtype)), LABELS
    )
    np.testing.assert_array_equal(given, expected)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_labels_of_any_integer_type_are_the_same_labels(backend: Backend, dtype: str) -> None:
    expected, _ = fitted(network_for(backend), X, LABELS)
    given, _ = fitted(network_for(backend), X, LABELS.astype(dtype))
    np.testing.assert_array_equal(given, expected)


def test_lists_frames_and_any_memory_order_train_like_arrays(backend: Backend) -> None:
    expected, costs = fitted(network_for(backend), X, LABELS)
    wide = np.zeros((2 * ROWS, N_IN))
    wide[::2] = X
    for x, y, weights in [
        (X.tolist(), LABELS.tolist(), WEIGHTS.tolist()),
        (Frame(X), Frame(LABELS), Frame(WEIGHTS)),
        (np.asfortranarray(X), LABELS, WEIGHTS),
        (wide[::2], LABELS[::-1][::-1], WEIGHTS[::-1][::-1]),
    ]:
        given, given_costs = fitted(network_for(backend), x, y, weights)
        np.testing.assert_array_equal(given, expected)
        assert given_costs == costs


def test_rows_in_another_memory_order_are_laid_out_once_and_not_at_every_step(
    backend: Backend,
) -> None:
    y = np.eye(N_OUT)[LABELS]
    data = Dataset(network_for(backend), np.asfortranarray(X), np.asfortranarray(y))
    for array, expected in ((data.x, X), (data.y, y)):
        assert array.flags.c_contiguous
        np.testing.assert_array_equal(backend.to_numpy(array), expected)


def test_arrays_of_the_device_train_like_those_of_the_host(backend: Backend) -> None:
    expected, _ = fitted(network_for(backend), X, LABELS)
    given, _ = fitted(
        network_for(backend),
        backend.asarray(X),
        backend.asarray(LABELS),
        backend.asarray(WEIGHTS),
    )
    np.testing.assert_array_equal(given, expected)


def test_the_users_data_are_left_as_they_are(backend: Backend) -> None:
    class Watch(Callback):
        def on_step_end(self, trainer: Trainer, step: int) -> None:
            np.testing.assert_array_equal(x, X)

    x, labels, weights = X.copy(), LABELS.copy(), WEIGHTS.copy()
    for array in (x, labels, weights):
        array.flags.writeable = False
    fitted(network_for(backend), x, labels, weights, callbacks=[Watch()])
    np.testing.assert_array_equal(labels, LABELS)
    np.testing.assert_array_equal(weights, WEIGHTS)


def test_a_batch_without_room_in_memory_is_done_in_parts_with_the_same_result(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, costs = fitted(network_for(backend), X, LABELS, WEIGHTS)
    whole = network_for(backend).predict(X)
    matrix = Workspace._matrix

    def matrix_if_small(self: Workspace, rows: int, n: int) -> Any:
        if rows > 3:
            raise MemoryError
        return matrix(self, rows, n)

    monkeypatch.setattr(Workspace, "_matrix", matrix_if_small)
    with pytest.warns(RuntimeWarning, match=r"no room in memory, on .* in parts of [23] rows"):
        given, given_costs = fitted(network_for(backend), X, LABELS, WEIGHTS)
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(given_costs, costs, rtol=1e-5)
    with pytest.warns(RuntimeWarning, match="no room in memory"):
        predicted = network_for(backend).predict(X)
    np.testing.assert_allclose(backend.to_numpy(predicted), backend.to_numpy(whole), rtol=1e-5)


def test_data_without_room_on_the_device_are_brought_a_batch_at_a_time(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, costs = fitted(network_for(backend), X, LABELS)
    network, asarray = network_for(backend), type(backend).asarray

    def asarray_if_small(self: Backend, values: Any, dtype: Any = None) -> Any:
        if np.shape(values) == X.shape:
            raise MemoryError
        return asarray(self, values, dtype)

    monkeypatch.setattr(type(backend), "asarray", asarray_if_small)
    with pytest.warns(
        RuntimeWarning, match="x and y have no room in memory, on .* a batch at a time"
    ):
        trainer = Trainer(network, "adam", batch_size=BATCH, seed=1)
        history = trainer.fit(X, LABELS, epochs=2, sample_weight=WEIGHTS)
    np.testing.assert_array_equal(parameters(network), expected)
    assert history.cost == costs[:2]
