"""Steps as CUDA graphs, and as lists of launches."""

from __future__ import annotations

import gc
import math
import threading
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import conftest
import numpy as np
import pytest
from support.streams import CudaError

import gpubp
from gpubp import backends
from gpubp.backends import Backend, Rows
from gpubp.backends.cupy import CupyBackend, open_cupy
from gpubp.backends.cupy.cublas import CublasError
from gpubp.backends.cupy.graphs import CAPTURES_TRIED, GRAPHS_KEPT, SIDES, CapturedStep
from gpubp.benchmarks.contenders import CONTENDERS, GpubpNumpy
from gpubp.benchmarks.tasks import ARCHITECTURES, OPTIMIZERS
from gpubp.kernels import PRECISIONS
from gpubp.kernels.typing import Array


@pytest.fixture
def graphs(cuda_backend: Backend) -> CupyBackend:
    """The CuPy backend with graphs."""
    return open_cupy(graphs=True)


@pytest.fixture(params=["graphs", "launches"])
def replaying(cuda_backend: Backend, request: pytest.FixtureRequest) -> CupyBackend:
    """The CuPy backend with graphs, and without."""
    return open_cupy(graphs=request.param == "graphs")


# Steps

X = np.random.default_rng(2).normal(size=(75, 6)).astype(np.float32)
LABELS = np.random.default_rng(3).integers(0, 3, 75)
WEIGHTS = np.random.default_rng(4).uniform(0.5, 1.5, 75)


def train(
    backend: str | Backend,
    optimizer: Any = "adam",
    network: dict[str, Any] | None = None,
    trainer: dict[str, Any] | None = None,
    data: Callable[[], tuple[Array, Array]] = lambda: (X, LABELS),
    fit: dict[str, Any] | None = None,
) -> gpubp.Trainer:
    options = {"output": "softmax", "hidden": "tanh"} | (network or {})
    made = gpubp.Network((6, 9, 8, 3), backend=backend, seed=0, **options)
    trained = gpubp.Trainer(made, optimizer, seed=0, **({"batch_size": 16} | (trainer or {})))
    trained.fit(*data(), epochs=4, **(fit or {}))
    return trained


def graphs_of(trainer: gpubp.Trainer) -> int:
    steps: Any = trainer._steps.values()
    return sum(step.captured for step in steps)


def replays_of(trainer: gpubp.Trainer) -> int:
    """Graphs or lists of launches, whichever its backend makes."""
    steps: Any = trainer._steps.values()
    launches = sum(step.written_down for step in steps)
    assert not graphs_of(trainer) or not launches
    return graphs_of(trainer) or launches


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
    for name in ("_counters", "_costs", "_rates", "_gradients", "_state", "_squared_norm"):
        monkeypatch.setattr(trainer, name, None)  # the replay knows where they lie
    for _ in range(5):
        trainer.step(x, y)
    monkeypatch.undo()
    assert trainer.network.cost(X, LABELS) != before


