"""The trainer: batches, weights, history, stopping, dropout, failures."""

from __future__ import annotations

import copy
import gc
import json
import math
import pickle
import re
import sys
import tracemalloc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from threadpoolctl import threadpool_limits

import gpubp
from gpubp import (
    SGD,
    Adam,
    Callback,
    DivergenceError,
    EarlyStopping,
    History,
    Network,
    Trainer,
    get_cost,
)
from gpubp.backends import Backend, get_backend
from gpubp.backends.numpy import blas
from gpubp.training import evaluation
from gpubp.training.callbacks import as_callbacks

TINY_RATE = SGD(learning_rate=1e-300)


def parameters(network: Network) -> np.ndarray:
    return np.array(network.backend.to_numpy(network.parameters))


def classes(
    rows: int, n_in: int = 3, n_out: int = 3, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, n_in)), rng.integers(0, n_out, rows)


def classifier(backend: Backend | str = "numpy", **options: Any) -> Network:
    options = {"hidden": "tanh", "dtype": "float64", "seed": 0, **options}
    return Network((3, 4, 3), output="softmax", backend=backend, **options)


def single_weight(backend: Backend | str = "numpy", weight: float = 0.0) -> Network:
    """An output w x and a cost ½ (w x - y)²."""
    network = Network((1, 1), biases=False, dtype="float64", backend=backend)
    network.parameters[...] = weight
    return network


# Batches.


class RowsSeen(Callback):
    """Which rows each step trained on: with x the identity, those whose weight moved."""

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
    """The most rows of a block, of each plan that the backend makes."""
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


def test_a_step_is_one_update_by_the_gradient_of_the_batch(backend: Backend) -> None:
    x, y = classes(5)
    weights = np.array([1.0, 0, 2, 3, 0.5])
    network = classifier(backend)
    expected = network.backprop(x, y, weights)
    before = parameters(network)
    trainer = Trainer(network, SGD(learning_rate=0.1))
    trainer.step(x, y, weights)
    assert trainer.step_cost == pytest.approx(expected.cost, rel=1e-12)
    np.testing.assert_allclose(
        before - parameters(network), 0.1 * backend.to_numpy(expected.gradient), atol=1e-14
    )


def test_step_cost_is_the_last_steps_within_a_fit_and_after_it(backend: Backend) -> None:
    class Costs(Callback):
        def __init__(self) -> None:
            self.costs: list[float] = []

        def on_step_end(self, trainer: Trainer, step: int) -> None:
            self.costs.append(trainer.step_cost)

    network, costs = single_weight(backend, 1.0), Costs()
    trainer = Trainer(network, TINY_RATE, batch_size=1, shuffle=False, callbacks=[costs])
    assert math.isnan(trainer.step_cost)
    trainer.fit(np.ones((3, 1)), np.array([[2.0], [3.0], [5.0]]), epochs=2)
    assert costs.costs == [0.5, 2.0, 8.0] * 2
    assert trainer.step_cost == 8.0
    trainer.step([[1.0]], [[4.0]])
    assert trainer.step_cost == 4.5


