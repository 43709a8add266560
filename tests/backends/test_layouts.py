"""On the CPU, batches that lie column by column give the results of the twins, which go row by row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from oracles import long_trials
from routes import CUSTOM, TEXT, TWINS, Training, train, trainings
from threadpoolctl import threadpool_limits

import gpubp
from gpubp.backends.numpy import NumpyBackend
from gpubp.backends.numpy.blas_threads import get_threads
from gpubp.kernels.cpu import build

COMPILED = NumpyBackend()


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Cut small batches too, into shards for so many threads and into many blocks."""
    if not COMPILED.compiles:
        pytest.skip("no compiled kernels")
    monkeypatch.setattr("gpubp.backends.numpy.columns.LEAST_ROWS", 1)
    monkeypatch.setattr("gpubp.backends.numpy.steps.COLUMN_SHARDS", ((16, 1),))
    monkeypatch.setattr("gpubp.backends.numpy.steps.LEAST_BLOCK", 32)
    monkeypatch.setattr("gpubp.backends.numpy.steps.COLUMN_ELEMENTS", 0)
    monkeypatch.setattr("gpubp.backends.numpy.steps.PART_WORK", 500)
    monkeypatch.setattr("gpubp.backends.numpy.verbs.SHARED_PART", 20)
    monkeypatch.setattr("gpubp.backends.numpy.steps.COLUMN_PART_WORK", 500)
    monkeypatch.setattr("routes.STEPS", 16)  # in fifty, rounding grows to 1e-6 in some trainings
    with threadpool_limits(request.param, user_api="blas"):
        yield request.param


def layout_of(training: Training) -> str:
    problem = training.network(COMPILED).problem()
    rows, parts = training.settings["batch_size"], training.settings.get("accumulate", 1)
    return problem.layout(rows * parts, rows if parts > 1 else None, sparse=training.density < 1)


@long_trials(trainings(), 25, 500)
def test_random_networks_train_as_the_twins(threads: int, training: Training) -> None:
    has_text = CUSTOM not in (*training.hidden, training.head[0])
    if training.density == 1 and has_text and isinstance(training.head[1], str):
        assert layout_of(training) == "columns"
    expected, found = train(training, TWINS), train(training, COMPILED)
    scale = np.abs(expected.parameters).max()
    np.testing.assert_allclose(found.parameters, expected.parameters, rtol=1e-7, atol=1e-7 * scale)
    np.testing.assert_allclose(
        found.costs, expected.costs, rtol=1e-7, atol=1e-12 * expected.costs.max()
    )
    assert found.validation == pytest.approx(expected.validation, rel=1e-7)
    assert found.accuracy == pytest.approx(expected.accuracy)
    np.testing.assert_allclose(found.outputs, expected.outputs, rtol=1e-7, atol=1e-7)


WIDE = Training((33, 70, 40, 5), ["tanh", TEXT], settings={"batch_size": 150}, rows=300)


