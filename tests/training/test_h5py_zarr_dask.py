"""Fits on arrays of h5py, zarr and dask: the bits of arrays in memory, chunks read once, named rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from resuming import assert_same, fit_in_parts
from small_networks import classes, classifier, parameters

from gpubp import Network, Trainer, sources
from gpubp.backends import Backend
from gpubp.training import block_groups
from gpubp.training.block_groups import BlockGroups

ROWS, BATCH, CHUNK = 50, 8, 12
X, Y = classes(ROWS, seed=3)
Store = Callable[[np.ndarray, str], Any]


@pytest.fixture(
    params=["h5py", "h5py chunks", "h5py gzip", "zarr 2", "zarr 3", "zarr shards", "dask"]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Return a function (array, name) -> the same rows in a file of the library."""
    library = request.param.split()[0]
    module = pytest.importorskip(library, reason=f"needs {library}")
    if library == "h5py":
        options = {
            "h5py": {},
            "h5py chunks": {"chunks": (CHUNK,)},
            "h5py gzip": {"chunks": (CHUNK,), "compression": "gzip"},
        }[request.param]
        file = module.File(tmp_path / "data.h5", "w")
        request.addfinalizer(file.close)

        def in_file(array: np.ndarray, name: str) -> Any:
            chunks = {"chunks": (CHUNK, *array.shape[1:])} if options else {}
            return file.create_dataset(name, data=array, **options | chunks)

        return in_file
    if library == "dask":
        import dask.array

        return lambda array, name: dask.array.from_array(array, chunks=(CHUNK, *array.shape[1:]))

    is_new = hasattr(module, "create_array")  # zarr 3
    if not is_new and request.param != "zarr 2":
        pytest.skip("needs zarr 3")

    def in_store(array: np.ndarray, name: str) -> Any:
        path, rest = str(tmp_path / name), array.shape[1:]
        options = {"shape": array.shape, "dtype": array.dtype, "chunks": (CHUNK, *rest)}
        if not is_new:
            made = module.open(path, mode="w", **options)
        elif request.param == "zarr shards":
            made = module.create_array(path, shards=(2 * CHUNK, *rest), **options)
        else:
            made = module.create_array(path, zarr_format=int(request.param[-1]), **options)
        made[...] = array
        return made

    return in_store


def fitted(x: Any, y: Any, backend: Backend | str = "numpy", **options: Any) -> Any:
    network = classifier(backend, dropout=0.3)
    trainer = Trainer(network, "adam", batch_size=BATCH, seed=1, **options)
    history = trainer.fit(x, y, epochs=2, validation_data=(x, y))
    return parameters(network), history.cost, history.validation_cost


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("kept", [2**28, 0])
def test_stored_rows_train_like_rows_in_memory(
    store: Store, monkeypatch: pytest.MonkeyPatch, shuffle: bool, kept: int
) -> None:
    monkeypatch.setattr(sources, "KEPT_BYTES", kept)
    expected = fitted(X, Y, shuffle=shuffle)
    for x, y in [(store(X, "x"), Y), (store(X, "x1"), store(Y, "y"))]:
        given = fitted(x, y, shuffle=shuffle)
        np.testing.assert_array_equal(given[0], expected[0])
        assert given[1:] == expected[1:]


def test_stored_rows_train_on_every_backend(store: Store, backend: Backend) -> None:
    expected, given = (
        fitted(X, Y, backend),
        fitted(store(X, "x"), store(Y, "y"), backend, shuffle=True),
    )
    np.testing.assert_array_equal(given[0], expected[0])


def test_a_bad_row_is_named_by_its_place_in_the_whole(store: Store) -> None:
    spoilt = X.copy()
    spoilt[37, 1] = np.inf
    for shuffle in (True, "blocks"):
        text = r"^x holds inf at \[37, 1\], expected finite numbers \(in epoch 1, batch \d\)$"
        with pytest.raises(ValueError, match=text):
            fitted(store(spoilt, f"x{shuffle}"), Y, shuffle=shuffle)
    labels = Y.copy()
    labels[41] = 7
    text = r"^y holds the label 7 at \[41\], expected labels from 0 to 2 \(in epoch 1, batch \d\)$"
    with pytest.raises(ValueError, match=text):
        fitted(X, store(labels, "y"))
    text = "validation x holds inf at [37, 1], expected finite numbers (after epoch 1)"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Trainer(classifier(), seed=0).fit(X, Y, epochs=1, validation_data=(store(spoilt, "v"), Y))


