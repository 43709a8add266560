"""Replays of steps and predictions, by graphs and by lists of launches: same results, no verb called."""

from __future__ import annotations

import gc
import math
import warnings
from typing import Any

import environment
import numpy as np
import pytest
from replays import LABELS, WEIGHTS, X, replays_of, train

import gpubp
from gpubp.backends import Backend, Rows
from gpubp.backends.cupy import CupyBackend, open_cupy
from gpubp.backends.cupy.graphs import CAPTURES_TRIED, GRAPHS_KEPT, CapturedStep
from gpubp.kernels import PRECISIONS

CASES: dict[str, dict[str, Any]] = {
    "adam": {},
    "momentum": {"optimizer": gpubp.SGD(momentum=0.9)},
    "clipped": {"optimizer": gpubp.AdamW(clip_norm=0.1, weight_decay=0.1)},
    "dropout": {"network": {"dropout": 0.3}},
    "weights": {"fit": {"sample_weight": WEIGHTS}},
    "validation": {"fit": {"validation_data": (X, LABELS)}},
    "smoothing": {"network": {"cost": gpubp.get_cost("cross_entropy", label_smoothing=0.1)}},
    "rows of targets": {"data": lambda: (X, np.eye(3, dtype=np.float32)[LABELS])},
    "quadratic": {
        "network": {"output": "softmax", "cost": "quadratic"},
        "data": lambda: (X, np.eye(3, dtype=np.float32)[LABELS]),
    },
    "in order": {"trainer": {"shuffle": False}},
    "accumulated": {"trainer": {"batch_size": 8, "accumulate": 2}},
    "one batch": {"trainer": {"batch_size": 75}},
    "float64": {"network": {"dtype": "float64"}},
}


