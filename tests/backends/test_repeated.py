"""Several runs of a step as one CUDA graph: what it is made of, and what happens without it."""

from __future__ import annotations

import warnings

import environment
import numpy as np
import pytest
from support.streams import CudaError

from gpubp.backends import Backend
from gpubp.backends.cupy import CupyBackend, open_cupy
from gpubp.backends.cupy.graphs import CAPTURES_TRIED, CapturedStep
from gpubp.backends.cupy.repeated import RepeatedStep
from gpubp.kernels.typing import Array


@pytest.fixture
def graphs(cuda_backend: Backend) -> CupyBackend:
    """Open a backend that makes graphs of several steps."""
    return open_cupy(fused=True)


def growing(backend: CupyBackend) -> tuple[Array, CapturedStep]:
    """Make a number, and a step that triples it and adds one."""
    number = backend.asarray(np.zeros(1))

    def step() -> None:
        for _ in range(2):
            backend.add(number, number)
        backend.convert(number, other)
        backend.add(one, number)

    other, one = backend.asarray(np.zeros(1)), backend.asarray(np.ones(1))
    captured = backend.capture(step)
    assert isinstance(captured, CapturedStep)
    return number, captured


def after(count: int) -> float:
    value = 0.0
    for _ in range(count):
        value = 4 * value + 1
    return value


def repeated(backend: CupyBackend, single: CapturedStep, times: int) -> RepeatedStep:
    def runs() -> None:
        for _ in range(times):
            single()

    replay = backend.repeat(single, times, runs)
    assert isinstance(replay, RepeatedStep)
    return replay


def test_runs_become_one_graph_once_the_step_has_one(graphs: CupyBackend) -> None:
    with graphs.use():
        number, single = growing(graphs)
        three = repeated(graphs, single, 3)
        made = []
        for k in range(1, 5):
            three()
            made.append((single.captured, three.captured))
            assert graphs.to_numpy(number).tolist() == [after(3 * k)]
        single()
        assert graphs.to_numpy(number).tolist() == [after(13)]
    assert made == [(1, 0), (1, 1), (1, 1), (1, 1)]
    assert three._memories == single._memories  # they never run at the same time


def test_runs_within_a_capture_are_part_of_it(graphs: CupyBackend) -> None:
    with graphs.use():
        number, single = growing(graphs)
        outer = graphs.capture(repeated(graphs, single, 2))
        for k in range(1, 5):
            outer()
            assert graphs.to_numpy(number).tolist() == [after(2 * k)]


def test_without_a_graph_of_several_steps_single_ones_go_on(
    graphs: CupyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    if environment.ON_HOST is None:
        pytest.skip("a GPU does not fail when it is asked to")
    with graphs.use():
        number, single = growing(graphs)
        three = repeated(graphs, single, 3)
        three()
        asked = []

        def fail(handle: int) -> int:
            asked.append(handle)
            raise CudaError(2)

        monkeypatch.setattr(environment.ON_HOST.runtime, "instantiate", fail)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(CAPTURES_TRIED + 2):
                three()
        assert graphs.to_numpy(number).tolist() == [after(3 * (CAPTURES_TRIED + 3))]
    (warning,) = caught
    assert "3 steps cannot be captured in one CUDA graph" in str(warning.message)
    assert warning.filename == __file__
    assert len(asked) == CAPTURES_TRIED and (single.captured, three.captured) == (1, 0)


def test_lists_of_launches_are_called_one_after_another(graphs: CupyBackend) -> None:
    backend = open_cupy(graphs=False)
    with backend.use():
        number, single = growing(backend)
        three = backend.repeat(single, 3, lambda: [single() for _ in range(3)] and None)
        for k in range(1, 5):
            three()
            assert backend.to_numpy(number).tolist() == [after(3 * k)]
