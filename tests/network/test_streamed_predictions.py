"""Predictions and costs of data that are read in blocks of rows or come in batches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from gpubp import Network
from gpubp.backends import Backend
from gpubp.network import streaming

ROWS, N_IN, N_OUT, BLOCK = 53, 3, 2, 10
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, N_IN))
Y = RNG.normal(size=(ROWS, N_OUT))
LABELS = RNG.integers(0, N_OUT, ROWS)
WEIGHTS = RNG.uniform(0, 2, ROWS)


class Sliceable:
    """A shape, and rows read on request; the largest request and the number of rows are noted."""

    def __init__(self, data: np.ndarray) -> None:
        self._data, self.shape, self.longest, self.read = data, data.shape, 0, 0

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = np.array(self._data[index])
        self.read += len(rows)
        self.longest = max(self.longest, len(rows))
        return rows


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "ROWS_AT_ONCE", BLOCK)


def network_for(backend: Backend | str = "numpy", **options: Any) -> Network:
    options = {"hidden": "tanh", "dtype": "float64", "seed": 0, **options}
    return Network((N_IN, 4, N_OUT), backend=backend, **options)


def expected_outputs(network: Network, x: np.ndarray = X) -> np.ndarray:
    """The outputs, by NumPy."""
    arrays = [
        network.backend.to_numpy(a)
        for layer in network.layers
        for a in (layer.weights, layer.biases)
    ]
    return np.tanh(x @ arrays[0].T + arrays[1]) @ arrays[2].T + arrays[3]


@pytest.mark.parametrize("kind", ["sliceable", "memmap", "h5py", "zarr", "dask"])
def test_a_source_is_predicted_block_by_block(kind: str, backend: Backend, tmp_path: Path) -> None:
    x: Any
    if kind == "sliceable":
        x = Sliceable(X)
    elif kind == "memmap":
        x = np.memmap(tmp_path / "x", X.dtype, "w+", shape=X.shape)
        x[...] = X
    elif kind == "h5py":
        h5py = pytest.importorskip("h5py", reason="needs h5py")
        x = h5py.File(tmp_path / "x.h5", "w").create_dataset("x", data=X, chunks=(7, N_IN))
    elif kind == "zarr":
        zarr = pytest.importorskip("zarr", "3", reason="needs zarr 3")
        x = zarr.create_array(str(tmp_path / "x"), data=X, chunks=(7, 2))
    else:
        x = pytest.importorskip("dask.array", reason="needs dask").from_array(X, chunks=(7, 2))
    network = network_for(backend)
    outputs = network.predict(x)
    assert type(outputs) is np.ndarray
    np.testing.assert_allclose(outputs, expected_outputs(network), rtol=1e-12, atol=1e-14)
    if kind == "sliceable":
        assert x.longest == BLOCK
    weights = RNG.uniform(0, 2, ROWS)
    costs = 0.5 * ((expected_outputs(network) - Y) ** 2).sum(1)
    assert network.cost(x, Y) == pytest.approx(costs.mean(), rel=1e-12)
    expected = np.average(costs, weights=weights)
    assert network.cost(x, Y, weights) == pytest.approx(expected, rel=1e-12)
    assert network.cost(X, Sliceable(Y), weights) == pytest.approx(expected, rel=1e-12)
    if kind == "sliceable":
        assert x.longest == BLOCK


def test_wide_rows_are_read_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpubp.sources.READ_BYTES", 4 * N_IN * 8)
    x = Sliceable(X)
    network_for().predict(x)
    assert x.longest == 4


def test_whole_chunks_are_read_each_once_and_never_more_than_a_block_needs() -> None:
    x = Sliceable(X)
    x.chunks = (7, N_IN)
    network = network_for()
    np.testing.assert_allclose(network.predict(x), expected_outputs(network), rtol=1e-12)
    assert x.longest <= 14
    assert x.read == ROWS


def test_blocks_whose_weights_are_all_zero_count_for_nothing() -> None:
    weights = WEIGHTS.copy()
    weights[10:30] = 0
    network = network_for()
    costs = 0.5 * ((expected_outputs(network) - Y) ** 2).sum(1)
    given = network.cost(Sliceable(X), Sliceable(Y), weights)
    assert given == pytest.approx(np.average(costs, weights=weights), rel=1e-12)


def test_one_example_may_be_a_source(tmp_path: Path) -> None:
    network = network_for()
    expected = network.predict(X[0])
    out = np.empty(N_OUT)
    for example in (Sliceable(X[0]), np.memmap(tmp_path / "x", X.dtype, "w+", shape=(N_IN,))):
        if isinstance(example, np.memmap):
            example[...] = X[0]
        np.testing.assert_array_equal(network.predict(example), expected)
        assert network.predict(example, out=out) is out
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_outputs_are_written_to_out(backend: Backend, tmp_path: Path, dtype: str) -> None:
    network = network_for(backend)
    expected = expected_outputs(network).astype(dtype)
    memmap = np.memmap(tmp_path / "out", dtype, "w+", shape=(ROWS, N_OUT))
    for x in (X, Sliceable(X), scipy.sparse.csr_array(X), X.tolist()):
        for out in (np.empty((ROWS, N_OUT), dtype), memmap, np.empty((N_OUT, ROWS), dtype).T):
            out[...] = np.nan
            assert network.predict(x, out=out) is out
            np.testing.assert_allclose(out, expected, rtol=1e-6 if dtype == "float32" else 1e-12)


def test_outputs_are_written_to_files_of_h5py_and_zarr(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="needs h5py")
    zarr = pytest.importorskip("zarr", "3", reason="needs zarr 3")
    network = network_for()
    with h5py.File(tmp_path / "x.h5", "w") as file:
        x = file.create_dataset("x", data=X)
        for out in (
            file.create_dataset("out", (ROWS, N_OUT), "f4"),
            zarr.create_array(
                str(tmp_path / "out"), shape=(ROWS, N_OUT), dtype="f8", chunks=(7, 2)
            ),
        ):
            assert network.predict(x, out=out) is out
            np.testing.assert_allclose(out[...], expected_outputs(network), rtol=1e-6)


@pytest.mark.parametrize(
    ("out", "text"),
    [
        (np.empty((ROWS, 3)), "out has shape (53, 3), expected (53, 2)"),
        (np.empty(ROWS), "out has shape (53,), expected (53, 2)"),
        (np.empty((ROWS, 2), int), "out has dtype dtype('int64'), expected a float dtype for outp"),
        (
            np.broadcast_to(0.0, (ROWS, 2)),
            "out is read-only, expected an array that can be written",
        ),
        ([], "out is [], expected an array or data set of shape (53, 2)"),
    ],
)
def test_an_out_that_does_not_fit_is_refused_before_anything_is_read(out: Any, text: str) -> None:
    x = Sliceable(X)
    for given in (x, X):
        with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
            network_for().predict(given, out=out)
    assert x.longest == 0


def spoilt(row: int, value: float = np.nan) -> np.ndarray:
    x = X.copy()
    x[row, 2] = value
    return x


def test_an_error_names_the_row_of_the_whole(backend: Backend) -> None:
    network = network_for(backend)
    text = re.escape("x holds nan at [34, 2], expected finite numbers")
    out = np.full((ROWS, N_OUT), 7.0)
    with pytest.raises(ValueError, match=f"^{text}$"):
        network.predict(Sliceable(spoilt(34)), out=out)
    np.testing.assert_allclose(out[:30], expected_outputs(network)[:30], rtol=1e-12)
    assert (out[30:] == 7).all()
    with pytest.raises(ValueError, match=f"^{text}$"):
        network.cost(Sliceable(spoilt(34)), Y)
    wrong = Y.copy()
    wrong[41, 0] = np.inf
    with pytest.raises(ValueError, match=re.escape("y holds inf at [41, 0], expected finite")):
        network.cost(Sliceable(X), wrong)
    single = network_for(backend, dtype="float32")
    with pytest.raises(ValueError, match=r"^x holds 1e\+300 at \[34, 2\], too large for float32"):
        single.predict(Sliceable(spoilt(34, 1e300)))


def test_sources_of_another_shape_and_sources_that_fail_are_errors() -> None:
    class Failing(Sliceable):
        def __getitem__(self, index: Any) -> Any:
            if index.start == 20:
                raise OSError(5, "Input/output error")
            return super().__getitem__(index)

    class Short(Sliceable):
        def __getitem__(self, index: Any) -> Any:
            return super().__getitem__(index)[:-1]

    network = network_for()
    for x, kind, text in [
        (Sliceable(X[:, :2]), ValueError, "x has shape (53, 2), expected (rows, 3)"),
        (Sliceable(X[:0]), ValueError, "x has no rows, expected at least one"),
        (Sliceable(X[None]), ValueError, "x has shape (1, 53, 3), expected (rows, 3)"),
        (
            Failing(X),
            OSError,
            "x gave no 10 rows from row 20 to 29 but an error, OSError: [Errno 5] Input/output error",
        ),
        (
            Short(X),
            ValueError,
            "a batch of x has shape (9, 3), expected (10, 3), 10 rows from row 0 to 9",
        ),
    ]:
        with pytest.raises(kind, match=f"^{re.escape(text)}$"):
            network.predict(x)
        with pytest.raises(kind, match=f"^{re.escape(text)}$"):
            network.cost(x, Y)
    with pytest.raises(ValueError, match=r"^y has 7 rows, expected 53, as x has$"):
        network.cost(Sliceable(X), Sliceable(Y[:7]))


def test_a_dask_array_of_unknown_length_is_refused() -> None:
    array = pytest.importorskip("dask.array", reason="needs dask")
    x = array.from_array(X, chunks=(20, N_IN))
    x = x[x[:, 0] > 0]
    text = (
        "x has shape (nan, 3), expected a tuple of whole numbers, as .compute_chunk_sizes() gives"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        network_for().predict(x)
    assert network_for().predict(x.compute_chunk_sizes()).shape == (sum(X[:, 0] > 0), N_OUT)


def cut(x: Any) -> list[Any]:
    return [x[k : k + 20] for k in range(0, ROWS, 20)]


def test_batches_are_predicted_one_after_another(backend: Backend) -> None:
    network = network_for(backend)
    drawn: list[int] = []

    def batches() -> Iterator[Any]:
        for k, x in enumerate(cut(X)):
            drawn.append(k)
            yield x

    outputs = network.predict_batches(batches)
    assert not drawn
    first = next(outputs)
    assert drawn == [0]
    np.testing.assert_allclose(first, expected_outputs(network)[:20], rtol=1e-12)
    rest = [*outputs]
    np.testing.assert_allclose(
        np.concatenate([first, *rest]), expected_outputs(network), rtol=1e-12
    )


def test_batches_may_be_pairs_lists_sparse_rows_and_of_a_function() -> None:
    network, expected = network_for(), expected_outputs(network_for())
    for batches in (
        [(x, LABELS) for x in cut(X)],
        [[x, LABELS, WEIGHTS] for x in cut(X)],
        [x.tolist() for x in cut(X)],
        [scipy.sparse.csr_array(x) for x in cut(X)],
        lambda: iter(cut(X)),
    ):
        outputs = np.concatenate([*network.predict_batches(batches)])
        np.testing.assert_allclose(outputs, expected, rtol=1e-12)
    assert [*network.predict_batches([])] == []


def test_outputs_of_a_torch_data_loader() -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    from torch.utils.data import DataLoader, TensorDataset

    loader = DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(LABELS)), batch_size=9)
    network = network_for()
    outputs = np.concatenate([*network.predict_batches(loader)])
    np.testing.assert_allclose(outputs, expected_outputs(network), rtol=1e-12)


def test_an_error_names_the_batch_and_the_row_of_all() -> None:
    def failing() -> Iterator[Any]:
        yield X
        raise KeyError("next")

    network = network_for()
    outputs = network.predict_batches(cut(spoilt(47)))
    next(outputs), next(outputs)
    text = "x holds nan at [47, 2], expected finite numbers (in batch 3, which begins at row 40)"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        next(outputs)
    text = "x has 2 columns, expected 3, the width of the input layer (in batch 2, which begins at"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
        [*network.predict_batches([X, X[:, :2]])]
    text = "batches gave no batch but an error, KeyError: 'next' (in batch 2)"
    with pytest.raises(RuntimeError, match=f"^{re.escape(text)}$"):
        [*network.predict_batches(failing)]
    with pytest.raises(ValueError, match=r"; predict_batches takes an iterable of batches$"):
        network.predict(iter(cut(X)))
    with pytest.raises(TypeError, match=r"^batches is 5, expected an iterable of batches$"):
        network.predict_batches(5)
    with pytest.raises(TypeError, match=r"^batches is 'rows', expected an iterable of batches$"):
        network.predict_batches("rows")