@pytest.mark.parametrize("ahead", [1, 2, 256])
def test_steps_on_the_batches_of_an_epoch_are_that_epoch(
    backend: Backend, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpubp.training.trainer.STEPS_AHEAD", ahead)
    x, y = classes(7)
    stepped, fitted = classifier(backend), classifier(backend)
    trainer = Trainer(stepped, "adam", seed=0)
    for start in (0, 3, 6):
        trainer.step(x[start : start + 3], y[start : start + 3])
    Trainer(fitted, "adam", batch_size=3, shuffle=False, seed=0).fit(x, y, epochs=1)
    np.testing.assert_array_equal(parameters(stepped), parameters(fitted))


class Spoil(Callback):
    def on_step_end(self, trainer: Trainer, step: int) -> None:
        trainer.network.parameters[...] = math.nan


def mixed_training(backend: Backend) -> Iterator[Trainer]:
    """A trainer after each part of a training of steps, fits, settings and failures."""
    x, y = classes(11)
    network = classifier(backend, dropout=0.2)
    trainer = Trainer(network, Adam(learning_rate=0.1), batch_size=4, schedule="cosine", seed=0)

    def steps(count: int, rows: int = 5, weights: Any = None) -> Iterator[Trainer]:
        for k in range(count):
            trainer.step(x[k : k + rows], y[k : k + rows], weights)
            yield trainer

    def fail(trainer: Trainer, history: History) -> None:
        raise RuntimeError("oh")

    yield from steps(4)
    yield from steps(2, rows=3)
    yield from steps(2, weights=np.linspace(0, 1, 5))
    trainer.fit(x, y, epochs=2)
    yield trainer
    yield from steps(1)
    trainer.fit(x, y, epochs=1)
    trainer.fit(x, y, epochs=1)
    yield from steps(2)
    for trainer.optimizer in (Adam(learning_rate=0.01), Adam(learning_rate=0.03, beta1=0.5)):
        yield from steps(2)
    trainer.callbacks = [fail]
    with pytest.raises(RuntimeError, match="oh"):
        trainer.fit(x, y, epochs=1)
    trainer.callbacks = []
    yield from steps(2)
    with pytest.raises(ValueError, match="rows"):
        trainer.fit(x, y[:3], epochs=1)
    yield from steps(1)
    trainer.early_stopping = EarlyStopping(1, min_improvement=9)
    trainer.fit(x, y, epochs=5)
    yield from steps(2)
    trainer.optimizer = "sgd"
    yield from steps(2)
    trainer.optimizer = Adam()
    yield from steps(2)
    trainer = copy.deepcopy(trainer)
    yield from steps(2)
    good = dict(trainer._steps)

    def interrupted() -> None:
        next(iter(good.values()))()
        raise KeyboardInterrupt

    trainer._steps = dict.fromkeys(good, interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(steps(1))
    trainer._steps = good
    yield from steps(2)
    trainer.callbacks = [Spoil()]
    with pytest.raises(DivergenceError):
        trainer.fit(x, y, epochs=1)
    yield from steps(3)


@pytest.mark.parametrize("ahead", [2, 3, 256])
def test_steps_prepared_ahead_are_those_prepared_one_by_one(
    backend: Backend, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for count in (1, ahead):
        monkeypatch.setattr("gpubp.training.trainer.STEPS_AHEAD", count)
        trained = mixed_training(backend)
        results.append([(parameters(t.network).tobytes(), t.step_cost) for t in trained])
    assert len(results[0]) > 20
    np.testing.assert_array_equal(*([cost for _, cost in result] for result in results))
    assert [bits for bits, _ in results[0]] == [bits for bits, _ in results[1]]


def test_a_learning_rate_set_between_steps_is_that_of_the_next_one(backend: Backend) -> None:
    network, expected = single_weight(backend, 1.0), 1.0
    trainer = Trainer(network, SGD(learning_rate=0.5))
    for rate in (0.5, 0.5, 0.25, 0.5, 0.125):
        trainer.optimizer = SGD(learning_rate=rate)
        for _ in range(2):
            trainer.step([[1.0]], [[0.0]])
            expected -= rate * expected
            assert parameters(network).tolist() == [expected]


def test_a_step_in_a_callback_between_epochs_is_one_update(backend: Backend) -> None:
    one = np.ones((1, 1))

    class Steps(Callback):
        def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
            trainer.step(one, 0 * one)

        def on_epoch_end(self, trainer: Trainer, history: History) -> None:
            trainer.step(one, 0 * one)

    network = single_weight(backend, 1.0)
    trainer = Trainer(network, SGD(learning_rate=0.5), batch_size=1, callbacks=[Steps()])
    trainer.fit(np.ones((2, 1)), np.zeros((2, 1)), epochs=2)
    assert parameters(network).tolist() == [0.5**8]
    assert trainer.step_cost == 0.5 * (0.5**7) ** 2


def test_a_step_does_not_follow_the_schedule(backend: Backend) -> None:
    x, y = classes(5)
    results = []
    for schedule in ("constant", gpubp.schedules.Step(every=1, factor=0.1)):
        network = classifier(backend)
        trainer = Trainer(network, "sgd", schedule=schedule)
        for _ in range(3):
            trainer.step(x, y)
        results.append(parameters(network))
    np.testing.assert_array_equal(*results)


def test_a_step_takes_any_memory_order(backend: Backend) -> None:
    x, y = classes(6)
    one_hot = np.eye(3)[y]
    results = []
    for x_given, y_given in ((x, one_hot), (np.asfortranarray(x), np.asfortranarray(one_hot))):
        network = classifier(backend)
        trainer = Trainer(network, "sgd", batch_size=4, seed=0)
        trainer.step(x_given, y_given)
        trainer.fit(x_given, y_given, epochs=1, validation_data=(x_given, y_given))
        results.append(parameters(network))
    np.testing.assert_array_equal(*results)


# A batch large enough for shards and blocks.

WIDE = (20, 512, 10)
WIDE_ROWS = 1100


@contextmanager
def threads(count: int) -> Iterator[None]:
    with threadpool_limits(count, user_api="blas"):
        if blas.get_threads() != count:
            pytest.skip("this BLAS does not let its threads be set")
        yield


def wide_run(count: int) -> tuple[np.ndarray, list[float]]:
    x, y = classes(WIDE_ROWS + 100, WIDE[0], WIDE[-1])
    network = Network(WIDE, output="softmax", backend="numpy", seed=0, dropout=0.2)
    with threads(count):
        plan = network.backend.plan(WIDE_ROWS, WIDE, None)
        assert len(plan) == count and len(plan[0]) > 1
        trainer = Trainer(
            network, SGD(learning_rate=0.1, momentum=0.5), batch_size=WIDE_ROWS, seed=0
        )
        history = trainer.fit(x, y, epochs=2, validation_data=(x, y))
    return parameters(network), history.cost + history.validation_cost


def test_any_number_of_threads_gives_the_same_result_and_each_number_its_own_bits() -> None:
    (one, one_costs), (two, two_costs) = wide_run(1), wide_run(2)
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(one_costs, two_costs, rtol=1e-5)
    for count, first in ((1, one), (2, two)):
        np.testing.assert_array_equal(wide_run(count)[0], first)


@pytest.mark.parametrize("count", [1, 2])
def test_shards_and_blocks_add_up_to_the_gradient_of_the_whole_batch(count: int) -> None:
    x, y = classes(WIDE_ROWS, WIDE[0], WIDE[-1])
    network = Network(WIDE, output="softmax", backend="numpy", dtype="float64", seed=0)
    expected = network.backprop(x, y)
    before = parameters(network)
    with threads(count):
        trainer = Trainer(network, SGD(learning_rate=1.0))
        trainer.step(x, y)
    np.testing.assert_allclose(before - parameters(network), expected.gradient, atol=1e-14)
    assert trainer.step_cost == pytest.approx(expected.cost, rel=1e-12)


REGRESSION = {"hidden": "gelu", "cost": get_cost("huber", threshold=0.5)}
CLASSIFICATION = {"hidden": "relu", "output": "softmax"}


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    ("sizes", "rows"), [((16, 64, 12), 70_000), ((300, 300, 10), 512)], ids=["rows", "weights"]
)
@pytest.mark.parametrize(
    "options",
    [
        CLASSIFICATION,
        {**CLASSIFICATION, "dropout": 0.5},
        REGRESSION,
        {**REGRESSION, "dropout": 0.5},
        {"hidden": "tanh", "output": "sigmoid"},
    ],
    ids=["classes", "classes-dropout", "huber", "huber-dropout", "labels"],
)
def test_a_warm_step_allocates_no_array(
    options: dict[str, Any], sizes: tuple[int, ...], rows: int, count: int
) -> None:
    x, labels = classes(rows, sizes[0], sizes[-1])
    x = x.astype("float32")
    y = labels if options.get("output") == "softmax" else np.eye(sizes[-1])[labels]
    weights = np.ones(rows)
    network = Network(sizes, backend="numpy", seed=0, **options)
    with threads(count):
        assert len(network.backend.plan(rows, sizes, None)) == count
        trainer = Trainer(network, Adam(l2=1e-4, clip_norm=1.0), seed=0)
        trainer.step(x, y, weights)
        tracemalloc.start()
        try:
            trainer.step(x, y, weights)
            before = tracemalloc.take_snapshot()
            start = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            for _ in range(2):
                trainer.step(x, y, weights)
            peak = tracemalloc.get_traced_memory()[1]
            after = tracemalloc.take_snapshot()
        finally:
            tracemalloc.stop()
    # A number for each row, or for each parameter, would be more than this; a ufunc that casts takes
    # less than this, 8192 elements at a time.
    assert 4 * max(rows, network.layout.size) > 2**18
    assert peak - start < 2**18
    arrays = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    kept = [
        sum(trace.size for trace in snapshot.filter_traces([arrays]).traces)
        for snapshot in (before, after)
    ]
    assert kept[1] <= kept[0]


def test_captured_steps_of_only_a_few_batch_sizes_are_kept() -> None:
    network = classifier()
    trainer = Trainer(network, "sgd")
    x, y = classes(40)
    for rows in range(1, 41):
        trainer.step(x[:rows], y[:rows])
    assert 1 < len(trainer._steps) < 20


# What a trainer keeps.


@pytest.mark.parametrize(
    ("optimizer", "early_stopping", "copied"),
    [
        (SGD(), None, 3 * 1),
        (SGD(momentum=0.9), None, 3 * 2),
        ("adam", None, 3 * 3),
        ("adam", 5, 4 * 3),
    ],
    ids=["sgd", "momentum", "adam", "adam-stopping"],
)
def test_a_fit_keeps_as_many_copies_of_parameters_and_state_as_the_trainer_says(
    optimizer: Any, early_stopping: int | None, copied: int
) -> None:
    network = Network((400, 500), dtype="float64", backend="numpy", seed=0)
    x, y = np.ones((4, 400)), np.ones((4, 500))
    trainer = Trainer(network, optimizer, early_stopping=early_stopping)
    trainer.fit(x, y, epochs=1)
    tracemalloc.start()
    try:
        start = tracemalloc.get_traced_memory()[0]
        trainer.fit(x, y, epochs=4)
        peak = tracemalloc.get_traced_memory()[1] - start
    finally:
        tracemalloc.stop()
    assert copied <= peak / network.parameters.nbytes < copied + 0.5


@pytest.mark.parametrize("failing", [False, True])
def test_a_fit_or_a_step_keeps_no_hold_of_its_data(failing: bool) -> None:
    def fail(trainer: Trainer, history: History) -> None:
        raise RuntimeError("oh")

    arrays = [np.ones((6, 3)), np.eye(3)[[0, 1, 2] * 2], np.ones(6)]
    alive = [weakref.ref(array) for array in arrays]
    trainer = Trainer(classifier(), "sgd", batch_size=4)
    if failing:
        trainer.callbacks = as_callbacks([fail])
        with pytest.raises(RuntimeError, match="oh"):
            trainer.fit(*arrays[:2], epochs=1, sample_weight=arrays[2])
    else:
        trainer.step(*arrays)
        trainer.fit(*arrays[:2], epochs=1, sample_weight=arrays[2])
    arrays.clear()
    gc.collect()  # a caught error's traceback goes in circles
    assert [array() for array in alive] == [None] * 3


@pytest.mark.parametrize("copied", [lambda t: pickle.loads(pickle.dumps(t)), copy.deepcopy])
@pytest.mark.parametrize("optimizer", ["adam", SGD(momentum=0.9)], ids=["adam", "momentum"])
def test_a_copy_goes_on_like_the_original(backend: Backend, optimizer: Any, copied: Any) -> None:
    x, y = classes(11)
    trainer = Trainer(
        classifier(backend, dropout=0.3), optimizer, batch_size=2, accumulate=2, schedule="cosine",
        early_stopping=7, seed=3,
    )  # fmt: skip
    trainer.fit(x, y, epochs=2)
    other = copied(trainer)
    assert other.network is not trainer.network
    assert (other.batch_size, other.accumulate, other.early_stopping.patience) == (2, 2, 7)
    assert math.isnan(other.step_cost)
    costs = [each.fit(x, y, epochs=2).cost for each in (trainer, other)]
    assert costs[0] == costs[1]
    for each in (trainer, other):
        each.step(x, y)
    np.testing.assert_array_equal(parameters(trainer.network), parameters(other.network))
    assert other.step_cost == trainer.step_cost


def test_a_pickle_of_a_trainer_has_neither_data_nor_buffers() -> None:
    trainer = Trainer(classifier(), "adam", batch_size=5000)
    trainer.fit(*classes(20_000), epochs=1)
    assert len(pickle.dumps(trainer)) < 10_000


def test_other_hyperparameters_go_on_with_the_optimizers_state(backend: Backend) -> None:
    x, y = classes(6)
    results = []
    for change in (False, True):
        network = classifier(backend)
        trainer = Trainer(network, Adam(beta1=0.9), shuffle=False)
        trainer.fit(x, y, epochs=2)
        if change:
            for optimizer in (Adam(beta1=0.5, learning_rate=0.3), Adam(beta1=0.9)):
                trainer.optimizer = optimizer
                assert trainer.optimizer is optimizer
        trainer.fit(x, y, epochs=2)
        results.append(parameters(network))
    np.testing.assert_array_equal(*results)
    trainer.optimizer = Adam(learning_rate=1e-300)
    before = parameters(network)
    trainer.fit(x, y, epochs=1)
    np.testing.assert_array_equal(parameters(network), before)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("adam", "rmsprop"),
        (SGD(momentum=0.9, nesterov=True), "adam"),
        (SGD(), SGD(momentum=0.9)),
        (SGD(momentum=0.9), SGD(momentum=0.9, l2=0.1)),
    ],
    ids=str,
)
def test_another_optimizer_begins_with_fresh_state(
    backend: Backend, first: Any, second: Any
) -> None:
    x, y = classes(6)
    network = classifier(backend)
    trainer = Trainer(network, first, shuffle=False)
    trainer.fit(x, y, epochs=3)
    start = parameters(network)
    trainer.optimizer = second
    trainer.fit(x, y, epochs=2)
    fresh = classifier(backend)
    fresh.parameters[...] = fresh.backend.asarray(start)
    Trainer(fresh, second, shuffle=False).fit(x, y, epochs=2)
    np.testing.assert_array_equal(parameters(network), parameters(fresh))