def test_a_loop_of_steps_asks_for_nothing_but_graphs(
    graphs: CupyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    if conftest.ON_HOST is None:
        pytest.skip("a GPU does not tell what it was asked for")
    monkeypatch.setattr("gpubp.training.trainer.STEPS_AHEAD", 4)
    trainer = train(graphs)
    x, y = graphs.asarray(X[:16]), graphs.asarray(LABELS[:16])
    asked: list[str] = []
    monkeypatch.setattr(conftest.ON_HOST.runtime, "asked", asked)
    for _ in range(3):
        trainer.step(x, y)
    per_step = []
    for _ in range(9):
        asked.clear()
        trainer.step(x, y)
        per_step.append(asked == ["replay"])
    # A run of four steps had three of them; then come two runs whose first steps prepare them.
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
    """What is called from now on of those that every step and prediction begins with."""
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
    """CuPy's pool gives their copies the memory of the ones before: nothing else may hold it."""
    if conftest.EXACT:
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
        if k % 2:  # and on its own too
            inner()
            expected += 1
        np.testing.assert_array_equal(replaying.to_numpy(values), expected)


def test_a_step_without_room_for_all_its_scratch_memory_goes_on_through_the_verbs(
    replaying: CupyBackend,
) -> None:
    """What is replayed keeps the memory of all its launches; verbs give it back one after the other."""
    if conftest.EXACT:
        pytest.skip("the limit is that of CuPy's pool")
    xp, size = replaying.xp, 2**22
    ones, values = xp.ones(size, np.float32), xp.zeros(size, np.float32)

    def step() -> None:
        for _ in range(4):
            scratch = replaying.empty(size, np.float32)
            replaying.convert(ones, scratch)
            replaying.add(scratch, values)

    captured, pool = replaying.capture(step), xp.get_default_memory_pool()
    pool.free_all_blocks()
    pool.set_limit(size=pool.used_bytes() + 3 * 4 * size)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of the graph that has no room
            for _ in range(5):
                captured()
    finally:
        pool.set_limit(size=0)
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
    """They count in memory of the stream's own."""
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


def test_data_read_batch_by_batch_train_alike(graphs: CupyBackend, tmp_path: Path) -> None:
    X.tofile(tmp_path / "x")

    def data() -> tuple[Array, Array]:
        return np.memmap(tmp_path / "x", np.float32, "r", shape=X.shape), LABELS

    here, there = train("numpy", data=data), train(graphs, data=data)
    parameters = graphs.to_numpy(there.network.parameters)
    np.testing.assert_allclose(parameters, here.network.parameters, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("late", ["", "steps", "copies", "both"])
@pytest.mark.parametrize("with_graphs", [False, True])
def test_copies_and_steps_wait_for_each_other(
    cuda_backend: Backend,
    with_graphs: bool,
    late: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the host, streams do what they are asked for as late as events allow."""
    X.tofile(tmp_path / "x")
    if conftest.ON_HOST is not None:
        monkeypatch.setattr(conftest.ON_HOST.runtime, "late", late)

    def data() -> tuple[Array, Array]:
        return np.memmap(tmp_path / "x", np.float32, "r", shape=X.shape), LABELS

    options: dict[str, Any] = {"data": data, "fit": {"sample_weight": WEIGHTS}}
    here = train("numpy", **options)
    there = train(open_cupy(graphs=with_graphs), **options)
    parameters = cuda_backend.to_numpy(there.network.parameters)
    np.testing.assert_allclose(parameters, here.network.parameters, rtol=2e-3, atol=2e-5)


OWN = gpubp.Activation.from_functions(
    "own_tanh", lambda xp, z: xp.tanh(z), lambda xp, z: 1 - xp.tanh(z) ** 2
)


@pytest.mark.parametrize("reason", ["own function", "float16 rows"])
def test_what_cannot_be_replayed_runs_all_the_same(replaying: CupyBackend, reason: str) -> None:
    options: dict[str, Any] = {}
    if reason == "own function":
        options["network"] = {"hidden": OWN, "initializer": "glorot_uniform"}
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


def test_a_step_that_fails_during_capture_says_so_and_ends_the_capture(
    graphs: CupyBackend,
) -> None:
    calls: list[int] = []

    def step() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise ZeroDivisionError("in the step")

    captured = graphs.capture(step)
    captured()
    with pytest.raises(ZeroDivisionError, match="in the step"):
        captured()
    captured()
    graphs.synchronize()


def test_a_step_that_cuda_does_not_capture_is_launched_and_a_warning_says_why(
    graphs: CupyBackend,
) -> None:
    """What the host waits for during a capture makes CUDA refuse it."""
    counts: list[int] = []
    values = graphs.xp.ones(3, np.float32)

    def step() -> None:
        counts.append(1)
        graphs.add(values, values)
        graphs.synchronize()

    captured = graphs.capture(step)
    for _ in range(CAPTURES_TRIED):
        captured()
    with pytest.warns(RuntimeWarning, match=r"cannot be captured in a CUDA graph \(.*capturing"):
        captured()
    captured()
    calls = CAPTURES_TRIED + 2
    # Captures run the step too, and launch nothing; the last call replays what was written down.
    assert len(counts) == calls - 1 + CAPTURES_TRIED
    assert isinstance(captured, CapturedStep)
    assert (captured.captured, captured.written_down) == (0, 1)
    np.testing.assert_array_equal(graphs.to_numpy(values), 2**calls)
    graphs.synchronize()


def test_a_graph_that_cannot_be_instantiated_is_done_without(
    graphs: CupyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    if conftest.ON_HOST is None:
        pytest.skip("a GPU does not fail when it is asked to")

    def fail(handle: int) -> int:
        raise CudaError(2)

    here = train("numpy")
    monkeypatch.setattr(conftest.ON_HOST.runtime, "instantiate", fail)
    with pytest.warns(RuntimeWarning, match=r"in a CUDA graph \(cudaErrorMemoryAllocation"):
        there = train(graphs)
    assert graphs_of(there) == 0 < replays_of(there)
    parameters = graphs.to_numpy(there.network.parameters)
    np.testing.assert_allclose(parameters, here.network.parameters, rtol=2e-3, atol=2e-5)


def test_a_failed_end_of_capture_does_not_hide_why_the_step_failed(
    graphs: CupyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def step() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise ZeroDivisionError("in the step")

    errors: list[str] = []
    stream, *sides = graphs._recording.streams(graphs.xp)
    end_capture = stream.end_capture

    class Failing:
        """The stream, whose capture ends with an error, as a broken one does."""

        def __getattr__(self, name: str) -> Any:
            return getattr(stream, name)

        def __enter__(self) -> Any:
            stream.__enter__()
            return self

        def __exit__(self, *error: Any) -> None:
            stream.__exit__(*error)

        def end_capture(self) -> Any:
            end_capture()
            errors.append("end_capture")
            raise graphs.xp.cuda.runtime.CUDARuntimeError(901)

    graphs._recording._streams = [Failing(), *sides]
    captured = graphs.capture(step)
    captured()
    with pytest.raises(ZeroDivisionError, match="in the step"):
        captured()
    assert errors


def test_a_branch_may_run_before_or_after_what_it_runs_beside(graphs: CupyBackend) -> None:
    xp = graphs.xp
    ones, beside, after = xp.ones(3, np.float32), xp.zeros(3, np.float32), xp.zeros(3, np.float32)

    def step() -> None:
        with graphs.beside():
            graphs.add(ones, beside)
        graphs.add(ones, after)
        graphs.meet()
        graphs.add(beside, after)

    captured = graphs.capture(step)
    for k in range(1, 6):
        captured()
        np.testing.assert_array_equal(graphs.to_numpy(beside), k)
        np.testing.assert_array_equal(graphs.to_numpy(after), k + k * (k + 1) / 2)
    assert isinstance(captured, CapturedStep) and captured.captured == 1


def test_branches_that_never_meet_are_no_graph(graphs: CupyBackend) -> None:
    values = graphs.xp.zeros(3, np.float32)

    def step() -> None:
        with graphs.beside():
            graphs.add(values, values)

    captured = graphs.capture(step)
    for _ in range(CAPTURES_TRIED):
        captured()
    with pytest.warns(RuntimeWarning, match="cannot be captured in a CUDA graph"):
        captured()
    captured()
    graphs.synchronize()


def test_a_capture_that_another_thread_ends_is_tried_again(graphs: CupyBackend) -> None:
    values, failures = graphs.xp.ones(3, np.float32), [1]

    def step() -> None:
        graphs.add(values, values)
        if graphs._recording.held is not None and failures:
            raise graphs.xp.cuda.runtime.CUDARuntimeError(failures.pop() + 900)

    captured = graphs.capture(step)
    for _ in range(4):
        captured()
    np.testing.assert_array_equal(graphs.to_numpy(values), 16)
    assert isinstance(captured, CapturedStep) and captured.captured == 1


def test_transient_failures_do_not_add_up(graphs: CupyBackend) -> None:
    """Each place of the rows fails once, and is captured the next time."""
    rows, out = Rows(None), graphs.xp.empty((4, 6), np.float32)
    counters, failed = graphs.xp.zeros(2, np.int64), set[int]()

    def step() -> None:
        graphs.gather(rows, "x", counters, 0, out)
        if graphs._recording.held is not None and id(rows.x) not in failed:
            failed.add(id(rows.x))
            raise graphs.xp.cuda.runtime.CUDARuntimeError(901)

    captured = graphs.capture(step)
    arrays = [graphs.asarray(np.full((4, 6), k, np.float32)) for k in range(2 * CAPTURES_TRIED)]
    for _ in range(4):
        for k, rows.x in enumerate(arrays):
            captured()
            np.testing.assert_array_equal(graphs.to_numpy(out), k)
    assert isinstance(captured, CapturedStep) and captured.captured == len(arrays)


def test_a_graph_that_has_no_room_is_done_without(
    graphs: CupyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a graph keeps is more than the step needs without it."""

    def no_room(*arguments: Any) -> None:
        raise MemoryError("out of memory")

    here = train("numpy")
    monkeypatch.setattr("gpubp.backends.cupy.graphs.ProductMemory", no_room)
    with pytest.warns(RuntimeWarning, match=r"captured in a CUDA graph \(out of memory\)"):
        there = train(graphs)
    assert graphs_of(there) == 0 < replays_of(there)
    parameters = graphs.to_numpy(there.network.parameters)
    np.testing.assert_allclose(parameters, here.network.parameters, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("small_work", [0, 2**28], ids=["cublas", "own matmul"])
def test_only_steps_with_products_of_cublas_keep_memory_for_it(
    graphs: CupyBackend, small_work: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpubp.kernels.matmul.SMALL_WORK", small_work)
    monkeypatch.setattr("gpubp.kernels.matmul.LEAST_WIDTH", 1)
    steps: Any = train(graphs)._steps.values()
    for step in steps:
        assert len(step._memories) == 1 + SIDES
        assert all((memory.workspace is None) == bool(small_work) for memory in step._memories)


def test_a_stream_that_cublas_may_not_know_is_told_again(
    graphs: CupyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the workspace is refused, the stream has been set."""
    cublas, a = graphs._cublas, graphs.asarray(np.eye(3))
    out = graphs.xp.empty((3, 3))
    with graphs.use():
        cublas.bind(a, a, out, False, False, 1.0, 0.0)()
        handle = cublas._threads.handle
        workspace = graphs.xp.empty(2**22, np.uint8)
        told: list[int] = []
        library = types.SimpleNamespace(
            cublasSetStream_v2=lambda pointer, stream: told.append(stream) or 0,
            cublasSetWorkspace_v2=lambda pointer, place, size: 1,
        )
        monkeypatch.setattr(handle, "_library", library)
        with pytest.raises(CublasError, match="cublasSetWorkspace failed with status 1"):
            handle.use(77, workspace)
        handle.use(graphs.xp.cuda.get_current_stream().ptr, None)
    assert told == [77, graphs.xp.cuda.get_current_stream().ptr]
    monkeypatch.undo()
    with graphs.use():
        handle._told = None
        cublas.bind(a, a, out, False, False, 2.0, 0.0)()
    np.testing.assert_array_equal(graphs.to_numpy(out), 2 * np.eye(3))


def test_a_thread_that_ends_during_a_capture_does_not_end_it(graphs: CupyBackend) -> None:
    """What it had of cuBLAS is let go of then."""
    values, other = graphs.xp.ones(3, np.float32), open_cupy()
    left = []
    with other.use():
        other._cublas.prepare()
        left.append(other._cublas._threads.__dict__.pop("handle"))

    def step() -> None:
        graphs.add(values, values)
        if graphs._recording.held is not None:
            left.clear()

    captured = graphs.capture(step)
    for _ in range(3):
        captured()
    assert isinstance(captured, CapturedStep) and captured.captured == 1 and not captured._failures
    np.testing.assert_array_equal(graphs.to_numpy(values), 8)


def test_what_threads_leave_of_cublas_is_used_again(cuda_backend: Backend) -> None:
    """To destroy a handle waits for the device, and ends what another thread captures."""
    backend = open_cupy()
    a = backend.asarray(np.eye(3))
    outs = [backend.xp.empty((3, 3)) for _ in range(3)]

    def multiply(out: Array) -> None:
        with backend.use():
            backend._cublas.bind(a, a, out, False, False, 2.0, 0.0)()
            backend.synchronize()
            pointers.append(backend._cublas._threads.handle.pointer)

    pointers: list[int] = []
    gc.collect()  # what earlier backends have left is there now
    for out in outs:
        thread = threading.Thread(target=multiply, args=(out,))
        thread.start()
        thread.join()
        gc.collect()
        np.testing.assert_array_equal(backend.to_numpy(out), 2 * np.eye(3))
    assert len(pointers) == 3 and len(set(pointers)) == 1


def test_every_epoch_replays_the_same_graphs(graphs: CupyBackend) -> None:
    trainer = train(graphs, data=lambda: (graphs.asarray(X), graphs.asarray(LABELS)))
    # 75 rows in batches of 16: one graph for those of 16, one for the last one.
    assert graphs_of(trainer) == 2


def test_page_locked_memory_is_kept_until_it_has_been_copied(cuda_backend: Backend) -> None:
    feed = cuda_backend.feed()
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    array = feed("x", values)
    place = feed._places["x"][1]  # type: ignore[attr-defined]
    waited: list[str] = []

    class Copied:
        def synchronize(self) -> None:
            waited.append("copied")

    place.copied = Copied()
    np.testing.assert_array_equal(cuda_backend.to_numpy(array), values)
    del place, feed
    assert waited == ["copied"]


@pytest.mark.parametrize(("asked", "graphs"), [(None, True), ("1", True), ("0", False)])
def test_graphs_are_on_unless_the_environment_refuses_them(
    cuda_backend: Backend, monkeypatch: pytest.MonkeyPatch, asked: str | None, graphs: bool
) -> None:
    if asked is None:
        monkeypatch.delenv("GPUBP_CUDA_GRAPHS", raising=False)
    else:
        monkeypatch.setenv("GPUBP_CUDA_GRAPHS", asked)

    def step() -> None:
        pass

    backends._cupy.cache_clear()
    captured = backends.get_backend("cupy").capture(step)
    for _ in range(3):
        captured()
    assert isinstance(captured, CapturedStep)
    assert (captured.captured, captured.written_down) == (int(graphs), int(not graphs))
    backends._cupy.cache_clear()


def test_the_benchmark_measures_captured_steps(cuda_backend: Backend) -> None:
    contender = CONTENDERS["gpubp-cupy"]()
    assert "CuPy" in contender.open()
    narrow = ARCHITECTURES["narrow"]
    contender.load(narrow, OPTIMIZERS["sgd"], narrow.batch(2))
    costs = []
    for _ in range(6):
        contender.step()
        costs.append(contender.cost())
    assert costs[-1] < costs[0]
    assert isinstance(contender, GpubpNumpy)
    assert graphs_of(contender._trainer) >= 1
