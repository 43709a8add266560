"""The order of the rows in an epoch, and the arrays in which steps find their rows."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from gpubp.backends import Backend, Rows, get_backend
from gpubp.training.order import DataOrder
from gpubp.training.snapshot import generator_with


def test_every_row_is_in_one_batch_of_an_epoch_in_rising_order() -> None:
    order = DataOrder(np.random.default_rng(0))
    epochs = []
    for _ in range(2):
        order.draw(23, 5, shuffle=True)
        batches = list(order)
        assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3]
        assert all((np.diff(batch) > 0).all() for batch in batches)
        assert sorted(np.concatenate(batches)) == list(range(23))
        epochs.append(np.concatenate(batches))
    assert (epochs[0] != epochs[1]).any()
    order.draw(23, 5, shuffle=False)
    np.testing.assert_array_equal(np.concatenate(list(order)), np.arange(23))


def test_orders_are_int64_also_where_numpys_usual_integers_have_32_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on Windows before NumPy 2."""
    arange = np.arange
    monkeypatch.setattr(np, "arange", lambda *sizes, dtype=np.int32: arange(*sizes, dtype=dtype))
    for rng in (np.random.default_rng(0), np.random.RandomState(0)):
        order = DataOrder(rng)
        for shuffle in (True, False):
            order.draw(23, 5, shuffle=shuffle)
            assert order.rows.dtype == np.int64
            assert sorted(order.rows) == list(range(23))


def test_the_order_stays_in_one_place_and_its_pickle_has_the_generator_alone(
    backend: Backend,
) -> None:
    order = DataOrder(np.random.default_rng(0))
    with backend.use():
        places = []
        for _ in range(2):
            order.draw(10_000, 100, shuffle=True)
            placed = order.on_device(backend)
            np.testing.assert_array_equal(backend.to_numpy(placed), order.rows)
            places.append(placed)
    assert places[0] is places[1]
    assert len(pickle.dumps(order)) < 2_000
    copied = pickle.loads(pickle.dumps(order))
    for each in (order, copied):
        each.draw(50, 7, shuffle=True)
    np.testing.assert_array_equal(copied.rows, order.rows)


def test_a_random_state_reorders_the_order_of_the_epoch_before() -> None:
    order, theirs = DataOrder(np.random.RandomState(3)), np.random.RandomState(3)
    for _ in range(2):
        order.begin()
        expected = np.arange(23)
        for _ in range(3):
            expected = expected[theirs.permutation(23)]
            order.draw(23, 5, shuffle=True)
            for batch, start in zip(order, range(0, 23, 5), strict=True):
                np.testing.assert_array_equal(batch, np.sort(expected[start : start + 5]))
    order.draw(23, 5, shuffle=False)
    assert order.rng.randint(2**31) == theirs.randint(2**31)


def test_a_random_states_order_goes_on_from_its_state_alone() -> None:
    order = DataOrder(np.random.RandomState(3))
    for _ in range(4):
        order.draw(23, 5, shuffle=True)
    state, between = order.drawn_from, order.state
    drawn = order.rows
    order.draw(23, 5, shuffle=True)
    other = DataOrder(np.random.default_rng(0))
    for kept, expected in ((state, drawn), (between, order.rows)):
        other.go_on(generator_with(kept), kept["drawn"])
        assert other.state == kept
        other.draw(23, 5, shuffle=True)
        np.testing.assert_array_equal(other.rows, expected)


def test_rows_that_are_cleared_hold_nothing() -> None:
    backend = get_backend("numpy")
    rows = Rows(None)
    rows.set(backend.asarray([[1.0]]), backend.asarray([0]), backend.asarray([1.0]))
    rows.clear()
    assert [rows.x, rows.y, rows.weights, rows.order] == [None] * 4


def test_the_order_on_the_device_follows_every_change(backend: Backend) -> None:
    """Orders that are 0, 1, 2, ... are made and copied once, until another one comes between."""
    order = DataOrder(np.random.default_rng(0))
    for rows, shuffle in [
        (7, False),
        (7, False),
        (7, True),
        (7, True),
        (7, False),
        (9, False),
        (7, False),
    ]:
        order.draw(rows, 2, shuffle=shuffle)
        expected = np.arange(rows)
        if shuffle:
            assert not np.array_equal(order.rows, expected)
            assert np.array_equal(np.sort(order.rows), expected)
        else:
            np.testing.assert_array_equal(order.rows, expected)
        np.testing.assert_array_equal(backend.to_numpy(order.on_device(backend)), order.rows)