def test_an_optimizer_that_is_none_is_told_and_the_old_one_stays() -> None:
    trainer = Trainer(classifier(), "adam")
    with pytest.raises(ValueError, match=r"^unknown optimizer 'adm'; did you mean 'adam'\?$"):
        trainer.optimizer = "adm"
    assert trainer.optimizer == Adam()


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


# History.


@pytest.mark.parametrize("weighted", [False, True])
def test_the_cost_of_an_epoch_is_the_mean_over_its_rows(backend: Backend, weighted: bool) -> None:
    x, y = classes(11)
    weights = np.linspace(0, 3, 11) if weighted else None
    network = classifier(backend)
    history = Trainer(network, TINY_RATE, batch_size=4, seed=0).fit(
        x, y, epochs=2, sample_weight=weights
    )
    logits = backend.to_numpy(network.forward(x).z[-1])
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(11), y]
    np.testing.assert_allclose(history.cost, np.average(losses, weights=weights), rtol=1e-12)


@pytest.mark.parametrize("chunk", [4, 8192])
@pytest.mark.parametrize("kind", ["labels", "one-hot", "bits", "numbers"])
def test_validation_figures_are_those_of_the_network_after_the_epoch(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, kind: str, chunk: int
) -> None:
    monkeypatch.setattr(evaluation, "CHUNK_ROWS", chunk)
    x, labels = classes(10)
    weights = np.linspace(0.1, 1, 10)
    network, y = classifier(backend), labels
    if kind == "one-hot":
        y = np.eye(3)[labels]
    elif kind != "labels":
        y = np.random.default_rng(1).integers(0, 2, (10, 3)).astype(float)
        output = "sigmoid" if kind == "bits" else "identity"
        network = Network((3, 4, 3), output=output, backend=backend, dtype="float64", seed=0)
    history = Trainer(network, "sgd", batch_size=3).fit(
        x, y, epochs=1, validation_data=(x, y, weights)
    )
    assert history.validation_cost == [pytest.approx(network.cost(x, y, weights), rel=1e-12)]
    outputs = network.predict(x)
    if kind == "numbers":
        assert history.validation_accuracy == []
    else:
        right = ((outputs > 0.5) == y).mean(1) if kind == "bits" else outputs.argmax(1) == labels
        assert history.validation_accuracy == [pytest.approx(np.average(right, weights=weights))]


