"""CUDA graphs: copies beside steps, memory, cuBLAS's streams, and when graphs are used."""

from __future__ import annotations

import gc
import threading
import types
from pathlib import Path
from typing import Any

import environment
import numpy as np
import pytest
from replays import LABELS, WEIGHTS, X, graphs_of, replays_of, train
from support.streams import CudaError

from gpubp import backends
from gpubp.backends import Backend, cupy
from gpubp.backends.cupy import CupyBackend, open_cupy
from gpubp.backends.cupy.cublas import CublasError
from gpubp.backends.cupy.graphs import CapturedStep
from gpubp.backends.cupy.recording import SIDES
from gpubp.benchmarks.contenders import CONTENDERS, GpubpNumpy
from gpubp.benchmarks.tasks import ARCHITECTURES, OPTIMIZERS
from gpubp.kernels.typing import Array


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
    """Emulated streams do their work as late as events allow."""
    X.tofile(tmp_path / "x")
    if environment.ON_HOST is not None:
        monkeypatch.setattr(environment.ON_HOST.runtime, "late", late)

    def data() -> tuple[Array, Array]:
        return np.memmap(tmp_path / "x", np.float32, "r", shape=X.shape), LABELS

    options: dict[str, Any] = {"data": data, "fit": {"sample_weight": WEIGHTS}}
    here = train("numpy", **options)
    there = train(open_cupy(graphs=with_graphs), **options)
    parameters = cuda_backend.to_numpy(there.network.parameters)
    np.testing.assert_allclose(parameters, here.network.parameters, rtol=2e-3, atol=2e-5)


def test_a_graph_that_cannot_be_instantiated_is_done_without(
    graphs: CupyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    if environment.ON_HOST is None:
        pytest.skip("a GPU does not fail when it is asked to")

    def fail(handle: int) -> int:
        raise CudaError(2)

    here = train("numpy")
    monkeypatch.setattr(environment.ON_HOST.runtime, "instantiate", fail)
    with pytest.warns(RuntimeWarning, match=r"in a CUDA graph \(cudaErrorMemoryAllocation"):
        there = train(graphs)
    assert graphs_of(there) == 0 < replays_of(there)
    parameters = graphs.to_numpy(there.network.parameters)
    np.testing.assert_allclose(parameters, here.network.parameters, rtol=2e-3, atol=2e-5)


def test_a_graph_that_has_no_room_is_done_without(
    graphs: CupyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph keeps memory that the step does not need without it."""

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
    steps: Any = train(graphs)._training_step.captured.values()
    for step in steps:
        assert len(step._memories) == 1 + SIDES
        assert all((memory.workspace is None) == bool(small_work) for memory in step._memories)


def test_a_stream_that_cublas_may_not_know_is_told_again(
    graphs: CupyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cuBLAS takes the new stream and then refuses the workspace, so the stream must be set again."""
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


def test_what_threads_leave_of_cublas_is_used_again(cuda_backend: Backend) -> None:
    """Handles are reused: destroying one waits for the device and ends another thread's capture."""
    backend = open_cupy()
    a = backend.asarray(np.eye(3))
    outs = [backend.xp.empty((3, 3)) for _ in range(3)]

    def multiply(out: Array) -> None:
        with backend.use():
            backend._cublas.bind(a, a, out, False, False, 2.0, 0.0)()
            backend.synchronize()
            pointers.append(backend._cublas._threads.handle.pointer)

    pointers: list[int] = []
    gc.collect()  # gives back the handles of earlier backends
    for out in outs:
        thread = threading.Thread(target=multiply, args=(out,))
        thread.start()
        thread.join()
        gc.collect()
        np.testing.assert_array_equal(backend.to_numpy(out), 2 * np.eye(3))
    assert len(pointers) == 3 and len(set(pointers)) == 1


def test_every_epoch_replays_the_same_graphs(graphs: CupyBackend) -> None:
    trainer = train(graphs, data=lambda: (graphs.asarray(X), graphs.asarray(LABELS)))
    # 75 rows in batches of 16: one graph for the full batches, one for the last batch of 11 rows.
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


def test_a_feed_in_a_cycle_waits_for_its_copies_before_their_events_are_destroyed(
    cuda_backend: Backend,
) -> None:
    """The garbage collector calls the __del__ of a cycle's objects in any order, here by their age."""
    waited: list[str] = []

    class Copied:
        state = "whole"

        def synchronize(self) -> None:
            waited.append(self.state)

        def __del__(self) -> None:
            self.state = "destroyed"

    copied = Copied()
    feed = cuda_backend.feed()
    feed("x", np.zeros(3, np.float32))
    feed._places["x"][1].copied = copied  # type: ignore[attr-defined]
    cycle: list[Any] = [feed]
    cycle.append(cycle)
    del copied, feed, cycle
    gc.collect()
    assert waited == ["whole"]


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

    cupy.on_device_number.cache_clear()
    captured = backends.get_backend("cupy").capture(step)
    for _ in range(3):
        captured()
    assert isinstance(captured, CapturedStep)
    assert (captured.captured, captured.written_down) == (int(graphs), int(not graphs))
    cupy.on_device_number.cache_clear()


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
