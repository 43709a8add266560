"""Batches: which rows each step sees, their order, accumulation, sample weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_networks import classes, classifier, parameters, single_weight

from gpubp import SGD, Callback, Network, Trainer
from gpubp.backends import Backend

# Batches.


class RowsSeen(Callback):
    """Records which rows each step trained on: with x the identity, those whose weight moved."""

    def __init__(self, network: Network) -> None:
        self.network, self.epochs = network, []  # type: ignore[var-annotated]

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        self.epochs.append([])
        self.before = parameters(self.network)

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        after = parameters(self.network)
        self.epochs[-1].append(np.flatnonzero(after != self.before).tolist())
        self.before = after


def rows_seen(
    backend: Backend | str, rows: int, batch_size: int, **options: Any
) -> list[list[list[int]]]:
    network = Network((rows, 1), biases=False, backend=backend, dtype="float64", seed=0)
    seen = RowsSeen(network)
    trainer = Trainer(network, "sgd", batch_size=batch_size, callbacks=[seen], **options)
    trainer.fit(np.eye(rows), np.full((rows, 1), 9.0), epochs=3)
    return seen.epochs


def test_an_epoch_trains_on_every_row_once_and_the_last_batch_is_what_is_left(
    backend: Backend,
) -> None:
    for epoch in rows_seen(backend, rows=8, batch_size=3, seed=0):
        assert [len(batch) for batch in epoch] == [3, 3, 2]
        assert sorted(row for batch in epoch for row in batch) == list(range(8))


def test_without_shuffling_rows_come_in_order(backend: Backend) -> None:
    assert rows_seen(backend, 7, 3, shuffle=False) == [[[0, 1, 2], [3, 4, 5], [6]]] * 3


def test_the_order_is_drawn_anew_for_each_epoch_and_from_the_seed_alone(backend: Backend) -> None:
    orders = rows_seen(backend, 20, 4, seed=5)
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert orders == rows_seen("numpy", 20, 4, seed=np.random.default_rng(5))
    assert orders != rows_seen("numpy", 20, 4, seed=6)


def test_the_same_seed_gives_the_same_bits(backend: Backend) -> None:
    x, y = classes(10)

    def result(seed: int) -> bytes:
        network = classifier(backend, dropout=0.4)
        history = Trainer(network, "adam", batch_size=4, seed=seed).fit(x, y, epochs=2)
        return parameters(network).tobytes() + np.array(history.cost).tobytes()

    assert result(1) == result(1)
    assert result(1) != result(2)


def test_both_backends_learn_the_same(cuda_backend: Backend) -> None:
    x, y = classes(11)
    results = []
    for backend in ("numpy", cuda_backend):
        network = classifier(backend, dropout=0.3)
        history = Trainer(network, "adam", batch_size=4, seed=1).fit(
            x, y, epochs=2, validation_data=(x, y)
        )
        results.append((parameters(network), history))
    (theta, history), (other_theta, other_history) = results
    np.testing.assert_allclose(theta, other_theta, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(history.cost, other_history.cost, rtol=1e-10)
    np.testing.assert_allclose(history.validation_cost, other_history.validation_cost, rtol=1e-10)
    assert history.validation_accuracy == other_history.validation_accuracy


def test_a_batch_larger_than_the_data_is_all_of_it(backend: Backend) -> None:
    x, y = classes(6)
    results = []
    for batch_size in (6, 1000):
        network = classifier(backend)
        Trainer(network, "sgd", batch_size=batch_size, seed=0).fit(x, y, epochs=2)
        results.append(parameters(network))
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("weighted", [False, True])
def test_accumulating_k_batches_equals_a_batch_k_times_larger(
    backend: Backend, weighted: bool
) -> None:
    x, y = classes(13)
    weights = np.linspace(0.5, 2, 13) if weighted else None
    results = []
    for options in ({"batch_size": 6}, {"batch_size": 2, "accumulate": 3}):
        network = classifier(backend, dropout=0.5)
        trainer = Trainer(network, SGD(learning_rate=0.5, momentum=0.9), seed=3, **options)
        history = trainer.fit(x, y, epochs=2, sample_weight=weights)
        results.append((parameters(network), history.cost))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-12)


@pytest.fixture
def heights(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the most rows of a block in each plan that the backend makes."""
    plan, found = backend.plan, []

    def watched(*arguments: Any) -> list[list[slice]]:
        shards = plan(*arguments)
        found.append(max(block.stop - block.start for shard in shards for block in shard))
        return shards

    monkeypatch.setattr(backend, "plan", watched)
    return found


def test_accumulating_takes_the_buffers_of_one_batch(backend: Backend, heights: list[int]) -> None:
    Trainer(classifier(backend), "sgd", batch_size=5, accumulate=4).fit(*classes(40), epochs=1)
    assert 0 < max(heights) <= 5


@pytest.mark.parametrize("stepwise", [False, True])
def test_a_step_captured_under_other_settings_is_not_used_again(
    backend: Backend, heights: list[int], stepwise: bool
) -> None:
    x, y = classes(12)
    trainer = Trainer(classifier(backend), "sgd", batch_size=12)
    for trainer.batch_size, trainer.accumulate in ((12, 1), (4, 3), (2, 6)):
        heights.clear()
        if stepwise:
            trainer.step(x, y)
        else:
            trainer.fit(x, y, epochs=1)
        assert 0 < max(heights) <= trainer.batch_size


# Sample weights.


def test_whole_sample_weights_equal_repeated_rows(backend: Backend) -> None:
    x, y = classes(6)
    xv, yv = classes(5, seed=1)
    counts = np.array([1, 3, 0, 2, 1, 2])
    v_counts = np.array([2, 0, 1, 1, 4])
    weighted, repeated = classifier(backend), classifier(backend)
    options: dict[str, Any] = {"batch_size": 100, "shuffle": False}
    first = Trainer(weighted, "adam", **options).fit(
        x, y, epochs=3, sample_weight=counts, validation_data=(xv, yv, v_counts)
    )
    second = Trainer(repeated, "adam", **options).fit(
        np.repeat(x, counts, axis=0),
        np.repeat(y, counts),
        epochs=3,
        validation_data=[np.repeat(xv, v_counts, axis=0), np.repeat(yv, v_counts)],
    )
    np.testing.assert_allclose(parameters(weighted), parameters(repeated), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(first.cost, second.cost, rtol=1e-10)
    np.testing.assert_allclose(first.validation_cost, second.validation_cost, rtol=1e-10)
    np.testing.assert_allclose(first.validation_accuracy, second.validation_accuracy)


def test_a_batch_whose_weights_are_all_zero_moves_nothing(backend: Backend) -> None:
    network = single_weight(backend, 2.0)
    trainer = Trainer(network, "sgd", batch_size=2, shuffle=False)
    x, y = np.ones((4, 1)), np.array([[1.0], [1.0], [7.0], [7.0]])
    history = trainer.fit(x, y, epochs=1, sample_weight=[1, 1, 0, 0])
    assert history.cost == [0.5]
    assert parameters(network) == pytest.approx([2 - 0.01])