class Chunked:
    """Rows in chunks, like zarr's: it counts how often each chunk is read."""

    def __init__(self, data: np.ndarray, chunk: int = CHUNK) -> None:
        self._data, self.shape, self.dtype = data, data.shape, data.dtype
        self.chunks = (chunk, *data.shape[1:])
        self.reads = np.zeros(-(-len(data) // chunk), int)
        self.longest = 0

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = np.arange(len(self._data))[index]
        self.reads[np.unique(rows // self.chunks[0])] += 1
        self.longest = max(self.longest, len(rows))
        return self._data[index]


def by_hand(order: np.ndarray, epochs: int = 1) -> np.ndarray:
    """Train on the rows in this order, batch by batch."""
    trainer = Trainer(classifier(), "adam", batch_size=BATCH, seed=1)
    for k in range(0, len(order), BATCH):
        rows = np.sort(order[k : k + BATCH])
        trainer.step(X[rows], Y[rows])
    return parameters(trainer.network)


def test_an_epoch_in_order_reads_each_chunk_once() -> None:
    x, y = Chunked(X), Chunked(Y)
    Trainer(classifier(), batch_size=5, shuffle=False).fit(x, y, epochs=1)
    assert x.reads.tolist() == y.reads.tolist() == [1] * 5


def test_shuffled_rows_of_many_chunks_are_read_by_their_index(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "KEPT_BYTES", 2 * CHUNK * 3 * 8)
    x = Chunked(X)
    Trainer(classifier(), batch_size=BATCH, seed=0).fit(x, Y, epochs=1)
    assert x.longest <= 2 * CHUNK  # the most that may be kept
    assert x.reads.max() > 1


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let groups have two chunks, and let four be kept."""
    row_bytes = X.itemsize * X.shape[1]
    monkeypatch.setattr(block_groups, "GROUP_BYTES", 2 * CHUNK * row_bytes)
    monkeypatch.setattr(sources, "KEPT_BYTES", 4 * CHUNK * row_bytes)


def test_blocks_are_read_once_in_an_epoch_and_their_rows_are_mixed(small_groups: None) -> None:
    x = Chunked(X)
    trainer = Trainer(classifier(), "adam", batch_size=BATCH, seed=1, shuffle="blocks")
    trainer.fit(x, Y, epochs=1)
    assert x.reads.tolist() == [1] * 5
    order = trainer.order.rows
    np.testing.assert_array_equal(np.sort(order), np.arange(ROWS))
    chunks = order // CHUNK
    first = {tuple(np.unique(chunks[k : k + 24])) for k in (0,)}
    assert all(len(group) == 2 or 4 in group for group in first)
    assert not (np.diff(chunks[:16]) == 0).all()
    np.testing.assert_array_equal(parameters(trainer.network), by_hand(order))


def test_one_seed_gives_one_order_of_blocks() -> None:
    starts = np.array([0, 12, 24, 36, 48, 50])
    groups = BlockGroups(starts, 24)
    for make in (np.random.default_rng, np.random.RandomState):
        orders = [groups.permuted(make(seed)).tolist() for seed in (3, 3, 4)]
        assert orders[0] == orders[1] != orders[2]
        assert sorted(orders[0]) == sorted(orders[2]) == list(range(50))


def test_groups_of_blocks_are_drawn_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_groups, "GROUP_BYTES", 1)  # two blocks in any case
    order = BlockGroups(np.arange(0, 61, 10), 24).permuted(np.random.default_rng(0))
    for k in range(0, 60, 20):
        assert len(set((order[k : k + 20] // 10).tolist())) == 2
        assert np.abs(np.diff(order[k : k + 20])).max() > 1


def test_blocks_of_data_without_chunks_have_about_a_mebibyte(tmp_path: Path) -> None:
    x = np.memmap(tmp_path / "x", "float32", "w+", shape=(20_000, 64))
    source = sources.Source("x", x)
    assert source.starts.tolist() == [0, 4096, 8192, 12288, 16384, 20_000]
    assert not source.keeps_blocks


def test_large_and_uneven_chunks_become_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "KEPT_BYTES", 10 * 24)
    x = Chunked(X)
    assert sources.Source("x", x).starts.tolist() == [
        0,
        5,
        10,
        12,
        17,
        22,
        24,
        29,
        34,
        36,
        41,
        46,
        48,
        50,
    ]
    x.chunks = ((20, 0, 3, 27), (3,))
    monkeypatch.setattr(sources, "KEPT_BYTES", 2**28)
    assert sources.Source("x", x).starts.tolist() == [0, 20, 23, 50]
    for odd in (None, (), 5, ("auto",), (0, 3), ((20, 20), (3,))):
        x.chunks = odd
        source = sources.Source("x", x)
        assert source.starts.tolist() == [0, 50]
        assert not source.keeps_blocks


@pytest.mark.parametrize("seed", [np.random.default_rng(0), np.random.RandomState(0)])
@pytest.mark.parametrize("kept", [2, 3, 5])
def test_any_reading_gives_the_rows_that_were_asked_for(seed: Any, kept: int) -> None:
    x = Chunked(X, 7)
    source = sources.Source("x", x, kept * 7 * 24)
    for _ in range(300):
        low, high = np.sort(seed.choice(ROWS + 1, 2, replace=False))
        rows = np.arange(low, high)
        if seed.uniform() < 0.5:
            rows = np.sort(seed.choice(rows, seed.choice(len(rows)) + 1, replace=False))
        np.testing.assert_array_equal(source.read(rows), X[rows])


def test_blocks_in_memory_are_one_block(small_groups: None) -> None:
    expected = fitted(X, Y, shuffle=True)
    given = fitted(X, Y, shuffle="blocks")
    np.testing.assert_array_equal(given[0], expected[0])


@pytest.mark.parametrize("seed", [lambda: 7, lambda: np.random.RandomState(7)])
def test_a_fit_by_blocks_goes_on_from_a_checkpoint(
    small_groups: None, tmp_path: Path, seed: Callable[[], Any]
) -> None:
    def make() -> Trainer:
        return Trainer(
            classifier(dropout=0.3), "adam", batch_size=BATCH, shuffle="blocks", seed=seed()
        )

    whole = make()
    expected = whole.fit(Chunked(X), Y, epochs=4)
    resumed = fit_in_parts(make, tmp_path, [2, 8, 4], Chunked(X), Y, epochs=4)
    assert_same(resumed, (whole, expected))


def test_a_checkpoint_does_not_go_on_with_other_chunks(small_groups: None, tmp_path: Path) -> None:
    options = {"batch_size": BATCH, "shuffle": "blocks", "seed": 0}
    Trainer(classifier(), checkpoint=tmp_path, **options).fit(Chunked(X), Y, epochs=1)
    trainer = Trainer(classifier(), **options)
    trainer.resume(tmp_path)
    with pytest.raises(ValueError, match="is of a fit whose data's checksum of blocks is"):
        trainer.fit(Chunked(X, 10), Y, epochs=2)


def test_dask_computes_each_chunk_once_for_an_epoch_in_order() -> None:
    dask_array = pytest.importorskip("dask.array", reason="needs dask")
    computed: list[int] = []

    def double(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        if block_info:
            computed.append(block_info[0]["chunk-location"][0])
        return 2 * block

    x = dask_array.from_array(X, chunks=(CHUNK, 3)).map_blocks(double, dtype=X.dtype)
    computed.clear()  # dask tries the function
    Trainer(classifier(), batch_size=5, shuffle=False).fit(x, Y, epochs=1)
    assert sorted(computed) == [0, 1, 2, 3, 4]


def test_a_dask_array_that_fails_is_named_with_the_place_and_the_cause() -> None:
    dask_array = pytest.importorskip("dask.array", reason="needs dask")

    def fail(block: np.ndarray) -> np.ndarray:
        if len(block) and block[0, 0] == X[24, 0]:
            raise OSError(5, "Input/output error")
        return block

    x = dask_array.from_array(X, chunks=(CHUNK, 3)).map_blocks(fail, dtype=X.dtype)
    with pytest.raises(OSError, match=r"^x gave no 12 rows from row 24 to 35 but an error, OSErr"):
        Trainer(classifier(), batch_size=12, shuffle=False).fit(x, Y, epochs=1)


def test_dask_frames_are_read_as_a_whole() -> None:
    frames = pytest.importorskip("dask.dataframe", reason="needs dask[dataframe]")
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    frame = frames.from_pandas(pandas.DataFrame(X), npartitions=3)
    network = Network((3, 4, 3), output="softmax", seed=0, dtype="float64", backend="numpy")
    np.testing.assert_array_equal(network.predict(frame), network.predict(X))


def test_a_data_set_of_a_closed_file_is_told_by_its_name(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="needs h5py")
    with h5py.File(tmp_path / "data.h5", "w") as file:
        x, y = (file.create_dataset(name, data=rows) for name, rows in (("x", X), ("y", Y)))
    network = classifier()
    calls: dict[str, Callable[[], Any]] = {
        "x": lambda: Trainer(network).fit(x, Y, epochs=1),
        "y": lambda: Trainer(network).fit(X, y, epochs=1),
        "validation x": lambda: Trainer(network).fit(X, Y, epochs=1, validation_data=(x, Y)),
        "x of predict": lambda: network.predict(x),
    }
    for name, call in calls.items():
        told = rf"^{name.removesuffix(' of predict')} gave no shape but an error, "
        with pytest.raises(RuntimeError, match=told):
            call()
