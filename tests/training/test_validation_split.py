"""validation_split: which rows are held out, and that the fit is that of the two parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from resuming import X, Y, fit_in_parts, trainer, without_seconds
from small_networks import parameters, single_weight

from gpubp import SGD, Network, Trainer
from gpubp.backends import Backend
from gpubp.training.validation_split import split_off


def split(
    network: Network, x: Any, y: Any, share: Any, weights: Any = None
) -> tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]]:
    return split_off(network, (x, y, weights), None, share)


def numbered(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose x is their number, and y twice that."""
    return np.arange(rows, dtype=float)[:, None], 2.0 * np.arange(rows)


@pytest.mark.parametrize(
    ("rows", "share"), [(2, 0.5), (10, 0.25), (100, 0.1), (101, 0.99), (7, 0.1)]
)
def test_each_row_is_in_one_part_and_keeps_its_target_and_weight(rows: int, share: float) -> None:
    x, y = numbered(rows)
    weights = 1.0 + np.arange(rows)
    parts = split(single_weight(), x, y, share, weights)
    found = [part[0][:, 0] for part in parts]
    assert len(found[1]) == round(share * rows)
    assert sorted(np.concatenate(found)) == list(range(rows))
    for part_x, part_y, part_weights in parts:
        assert np.array_equal(part_y[:, 0], 2 * part_x[:, 0])
        assert np.array_equal(part_weights, 1 + part_x[:, 0])


def test_the_held_out_rows_are_not_the_last_and_are_always_the_same() -> None:
    x, y = numbered(1000)
    first, again = (split(single_weight(), x, y, 0.2)[1][0][:, 0] for _ in range(2))
    assert np.array_equal(first, again)
    assert 400 < first.mean() < 600
    assert (first < 800).sum() > 100


def test_each_class_gives_the_same_share_of_its_rows_to_a_row() -> None:
    rng = np.random.default_rng(5)
    y = np.sort(rng.choice(3, p=[0.7, 0.25, 0.05], size=400))
    network = Network((1, 3), output="softmax", seed=0)
    x = np.arange(400.0)[:, None]
    _, (_, held_out, _) = split(network, x, y, 0.2)
    found, expected = np.bincount(held_out, minlength=3), 0.2 * np.bincount(y)
    assert abs(found - expected).max() <= 1
    assert found.sum() == 80


def test_the_fit_is_that_of_the_two_parts(backend: Backend) -> None:
    def make() -> Trainer:
        network = Network((3, 4, 3), output="softmax", dtype="float64", backend=backend, seed=0)
        return Trainer(network, SGD(0.1), batch_size=4, seed=7)

    (x, y, _), held_out = split(make().network, X, Y, 0.25)
    one, two = make(), make()
    history = one.fit(X, Y, epochs=3, validation_split=0.25)
    expected = two.fit(x, y, epochs=3, validation_data=held_out[:2])
    assert without_seconds(history) == without_seconds(expected)
    assert np.array_equal(parameters(one.network), parameters(two.network))
    assert len(history.validation_accuracy) == 3


def test_lists_frames_and_sparse_rows_are_split_alike() -> None:
    pandas = pytest.importorskip("pandas", reason="splits data frames")
    expected = trainer().fit(X, Y, epochs=2, validation_split=0.25)
    frame, series = pandas.DataFrame(X, index=range(50, 72)), pandas.Series(Y, index=range(50, 72))
    for x, y in ((X.tolist(), Y.tolist()), (frame, series)):
        found = trainer().fit(x, y, epochs=2, validation_split=0.25)
        assert without_seconds(found) == without_seconds(expected)
    for matrix in (scipy.sparse.csr_array(X), scipy.sparse.coo_matrix(X)):
        found = trainer().fit(matrix, Y, epochs=2, validation_split=0.25)
        np.testing.assert_allclose(found.cost, expected.cost, rtol=1e-12)
        np.testing.assert_allclose(found.validation_cost, expected.validation_cost, rtol=1e-12)


def test_a_fit_that_goes_on_holds_out_the_same_rows(tmp_path: Path) -> None:
    whole = trainer()
    expected = whole.fit(X, Y, epochs=3, validation_split=0.25)
    resumed, history = fit_in_parts(
        trainer, tmp_path, [2, 5], X, Y, epochs=3, validation_split=0.25
    )
    assert without_seconds(history) == without_seconds(expected)
    assert np.array_equal(parameters(resumed.network), parameters(whole.network))


def test_an_error_names_the_row_of_the_users_data() -> None:
    for row in (0, 9, 21):
        x = X.copy()
        x[row, 1] = np.nan
        with pytest.raises(ValueError, match=rf"^x holds nan at \[{row}, 1\]"):
            trainer().fit(x, Y, epochs=1, validation_split=0.25)


def test_streamed_data_are_refused(tmp_path: Path) -> None:
    x = np.memmap(tmp_path / "x", dtype=np.float64, mode="w+", shape=X.shape)
    x[:] = X
    with pytest.raises(
        ValueError, match=r"^validation_split is 0\.5, expected None for data that are streamed"
    ):
        trainer().fit(x, Y, epochs=1, validation_split=0.5)
