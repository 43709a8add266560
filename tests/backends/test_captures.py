"""What becomes of a step whose capture fails or branches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpubp.backends import Rows
from gpubp.backends.cupy import CupyBackend, open_cupy
from gpubp.backends.cupy.graphs import CAPTURES_TRIED, CapturedStep


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
    """The step waits for the device, which CUDA does not allow during a capture."""
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
    # Each capture runs the step too, and launches nothing. The last call replays the list of launches.
    assert len(counts) == calls - 1 + CAPTURES_TRIED
    assert isinstance(captured, CapturedStep)
    assert (captured.captured, captured.written_down) == (0, 1)
    np.testing.assert_array_equal(graphs.to_numpy(values), 2**calls)
    graphs.synchronize()


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
        """The stream, but `end_capture` fails, as it does after a broken capture."""

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
    """For each array of rows, the first capture fails and the second succeeds."""
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


def test_a_thread_that_ends_during_a_capture_does_not_end_it(graphs: CupyBackend) -> None:
    """The cuBLAS handle of the ended thread is released during the capture."""
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