def test_history_has_one_entry_an_epoch_and_is_json() -> None:
    x, y = classes(9)
    history = Trainer(classifier(), "adam").fit(x, y, epochs=4, validation_data=(x, y))
    record = history.to_dict()
    lists = {name: value for name, value in record.items() if isinstance(value, list)}
    assert {name: len(value) for name, value in lists.items()} == dict.fromkeys(
        ["cost", "validation_cost", "validation_accuracy", "learning_rate", "seconds"], 4
    )
    assert len(history) == 4
    assert history.stopped == "epochs"
    assert history.best_epoch == int(np.argmin(history.validation_cost))
    assert history.monitored == history.validation_cost
    assert all(seconds > 0 for seconds in history.seconds)
    assert json.loads(json.dumps(record)) == record


@pytest.mark.parametrize("validated", [False, True])
def test_plot_draws_the_history_and_writes_a_picture(tmp_path: Path, validated: bool) -> None:
    pytest.importorskip("matplotlib")
    history = History(cost=[3.0, 2.0, 1.5], best_epoch=2)
    if validated:
        history.validation_cost, history.validation_accuracy = [3.5, 2.5, 2.6], [0.2, 0.5, 0.4]
        history.best_epoch = 1
    path = tmp_path / "history.png"
    figure = history.plot(path)
    assert path.read_bytes().startswith(b"\x89PNG")
    drawn = [line.get_ydata().tolist() for axes in figure.axes for line in axes.lines]
    assert drawn[0] == history.cost
    if validated:
        assert drawn[1:] == [history.validation_cost, [2.5], pytest.approx([20.0, 50.0, 40.0])]
    else:
        assert drawn[1:] == [[1.5]]


@pytest.mark.parametrize("history", [History(), History(cost=[0.0, -1.0], best_epoch=1)])
def test_plot_takes_an_empty_history_and_costs_that_no_logarithm_has(history: History) -> None:
    pytest.importorskip("matplotlib")
    assert history.plot().axes[0].get_yscale() == "linear"


def test_plot_without_matplotlib_says_which_extra_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'gpubp[plot]'")):
        History(cost=[1.0]).plot()


# Stopping, callbacks, progress.


def learn_past_the_best(backend: Backend | str, **options: Any) -> tuple[Network, Trainer, Any]:
    """A weight on its way from 0 to 1 passes 0.6, where the validation cost is lowest."""
    network = single_weight(backend)
    trainer = Trainer(network, SGD(learning_rate=0.1, momentum=0.5), shuffle=False, **options)
    one = np.ones((1, 1))
    return network, trainer, {"x": one, "y": one, "validation_data": (one, 0.6 * one)}


@pytest.mark.parametrize("yes", [True, np.True_])
def test_early_stopping_is_a_number_of_epochs_or_whether_its_defaults_are_taken(yes: Any) -> None:
    for given, expected in [
        (yes, EarlyStopping()),
        (not yes, None),
        (None, None),
        (np.int64(1), EarlyStopping(patience=1)),
        (EarlyStopping(3, 0.5), EarlyStopping(3, 0.5)),
    ]:
        assert Trainer(classifier(), early_stopping=given).early_stopping == expected


def test_early_stopping_gives_the_best_parameters_back(backend: Backend) -> None:
    network, trainer, data = learn_past_the_best(backend, early_stopping=3)
    history = trainer.fit(**data, epochs=100)
    costs = history.validation_cost
    assert history.stopped == "early stopping"
    assert 0 < history.best_epoch == int(np.argmin(costs)) == len(history) - 4
    assert network.cost(*data["validation_data"]) == min(costs) < costs[-1]


def test_after_early_stopping_training_goes_on_from_the_best_epoch(backend: Backend) -> None:
    network, trainer, data = learn_past_the_best(backend, early_stopping=3)
    best = trainer.fit(**data, epochs=100).best_epoch
    other, other_trainer, _ = learn_past_the_best(backend)
    other_trainer.fit(**data, epochs=best + 1)
    np.testing.assert_array_equal(parameters(network), parameters(other))
    for each in (trainer, other_trainer):
        each.step(data["x"], data["y"])
    np.testing.assert_array_equal(parameters(network), parameters(other))


def test_the_best_parameters_come_back_when_the_epochs_run_out_first() -> None:
    network, trainer, data = learn_past_the_best("numpy", early_stopping=100)
    history = trainer.fit(**data, epochs=20)
    assert history.stopped == "epochs" and len(history) == 20
    assert network.cost(*data["validation_data"]) == min(history.validation_cost)


def test_without_early_stopping_the_last_parameters_stay() -> None:
    network, trainer, data = learn_past_the_best("numpy")
    history = trainer.fit(**data, epochs=20)
    assert history.best_epoch < 19
    assert network.cost(*data["validation_data"]) == history.validation_cost[-1]


def test_early_stopping_without_validation_data_watches_the_training_cost() -> None:
    network = single_weight(weight=1.0)
    trainer = Trainer(network, SGD(learning_rate=2.5), early_stopping=2)  # every step overshoots
    history = trainer.fit(np.ones((1, 1)), np.zeros((1, 1)), epochs=50)
    assert (history.stopped, history.best_epoch, len(history)) == ("early stopping", 0, 3)


def test_a_fall_smaller_than_min_improvement_does_not_count() -> None:
    _, trainer, data = learn_past_the_best(
        "numpy", early_stopping=EarlyStopping(2, min_improvement=9)
    )
    history = trainer.fit(**data, epochs=50)
    assert (history.stopped, history.best_epoch, len(history)) == ("early stopping", 0, 3)