@pytest.mark.parametrize("small_work", [0, 2**28], ids=["cublas", "own matmul"])
@pytest.mark.parametrize("case", CASES)
def test_training_by_replays_is_training(
    replaying: CupyBackend, case: str, small_work: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpubp.kernels.matmul.SMALL_WORK", small_work)
    here, there = train("numpy", **CASES[case]), train(replaying, **CASES[case])
    assert replays_of(there) >= 1
    parameters = replaying.to_numpy(there.network.parameters)
    np.testing.assert_allclose(parameters, here.network.parameters, rtol=2e-3, atol=2e-5)
    assert there.step_cost == pytest.approx(here.step_cost, rel=1e-3)


@pytest.mark.parametrize("small_work", [0, 2**28], ids=["cublas", "own matmul"])
@pytest.mark.parametrize("name", PRECISIONS)
def test_rounded_steps_are_replayed(
    replaying: CupyBackend, name: str, small_work: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpubp.kernels.matmul.SMALL_WORK", small_work)
    options = {"network": {"precision": name}}
    here, there = train("numpy", **options), train(replaying, **options)
    assert replays_of(there) >= 1
    assert there.loss_scale == here.loss_scale
    difference = replaying.to_numpy(there.network.parameters) - here.network.parameters
    assert np.abs(difference).max() < 16 * PRECISIONS[name].unit_roundoff


def test_a_replay_goes_through_no_verb(
    replaying: CupyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = train(replaying)
    x, y = replaying.asarray(X[:16]), replaying.asarray(LABELS[:16])
    for _ in range(3):
        trainer.step(x, y)
    before = trainer.network.cost(X, LABELS)

    def unexpected(*arguments: object, **options: object) -> None:
        raise AssertionError("a verb was called")

    names = ("gather", "matmul", "bias_activate", "output_delta", "update", "advance", "asarray")
    for name in names:
        monkeypatch.setattr(CupyBackend, name, unexpected)
    for name in (
        "_counters",
        "_gradients",
        "_optimizer_state",
        "_squared_norm",
    ):
        monkeypatch.setattr(trainer._training_step, name, None)  # a replay does not look them up
    for name in ("costs", "rates"):
        monkeypatch.setattr(trainer._training_step._numbers, name, None)
    for _ in range(5):
        trainer.step(x, y)
    monkeypatch.undo()
    assert trainer.network.cost(X, LABELS) != before


def test_a_loop_of_steps_asks_for_nothing_but_graphs(
    graphs: CupyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    if environment.ON_HOST is None:
        pytest.skip("a GPU does not tell what it was asked for")
    monkeypatch.setattr("gpubp.training.step.STEPS_AHEAD", 4)
    trainer = train(graphs)
    x, y = graphs.asarray(X[:16]), graphs.asarray(LABELS[:16])
    asked: list[str] = []
    monkeypatch.setattr(environment.ON_HOST.runtime, "asked", asked)
    for _ in range(3):
        trainer.step(x, y)
    per_step = []
    for _ in range(9):
        asked.clear()
        trainer.step(x, y)
        per_step.append(asked == ["replay"])
    # Steps are prepared four at a time. The first step here is the last of four. Two more fours follow;
    # the first step of each prepares all four.
    assert per_step == [True, *[False, True, True, True] * 2]


def test_steps_on_other_arrays_get_replays_of_their_own(replaying: CupyBackend) -> None:
    batches = [
        (replaying.asarray(X[k : k + 16]), replaying.asarray(LABELS[k : k + 16]))
        for k in (0, 16, 32)
    ]
    here, there = (
        gpubp.Trainer(
            gpubp.Network((6, 8, 3), output="softmax", backend=backend, seed=0), "sgd", seed=0
        )
        for backend in ("numpy", replaying)
    )
    for k in (0, 1, 0, 1, 2, 0, 2, 2, 1):
        there.step(*batches[k])
        here.step(X[16 * k : 16 * k + 16], LABELS[16 * k : 16 * k + 16])
        assert there.step_cost == pytest.approx(here.step_cost, rel=1e-5)
    assert replays_of(there) == 3


def test_predictions_are_replayed_and_follow_the_parameters(replaying: CupyBackend) -> None:
    network = gpubp.Network((6, 8, 3), backend=replaying, seed=0)
    twin = gpubp.Network((6, 8, 3), backend="numpy", seed=0)
    x = replaying.asarray(X)
    for factor in (1, 2, 1, 0.5, 1):
        network.parameters *= factor
        twin.parameters *= factor
        result = replaying.to_numpy(network.predict(x))
        np.testing.assert_allclose(result, twin.predict(X), rtol=1e-4, atol=1e-5)
    (replay,) = [captured.replay for captured in network._predictor.captured.values()]
    assert isinstance(replay, CapturedStep) and replay.captured + replay.written_down == 1


def verbs_called(backend: CupyBackend, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows with each call of `gather`, the first verb of a step or prediction."""
    called: list[str] = []
    gather = CupyBackend.gather

    def watched(self: CupyBackend, rows: Rows, *rest: Any) -> None:
        called.append("gather")
        gather(self, rows, *rest)

    monkeypatch.setattr(CupyBackend, "gather", watched)
    return called


def test_rows_that_come_from_numpy_again_and_again_are_replayed(
    replaying: CupyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies of the rows must be freed. CuPy's pool then gives the next copies the same memory."""
    if environment.EXACT:
        pytest.skip("without CuPy's pool no two arrays lie in the same place")
    trainer = train(replaying)
    for _ in range(12):
        trainer.step(X[:16], LABELS[:16])
        trainer.network.predict(X)
    called = verbs_called(replaying, monkeypatch)
    for _ in range(5):
        trainer.step(X[:16], LABELS[:16])
        trainer.network.predict(X)
    assert not called


@pytest.mark.slow
def test_what_is_kept_to_be_replayed_holds_no_data(replaying: CupyBackend) -> None:
    x, y = np.tile(X, (20, 1)), np.tile(LABELS, 20)
    network = gpubp.Network((6, 8, 3), output="softmax", backend=replaying, seed=0)
    trainer = gpubp.Trainer(network, batch_size=512, seed=0)
    used: list[int] = []
    for _ in range(6):
        trainer.fit(x, y, epochs=2)
        network.predict(x)
        gc.collect()
        replaying.synchronize()
        used.append(replaying.xp.get_default_memory_pool().used_bytes())
    assert used[-1] - used[-3] < x.nbytes // 2


def test_a_captured_step_within_another_is_part_of_it(replaying: CupyBackend) -> None:
    ones, values = replaying.xp.ones(3, np.float32), replaying.xp.zeros(3, np.float32)
    inner = replaying.capture(lambda: replaying.add(ones, values))

    def step() -> None:
        inner()
        replaying.add(values, values)

    outer, expected = replaying.capture(step), 0.0
    for k in range(6):
        outer()
        expected = 2 * (expected + 1)
        if k % 2:  # the inner step also runs by itself
            inner()
            expected += 1
        np.testing.assert_array_equal(replaying.to_numpy(values), expected)


def test_a_step_without_room_for_all_its_scratch_memory_goes_on_through_the_verbs(
    replaying: CupyBackend,
) -> None:
    """A replay keeps the scratch memory of all its launches. Verbs give theirs back one by one."""
    if environment.EXACT:
        pytest.skip("the limit is that of CuPy's pool")
    xp, size = replaying.xp, 2**22

    def step() -> None:
        for _ in range(4):
            scratch = replaying.temporary(size, np.float32)
            replaying.convert(ones, scratch)
            replaying.add(scratch, values)

    # A pool of its own: in that of all tests, pieces of memory that others still hold keep the rest of
    # their chunks from being given back. The limit counts that rest as taken, but arrays fit into it.
    pool = xp.cuda.MemoryPool()
    with xp.cuda.using_allocator(pool.malloc):
        ones, values = xp.ones(size, np.float32), xp.zeros(size, np.float32)
        captured = replaying.capture(step)
        pool.set_limit(size=pool.total_bytes() + 3 * 4 * size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # that the graph has no room
            for _ in range(5):
                captured()
    np.testing.assert_array_equal(replaying.to_numpy(values), 20)
    assert isinstance(captured, CapturedStep) and captured.captured + captured.written_down == 0


def test_rows_that_cannot_be_captured_leave_the_graphs_of_others_alone(
    graphs: CupyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, out = Rows(None), graphs.xp.empty((4, 6), np.float32)
    counters = graphs.xp.zeros(2, np.int64)
    bad, *good = (graphs.asarray(np.full((4, 6), k, np.float32)) for k in range(3))

    def step() -> None:
        graphs.gather(rows, "x", counters, 0, out)
        if graphs._recording.held is not None and rows.x is bad:
            raise graphs.xp.cuda.runtime.CUDARuntimeError(901)

    captured = graphs.capture(step)
    with pytest.warns(RuntimeWarning, match="cannot be captured"):
        for _ in range(CAPTURES_TRIED + 2):
            for rows.x in (*good, bad):
                captured()
                np.testing.assert_array_equal(graphs.to_numpy(out), graphs.to_numpy(rows.x))
    assert isinstance(captured, CapturedStep)
    assert (captured.captured, captured.written_down) == (2, 1)


def test_rows_that_cannot_be_replayed_leave_those_of_other_types_alone(
    replaying: CupyBackend,
) -> None:
    rows, out = Rows(None), replaying.xp.empty((4, 6), np.float32)
    counters = replaying.xp.zeros(2, np.int64)
    step = replaying.capture(lambda: replaying.gather(rows, "x", counters, 0, out))
    for dtype in (np.float16, np.float32):
        rows.x = replaying.xp.ones((4, 6), dtype)
        for _ in range(4):
            step()
    assert isinstance(step, CapturedStep) and step.captured + step.written_down == 1


def test_launches_are_written_down_anew_on_another_stream(cuda_backend: Backend) -> None:
    """Their blocks count arrivals in memory that belongs to the stream."""
    backend = open_cupy(graphs=False)
    values, stream = backend.xp.ones(3, np.float32), backend.xp.cuda.Stream(non_blocking=True)
    step = backend.capture(lambda: backend.add(values, values))
    assert isinstance(step, CapturedStep)
    for _ in range(3):
        step()
    assert step.written_down == 1
    backend.synchronize()
    with stream:
        for _ in range(3):
            step()
        backend.synchronize()
    assert step.written_down == 2
    np.testing.assert_array_equal(backend.to_numpy(values), 64)


CUSTOM = gpubp.Activation.from_functions(
    "custom_tanh", lambda xp, z: xp.tanh(z), lambda xp, z: 1 - xp.tanh(z) ** 2
)


@pytest.mark.parametrize("reason", ["own function", "float16 rows"])
def test_what_cannot_be_replayed_runs_all_the_same(replaying: CupyBackend, reason: str) -> None:
    options: dict[str, Any] = {}
    if reason == "own function":
        options["network"] = {"hidden": CUSTOM, "initializer": "glorot_uniform"}
    here = train("numpy", **options)
    if reason == "float16 rows":
        network = gpubp.Network((6, 9, 8, 3), hidden="tanh", output="softmax", backend=replaying)
        there = gpubp.Trainer(network, batch_size=16, seed=0)
        half = replaying.xp.asarray(X[:16].astype(np.float16))
        for _ in range(4):
            there.step(half, replaying.asarray(LABELS[:16]))
        assert math.isfinite(there.step_cost)
    else:
        there = train(replaying, **options)
        parameters = replaying.to_numpy(there.network.parameters)
        np.testing.assert_allclose(parameters, here.network.parameters, rtol=2e-3, atol=2e-5)
    assert replays_of(there) == 0


def test_only_the_latest_replays_are_kept(replaying: CupyBackend) -> None:
    rows, out = Rows(None), replaying.xp.empty((4, 6), np.float32)
    counters = replaying.xp.zeros(2, np.int64)
    step = replaying.capture(lambda: replaying.gather(rows, "x", counters, 0, out))
    assert isinstance(step, CapturedStep)
    arrays = [replaying.asarray(np.full((4, 6), k, np.float32)) for k in range(GRAPHS_KEPT + 3)]
    for _ in range(3):
        for k, rows.x in enumerate(arrays):
            step()
            np.testing.assert_array_equal(replaying.to_numpy(out), k)
    assert step.captured + step.written_down == GRAPHS_KEPT
