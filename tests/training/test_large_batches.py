"""A batch large enough for shards and blocks: threads, memory, captured steps."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from small_networks import classes, classifier, parameters
from threadpoolctl import threadpool_limits
from traced import traced_memory

from gpubp import SGD, Adam, Network, Trainer, get_cost
from gpubp.backends.numpy import blas_threads

WIDE = (20, 512, 10)
WIDE_ROWS = 1100


@contextmanager
def threads(count: int) -> Iterator[None]:
    with threadpool_limits(count, user_api="blas"):
        if blas_threads.get_threads() != count:
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
        with traced_memory():
            trainer.step(x, y, weights)
            before = tracemalloc.take_snapshot()
            start = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            for _ in range(2):
                trainer.step(x, y, weights)
            peak = tracemalloc.get_traced_memory()[1]
            after = tracemalloc.take_snapshot()
    # An array with a number for each row, or for each parameter, is larger than this limit. The buffer of
    # a ufunc that casts, 8192 elements, is smaller.
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
    assert 1 < len(trainer._training_step.captured) < 20