class Log(Callback):
    def __init__(self, name: str, log: list[Any]) -> None:
        self.name, self.log = name, log

    def on_fit_begin(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        self.log.append((self.name, "fit begins", trainer, epochs, steps_per_epoch))

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        self.log.append((self.name, "epoch begins", trainer, epoch))

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        self.log.append((self.name, "step", trainer, step))

    def on_epoch_end(self, trainer: Trainer, history: History) -> None:
        self.log.append((self.name, "epoch ends", trainer, len(history)))

    def on_fit_end(self, trainer: Trainer, history: History) -> None:
        self.log.append((self.name, "fit ends", trainer, len(history)))


def test_callbacks_are_called_in_order(backend: Backend) -> None:
    log: list[Any] = []

    def function(trainer: Trainer, history: History) -> None:
        log.append(("f", "epoch ends", trainer, len(history)))

    callbacks = [Log("a", log), function, Log("b", log)]
    trainer = Trainer(classifier(backend), "sgd", batch_size=4, callbacks=callbacks)
    trainer.fit(*classes(6), epochs=2)
    told = [("fit begins", 2, 2)]
    for epoch in range(2):
        told += [("epoch begins", epoch), ("step", 0), ("step", 1), ("epoch ends", epoch + 1)]
    told += [("fit ends", 2)]
    expected = []
    for event, *numbers in told:
        names = "afb" if event == "epoch ends" else "ab"
        expected += [(name, event, trainer, *numbers) for name in names]
    assert log == expected


def test_steps_are_counted_by_updates_where_batches_accumulate() -> None:
    log: list[Any] = []
    trainer = Trainer(classifier(), "sgd", batch_size=2, accumulate=2, callbacks=[Log("a", log)])
    trainer.fit(*classes(9), epochs=1)
    assert log[0][3:] == (1, 3)
    assert [entry[3] for entry in log if entry[1] == "step"] == [0, 1, 2]


class StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        if step == self.step:
            trainer.stop("enough")


def test_stop_ends_training_after_the_current_step(backend: Backend) -> None:
    network = single_weight(backend, 1.0)
    trainer = Trainer(network, TINY_RATE, batch_size=2, shuffle=False, callbacks=[StopAt(1)])
    x = np.ones((6, 1))
    y = np.array([[1.0], [1.0], [2.0], [2.0], [9.0], [9.0]])
    history = trainer.fit(x, y, epochs=5)
    assert (history.stopped, len(history)) == ("enough", 1)
    assert history.cost == [0.25]  # of the two batches that ran


def test_stop_at_the_end_of_an_epoch_ends_training_there_and_the_next_fit_starts_afresh() -> None:
    def stop(trainer: Trainer, history: History) -> None:
        if len(history) == 2:
            trainer.stop("enough")

    trainer = Trainer(classifier(), "sgd", callbacks=[stop])
    x, y = classes(4)
    history = trainer.fit(x, y, epochs=5)
    assert (history.stopped, len(history)) == ("enough", 2)
    history = trainer.fit(x, y, epochs=1)
    assert (history.stopped, len(history)) == ("epochs", 1)


def fit_with_progress(validated: bool = True) -> History:
    x, y = classes(9)
    trainer = Trainer(classifier(), "sgd", batch_size=4)
    data = (x, y) if validated else None
    return trainer.fit(x, y, epochs=2, validation_data=data, progress=True)


@pytest.mark.parametrize("validated", [False, True])
def test_progress_without_rich_is_a_line_an_epoch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], validated: bool
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    history = fit_with_progress(validated)
    lines = []
    for k in range(2):
        line = f"epoch {k + 1}/2  cost {history.cost[k]:.4f}"
        if validated:
            line += f"  validation {history.validation_cost[k]:.4f}"
            line += f"  accuracy {100 * history.validation_accuracy[k]:.2f} %"
        lines.append(line + "\n")
    assert capsys.readouterr() == ("", "".join(lines))


def test_progress_with_rich_ends_with_the_last_figures_and_no_escape_codes_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rich")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    history = fit_with_progress()
    out, err = capsys.readouterr()
    assert out == "" and "\x1b" not in err
    assert "epoch 2/2" in err and f"cost {history.cost[-1]:.4f}" in err


def test_progress_with_rich_gives_a_terminal_its_cursor_back_even_when_the_fit_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")

    def fail(trainer: Trainer, history: History) -> None:
        raise RuntimeError("no")

    trainer = Trainer(classifier(), "sgd", callbacks=[fail])
    with pytest.raises(RuntimeError, match="no"):
        trainer.fit(*classes(4), epochs=1, progress=True)
    hidden, shown = "\x1b[?25l", "\x1b[?25h"
    err = capsys.readouterr().err
    assert err.count(hidden) == err.count(shown) == 1
    assert err.index(hidden) < err.index(shown)


# Dropout.