def test_dropout_without_a_kernel_goes_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as where the compiler was killed: the twin runs, as for every other kernel."""
    if not COMPILED.compiles:
        pytest.skip("no compiled kernels")
    library = build._library
    monkeypatch.setattr(
        build, "_library", lambda text: (None, "") if "philox" in text else library(text)
    )
    monkeypatch.setattr("gpubp.backends.numpy.steps.SHARD_WORK", 1)
    # Row by row, so many weights have two shards; column by column they would have one.
    dropping = replace(WIDE, sizes=(33, 300, 250, 5), options={"dropout": 0.3})
    with threadpool_limits(2, user_api="blas"):
        expected, found = train(dropping, TWINS), train(dropping, COMPILED)
    np.testing.assert_allclose(found.parameters, expected.parameters, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("hidden", "rows"), [("tanh", 97), (CUSTOM, 129)])
def test_rows_that_threads_do_not_share_evenly_one_by_one(
    monkeypatch: pytest.MonkeyPatch, hidden: Any, rows: int
) -> None:
    """Two shards with blocks of one row: one has a block more than the other."""
    if not COMPILED.compiles:
        pytest.skip("no compiled kernels")
    monkeypatch.setattr("gpubp.backends.numpy.columns.LEAST_ROWS", 1)
    monkeypatch.setattr("gpubp.backends.numpy.steps.COLUMN_SHARDS", ((48, 1),))
    monkeypatch.setattr("gpubp.backends.numpy.steps.SHARD_WORK", 1)
    for layout in ("rows", "columns"):
        with threadpool_limits(2, user_api="blas"):
            plan = COMPILED.plan(rows, WIDE.sizes, 1, layout)
        assert [block.stop - block.start for shard in plan for block in shard] == [1] * rows
    one_by_one = {"batch_size": 1, "accumulate": rows}
    training = replace(WIDE, hidden=[hidden, "tanh"], settings=one_by_one, rows=rows)
    expected = train(training, TWINS)
    with threadpool_limits(2, user_api="blas"):
        found = train(training, COMPILED)
    np.testing.assert_allclose(found.parameters, expected.parameters, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.costs, expected.costs, rtol=1e-9)


@pytest.mark.parametrize("size", [1, 10, 31, 32, 40, 100])
def test_no_thread_gets_an_empty_part(size: int) -> None:
    if not COMPILED.compiles:
        pytest.skip("no compiled kernels")
    parts: list[slice] = []
    with threadpool_limits(3, user_api="blas"):
        COMPILED.capture(lambda: parts.extend(COMPILED._parts(size, 10**9)))
    assert len(parts) == max(1, min(3, size // 16))
    assert all(part.start < part.stop for part in parts)
    assert (parts[0].start, parts[-1].stop) == (0, size)


@pytest.mark.parametrize(
    ("change", "layout"),
    [
        ({}, "columns"),
        ({"settings": {"batch_size": 15}}, "rows"),
        ({"settings": {"batch_size": 15, "accumulate": 8}}, "rows"),
        ({"settings": {"batch_size": 16, "accumulate": 8}}, "columns"),
        ({"density": 0.5}, "sparse"),
        ({"hidden": ["tanh", CUSTOM]}, "rows"),
        ({"sizes": (33, 600, 600, 5)}, "rows"),
        ({"sizes": (33, 600, 600, 5), "settings": {"batch_size": 50}}, "columns"),
        ({"options": {"precision": "bfloat16"}, "dtype": "float32"}, "rows"),
    ],
)
def test_which_batches_lie_column_by_column(change: dict[str, Any], layout: str) -> None:
    if not COMPILED.compiles:
        pytest.skip("no compiled kernels")
    assert layout_of(replace(WIDE, **change)) == layout
    of_twins = replace(WIDE, **change).network(TWINS).problem()
    assert of_twins.layout(150, None) == "rows"


def test_a_prediction_needs_no_kernel_of_the_cost() -> None:
    if not COMPILED.compiles:
        pytest.skip("no compiled kernels")
    cost = gpubp.Cost.from_functions(
        "without text", lambda xp, a, y: (a - y) ** 2, lambda xp, a, y: 2 * (a - y)
    )
    training = replace(WIDE, head=("tanh", cost))
    problem = training.network(COMPILED).problem()
    assert problem.layout(150, None) == "rows"
    assert problem.layout(150, None, predicts=True) == "columns"
    x, _, _ = training.data()
    outputs = training.network(COMPILED).predict(x)
    np.testing.assert_allclose(outputs, training.network(TWINS).predict(x), rtol=1e-10, atol=1e-12)


def test_many_weights_have_one_gradient_but_several_shards_of_predictions() -> None:
    if not COMPILED.compiles:
        pytest.skip("no compiled kernels")
    with threadpool_limits(2, user_api="blas"):
        if get_threads() != 2:
            pytest.skip("this BLAS does not let its threads be set")
        few, many = (40, 64, 64, 5), (300, 256, 256, 5)
        counts = [
            len(COMPILED.plan(200, sizes, None, "columns", trains))
            for sizes in (few, many)
            for trains in (True, False)
        ]
    assert counts == [2, 2, 1, 2]


def test_one_seed_gives_one_result_with_any_layout_of_results(threads: int) -> None:
    """Predictions, costs and every result that is kept belong to the same parameters."""
    x, y, _ = WIDE.data()
    network = WIDE.network(COMPILED)
    kept = network.backprop(x, y)
    np.testing.assert_allclose(network.predict(x), kept.a[-1], rtol=1e-12)
    assert network.cost(x, y) == pytest.approx(kept.cost, rel=1e-12)
    trainer = gpubp.Trainer(network, gpubp.SGD(learning_rate=1.0), batch_size=len(x))
    before = network.parameters.copy()
    trainer.step(x, y)
    np.testing.assert_allclose(before - network.parameters, kept.gradient, rtol=1e-9, atol=1e-12)
    assert trainer.step_cost == pytest.approx(kept.cost, rel=1e-12)
    again = WIDE.network(COMPILED)
    gpubp.Trainer(again, gpubp.SGD(learning_rate=1.0), batch_size=len(x)).step(x, y)
    np.testing.assert_array_equal(again.parameters, network.parameters)