def philox_uniform(seed: int, step: int, layer: int, position: int) -> float:
    """Philox4x64-10 as its paper (Salmon et al. 2011) writes it, in Python's own integers."""
    word = 2**64
    counter, key = [position // 8 + 1, step, layer, 0], [seed, 0]
    for _ in range(10):
        high0, low0 = divmod(0xD2E7470EE14C6C93 * counter[0], word)
        high1, low1 = divmod(0xCA5A826395121157 * counter[2], word)
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0]
        key = [(key[0] + 0x9E3779B97F4A7C15) % word, (key[1] + 0xBB67AE8584CAA73B) % word]
    half = counter[position // 2 % 4] >> 32 * (position % 2) & 0xFFFFFFFF
    return (half >> 8) / 2**24


def dropped(
    backend: Backend, shape: tuple[int, int], step: int, first: int = 0, **options: Any
) -> np.ndarray:
    settings = {"seed": 7, "layer": 2, "rate": 0.25, "dtype": "float64", **options}
    x = backend.xp.ones(shape, settings["dtype"])
    out = backend.xp.empty(shape, settings["dtype"])
    counters = backend.asarray(np.array([step, 0]))
    backend.dropout(x, out, counters, settings["seed"], settings["layer"], first, settings["rate"])
    return backend.to_numpy(out)


def test_masks_are_numpys_philox_numbers(backend: Backend) -> None:
    generator = np.random.Philox(counter=[0, 5, 2, 0], key=[7, 0])
    numbers = np.random.Generator(generator).random(600, dtype=np.float32).reshape(20, 30)
    expected = np.where(numbers >= 0.25, 1 / 0.75, 0)
    np.testing.assert_allclose(dropped(backend, (20, 30), step=5), expected, rtol=1e-7)


def test_masks_are_the_papers_philox_numbers(backend: Backend) -> None:
    seed = 2**63 - 25
    kept = dropped(backend, (9, 3), step=11, first=1001, seed=seed, layer=1) > 0
    expected = [philox_uniform(seed, 11, 1, 1001 + k) >= 0.25 for k in range(27)]
    assert kept.ravel().tolist() == expected


def test_a_mask_depends_on_seed_step_layer_and_position_alone(backend: Backend) -> None:
    whole = dropped(backend, (40, 7), step=3)
    for cut in (1, 8, 13):
        part = dropped(backend, (40 - cut, 7), step=3, first=7 * cut)
        np.testing.assert_array_equal(part, whole[cut:])
    for other in ({"step": 4}, {"seed": 8}, {"layer": 1}, {"first": 7}):
        changed = dropped(backend, (40, 7), **{"step": 3, **other})
        assert (changed != whole).mean() > 0.2


def test_a_long_mask_is_the_same_in_one_piece_and_in_many() -> None:
    backend = get_backend("numpy")
    whole = dropped(backend, (100, 500), step=1)
    parts = [dropped(backend, (10, 500), step=1, first=5000 * k) for k in range(10)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_rate_is_respected_and_the_expectation_kept(backend: Backend, rate: float) -> None:
    values = dropped(backend, (100, 400), step=0, rate=rate, dtype="float32")
    deviation = math.sqrt(rate * (1 - rate) / values.size)
    assert abs((values == 0).mean() - rate) < 5 * deviation
    assert abs(values.mean() - 1) < 5 * deviation / (1 - rate)
    assert np.unique(values).tolist() == pytest.approx([0, 1 / (1 - rate)], rel=1e-6)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_gradients_under_a_mask_are_those_of_finite_differences_under_the_same_mask(
    backend: Backend, activation: str
) -> None:
    x, y = classes(6, 2, 2)

    def stepped(change: np.ndarray) -> tuple[float, np.ndarray]:
        options: dict[str, Any] = {"hidden": activation, "dropout": [0.5, 0.3]}
        network = Network(
            (2, 4, 3, 2), output="softmax", dtype="float64", backend=backend, seed=1, **options
        )
        start = np.random.default_rng(2).normal(size=change.size) + change
        network.parameters[...] = backend.asarray(start)
        trainer = Trainer(network, SGD(learning_rate=1.0), batch_size=4, accumulate=2, seed=6)
        trainer.step(x, y)
        return trainer.step_cost, start - parameters(network)

    n, h = 4 * 2 + 3 * 4 + 2 * 3 + 9, 1e-5
    cost, gradient = stepped(np.zeros(n))
    chosen = range(n) if backend.name == "numpy" else range(0, n, 5)
    differences = [
        (stepped(h * np.eye(n)[k])[0] - stepped(-h * np.eye(n)[k])[0]) / (2 * h) for k in chosen
    ]
    np.testing.assert_allclose(gradient[list(chosen)], differences, rtol=1e-6, atol=1e-9)
    plain = Network((2, 4, 3, 2), output="softmax", dtype="float64", seed=1, hidden=activation)
    assert abs(plain.cost(x, y) - cost) > 1e-4  # the mask did something


def test_each_step_draws_a_new_mask_and_prediction_none(backend: Backend) -> None:
    x, y = classes(8)
    dropping, plain = classifier(backend, dropout=0.5), classifier(backend)
    trainer = Trainer(dropping, TINY_RATE, seed=0)
    costs = []
    for _ in range(3):
        trainer.step(x, y)
        costs.append(trainer.step_cost)
    assert len(set(costs)) == 3
    np.testing.assert_array_equal(dropping.predict(x), plain.predict(x))
    assert dropping.cost(x, y) == plain.cost(x, y)
    history = trainer.fit(x, y, epochs=1, validation_data=(x, y))
    assert history.validation_cost == [pytest.approx(plain.cost(x, y), rel=1e-12)]
    assert history.cost != history.validation_cost


# Failures.


class Raise(Callback):
    def __init__(self, event: str, error: BaseException) -> None:
        self.error = error
        setattr(self, event, self._raise)

    def _raise(self, *arguments: Any) -> None:
        raise self.error

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        """Overridden, so that the trainer looks for it."""


@pytest.mark.parametrize("error", [RuntimeError("oh"), KeyboardInterrupt("oh")])
@pytest.mark.parametrize(
    "event", ["on_fit_begin", "on_epoch_begin", "on_step_end", "on_epoch_end", "on_fit_end"]
)
@pytest.mark.parametrize("optimizer", ["adam", SGD(momentum=0.9)], ids=["adam", "momentum"])
def test_an_error_in_a_callback_leaves_network_and_optimizer_as_they_were(
    backend: Backend, optimizer: Any, event: str, error: BaseException
) -> None:
    x, y = classes(8)

    def trained(fail: bool) -> np.ndarray:
        network = classifier(backend, dropout=0.2)
        trainer = Trainer(network, optimizer, batch_size=4, shuffle=False, seed=1)
        trainer.fit(x, y, epochs=1)
        before = parameters(network)
        if fail:
            trainer.callbacks = [Raise(event, error)]
            with pytest.raises(type(error), match="oh"):
                trainer.fit(x + 1, y, epochs=2)
            np.testing.assert_array_equal(parameters(network), before)
            trainer.callbacks = []
        trainer.fit(x, y, epochs=1)
        return parameters(network)

    np.testing.assert_array_equal(trained(fail=True), trained(fail=False))


def test_the_end_of_a_fit_is_told_even_when_it_fails() -> None:
    log: list[Any] = []
    callbacks = [Raise("on_epoch_begin", RuntimeError("oh")), Log("a", log)]
    with pytest.raises(RuntimeError, match="oh"):
        Trainer(classifier(), "sgd", callbacks=callbacks).fit(*classes(4), epochs=1)
    assert [entry[1] for entry in log] == ["fit begins", "fit ends"]


def test_bad_input_changes_nothing(backend: Backend) -> None:
    x, y = classes(8)
    network = classifier(backend)
    trainer = Trainer(network, "adam")
    trainer.step(x, y)
    before = parameters(network)
    spoilt = x.copy()
    spoilt[7, 1] = np.nan
    for arguments, options in [
        ((spoilt, y), {}),
        ((x, y), {"validation_data": (spoilt, y)}),
        ((x, y), {"epochs": 0}),
    ]:
        with pytest.raises(ValueError, match=r"holds nan at \[7, 1\]|epochs"):
            trainer.fit(*arguments, **{"epochs": 1, **options})
    np.testing.assert_array_equal(parameters(network), before)


class Starts(Callback):
    """The parameters that each epoch began with."""

    def __init__(self) -> None:
        self.parameters: list[np.ndarray] = []

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        self.parameters.append(parameters(trainer.network))


@pytest.mark.parametrize("batch_size", [4, 100], ids=["batches", "whole"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_divergence_is_told_and_gives_the_last_good_parameters_back(
    backend: Backend, dtype: str, batch_size: int
) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=(12, 2))
    network = Network((3, 5, 2), dtype=dtype, backend=backend, seed=0)
    starts = Starts()
    options: dict[str, Any] = {"batch_size": batch_size, "callbacks": [starts], "seed": 0}
    text = (
        r"^the (?:cost became (?:nan|inf)|parameters stopped being finite) in epoch (\d+); the network"
        r" has the parameters from before epoch (\d+) \(a lower learning rate or clip_norm may help\)$"
    )
    with pytest.raises(DivergenceError, match=text) as caught:
        Trainer(network, SGD(learning_rate=1e30), **options).fit(x, y, epochs=50)
    match = re.search(text, str(caught.value))
    assert match is not None
    np.testing.assert_array_equal(parameters(network), starts.parameters[int(match[2]) - 1])
    assert math.isfinite(network.cost(x, y))
    history = caught.value.history
    assert isinstance(history, History)
    assert history.stopped == "diverged"
    assert len(history) == caught.value.epoch == int(match[1]) - 1
    assert all(math.isfinite(cost) for cost in history.cost)


def test_divergence_after_good_epochs_keeps_what_they_learnt(backend: Backend) -> None:
    class Spoil(Starts):
        def on_step_end(self, trainer: Trainer, step: int) -> None:
            if len(self.parameters) == 4 and step == 0:
                trainer.network.parameters[...] = math.nan

    spoil = Spoil()
    network = classifier(backend)
    trainer = Trainer(network, "sgd", batch_size=3, callbacks=[spoil])
    with pytest.raises(DivergenceError, match=r"nan in epoch 4; .* before epoch 4") as caught:
        trainer.fit(*classes(6), epochs=9)
    np.testing.assert_array_equal(parameters(network), spoil.parameters[3])
    assert isinstance(caught.value.history, History)
    assert caught.value.epoch == len(caught.value.history) == 3


def test_an_epoch_that_begins_with_an_overflowing_cost_goes_back_one_more(
    backend: Backend,
) -> None:
    # Every step takes w to w - η w, and the cost ½ w² overflows from 1e155 on.
    for rate, epoch, weight in ((1e200, 2, 1.0), (1e100, 3, -1e100), (1e60, 4, 1e120)):
        network = single_weight(backend, 1.0)
        trainer = Trainer(network, SGD(learning_rate=rate))
        one = np.ones((1, 1))
        text = rf"cost became inf in epoch {epoch}; .* before epoch {epoch - 1} "
        with pytest.raises(DivergenceError, match=text):
            trainer.fit(one, 0 * one, epochs=9)
        assert parameters(network).tolist() == [pytest.approx(weight)]


def test_a_last_update_that_overflows_is_divergence_too(backend: Backend) -> None:
    network = single_weight(backend, 1e10)
    trainer = Trainer(network, SGD(learning_rate=1e300))
    one = np.ones((1, 1))
    with pytest.raises(DivergenceError, match=r"^the parameters stopped being finite in epoch 1"):
        trainer.fit(one, 0 * one, epochs=1)
    assert parameters(network).tolist() == [1e10]


def test_a_validation_cost_that_overflows_is_divergence(backend: Backend) -> None:
    network = single_weight(backend, 1.0)
    one = np.ones((1, 1))
    with pytest.raises(DivergenceError, match=r"^the validation cost became inf in epoch 1"):
        Trainer(network, "sgd").fit(one, 0 * one, epochs=1, validation_data=(1e200 * one, one))
    assert parameters(network).tolist() == [1.0]


def test_training_can_go_on_after_divergence(backend: Backend) -> None:
    x, y = classes(6)
    results = []
    for spoilt in (False, True):
        network = classifier(backend, dropout=0.3)
        trainer = Trainer(network, "adam", shuffle=False, seed=0)
        if spoilt:
            stop = Raise("on_step_end", DivergenceError("one of its own", 0, None))
            trainer.callbacks = [stop]
            with pytest.raises(DivergenceError, match="one of its own"):
                trainer.fit(x, y, epochs=1)
            trainer.callbacks = []
        trainer.fit(x, y, epochs=2)
        results.append(parameters(network))
    np.testing.assert_array_equal(*results)


# Bad settings and bad data, by text.


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        (
            {"batch_size": 0},
            ValueError,
            "batch_size is 0, expected a whole number at least 1",
        ),
        ({"batch_size": 1.5}, ValueError, "batch_size is 1.5, expected a whole number"),
        ({"batch_size": True}, ValueError, "batch_size is True, expected a whole number"),
        ({"accumulate": -1}, ValueError, "accumulate is -1, expected a whole number at least 1"),
        ({"seed": -1}, ValueError, "seed is -1, expected a whole number at least 0"),
        ({"seed": "a"}, ValueError, "seed is 'a', expected a whole number"),
        ({"early_stopping": 0}, ValueError, "patience is 0, expected a whole number at least 1"),
        (
            {"early_stopping": "5"},
            TypeError,
            "early_stopping is '5', expected an EarlyStopping, a number of epochs, True, False or None",
        ),
        ({"shuffle": "no"}, ValueError, "shuffle is 'no', expected True or False"),
        ({"shuffle": 1}, ValueError, "shuffle is 1, expected True or False"),
        ({"callbacks": [3]}, TypeError, "callbacks holds 3, expected a Callback or a function"),
        ({"callbacks": 3}, TypeError, "callbacks is 3, expected a list of Callbacks or functions"),
        ({"optimizer": "rmspropp"}, ValueError, "unknown optimizer 'rmspropp'; did you mean"),
        ({"optimizer": None}, ValueError, "unknown optimizer None; known: adam, adamw,"),
        (
            {"schedule": "onecycle"},
            ValueError,
            "unknown schedule 'onecycle'; did you mean 'one_cycle'",
        ),
        ({"schedule": 0.1}, ValueError, "unknown schedule 0.1; known: constant, cosine,"),
    ],
    ids=str,
)
def test_wrong_settings_are_told_by_name(
    settings: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}"):
        Trainer(classifier(), **settings)
    ((name, value),) = settings.items()
    trainer = Trainer(classifier())
    if name != "seed":
        before = getattr(trainer, name)
        with pytest.raises(error, match=f"^{re.escape(text)}"):
            setattr(trainer, name, value)
        assert getattr(trainer, name) == before


def test_settings_may_be_set_anew_as_they_are_given_to_the_trainer() -> None:
    ended: list[int] = []
    trainer = Trainer(classifier(), "sgd", batch_size=2)
    trainer.schedule, trainer.early_stopping = "cosine", True
    trainer.callbacks = [lambda trainer, history: ended.append(1)]
    trainer.callbacks.append(lambda trainer, history: ended.append(2))
    history = trainer.fit(*classes(4), epochs=2)
    assert trainer.schedule == gpubp.schedules.Cosine()
    assert history.learning_rate[-1] == 0
    assert trainer.early_stopping == EarlyStopping()
    assert ended == [1, 2] * 2


@pytest.mark.parametrize("network", [3, "numpy", Network])
def test_a_network_that_is_none_is_told(network: Any) -> None:
    text = f"network is {network!r}, expected a gpubp.Network"
    with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
        Trainer(network)


def test_early_stopping_says_what_its_parameters_may_be() -> None:
    with pytest.raises(ValueError, match=r"^patience is 1\.5, expected a whole number at least 1$"):
        EarlyStopping(patience=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^min_improvement is -1, expected a number at least 0$"):
        EarlyStopping(min_improvement=-1)


X, Y = classes(4)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"epochs": 0}, "epochs is 0, expected a whole number at least 1"),
        ({"epochs": 2.0}, "epochs is 2.0, expected a whole number at least 1"),
        ({"x": X[:, :2]}, "x has 2 columns, expected 3, the width of the input layer"),
        ({"x": X[:0]}, "x has no rows, expected at least one"),
        ({"x": [["a", "b", "c"]]}, "x has dtype <U1, expected real numbers"),
        ({"y": Y[:3]}, "y has 3 rows, expected 4, as x has"),
        ({"y": [0, 1, 2, 3]}, "y holds the label 3, expected labels from 0 to 2"),
        ({"y": Y + 0.5}, "y has dtype float64, expected integer labels from 0 to 2"),
        ({"y": np.ones((4, 3))}, "y's row 0 sums to 3, expected rows of probabilities"),
        ({"sample_weight": [1, 2]}, "sample_weight has shape (2,), expected (4,)"),
        ({"sample_weight": [1, 1, 1, -1]}, "sample_weight holds -1, expected no negative number"),
        ({"sample_weight": [0, 0, 0, 0]}, "sample_weight is all zero"),
        ({"x": X * 1e300}, "x holds "),
        ({"sample_weight": [1, 1, 1e300, 1]}, "sample_weight holds 1e+300, too large for float32"),
        ({"validation_data": (X * 1e300, Y)}, "validation x holds "),
        ({"validation_data": (X, Y[:2])}, "validation y has 2 rows, expected 4"),
        (
            {"validation_data": (X, Y, [1])},
            "validation sample_weight has shape (1,), expected (4,)",
        ),
    ],
)
def test_bad_data_is_told_by_name(backend: Backend, changed: dict[str, Any], text: str) -> None:
    network = classifier(backend, dtype="float32")
    before = parameters(network)
    with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
        Trainer(network, "sgd").fit(**{"x": X, "y": Y, "epochs": 1, **changed})
    np.testing.assert_array_equal(parameters(network), before)


def test_a_step_looks_at_no_values(backend: Backend) -> None:
    network = classifier(backend, dtype="float32")
    trainer = Trainer(network, "sgd")
    trainer.step(X * 1e300, Y, [-1, 1, 1, 1])
    assert not math.isfinite(trainer.step_cost)


@pytest.mark.parametrize(
    "data", [X, (X,), (X, Y, Y, Y), "xy"], ids=lambda data: type(data).__name__
)
def test_validation_data_that_is_no_pair_is_told(data: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"^validation_data .*\(x, y\)"):
        Trainer(classifier()).fit(X, Y, epochs=1, validation_data=data)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((X[:, :2], Y), "x has 2 columns, expected 3"),
        ((X, Y[:3]), "y has 3 rows, expected 4"),
        ((X, Y * 1.0), "y has dtype float64, expected integer labels"),
        ((X, Y, [1, 2]), "sample_weight has shape (2,), expected (4,)"),
        ((np.ma.masked_array(X, X > 0), Y), "x is a masked array, expected a number everywhere"),
        ((scipy.sparse.csr_array(X), Y), "x is sparse, expected a dense array"),
    ],
)
def test_a_step_tells_shapes_and_types_that_are_wrong(
    backend: Backend, arguments: tuple[Any, ...], text: str
) -> None:
    network = classifier(backend)
    before = parameters(network)
    with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
        Trainer(network, "sgd").step(*arguments)
    np.testing.assert_array_equal(parameters(network), before)


class OwnArray(np.ndarray[Any, Any]):
    """A subclass, as numpy.memmap is one."""


def test_a_step_looks_at_every_batch_that_is_not_like_the_last_one(backend: Backend) -> None:
    def given(array: np.ndarray) -> Any:
        return backend.asarray(array)

    good: list[tuple[Any, ...]] = [
        (X, Y),
        (X.view(OwnArray), Y.view(OwnArray)),
        (given(X), given(Y)),
        (given(X), given(Y), given(np.ones(4))),
        (given(X[:1]), given(Y[:1])),
    ]
    bad: list[tuple[tuple[Any, ...], str]] = [
        ((given(X[:, :2].copy()), given(Y)), "x has 2 columns, expected 3"),
        ((given(X), given(Y[:3])), "y has 3 rows, expected 4"),
        ((given(X), given(Y * 1.0)), "y has dtype float64, expected integer labels"),
        ((given(X), given(Y), given(np.ones(3))), "sample_weight has shape (3,), expected (4,)"),
        ((np.ma.masked_array(X, X > 0), Y), "x is a masked array"),
        ((X.tolist(), Y.tolist()[:3]), "y has 3 rows, expected 4"),
        ((X[:, :2].tolist(), Y.tolist()), "x has 2 columns, expected 3"),
    ]
    network, twin = classifier(backend), classifier(backend)
    trainer, fresh = Trainer(network, "sgd"), Trainer(twin, "sgd")
    for arguments in good:
        for wrong, text in bad:
            for _ in range(2):
                trainer.step(*arguments)
                fresh.step(*(each.tolist() for each in arguments))
            with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
                trainer.step(*wrong)
        np.testing.assert_array_equal(parameters(network), parameters(twin))


@pytest.mark.parametrize("labels", [True, False])
def test_batches_like_the_last_one_are_not_checked_again(
    backend: Backend, labels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y, weights = map(backend.asarray, (X, Y if labels else np.eye(3)[Y], np.ones(4)))
    trainer = Trainer(classifier(backend), "sgd")
    trainer.step(x, y, weights)
    monkeypatch.delattr("gpubp.training.trainer.check_shapes")
    trainer.step(backend.asarray(X + 1), y, weights)
    with pytest.raises(NameError):
        trainer.step(x, y)


def test_what_a_trainer_needs_is_part_of_the_public_face() -> None:
    assert {"Trainer", "Callback", "EarlyStopping", "History", "schedules"} <= vars(gpubp).keys()
