"""The benchmark: agreement of contenders with the reference, the command, time limits."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from made_up import SMALL, made_up, needs_scikit_learn

from gpubp.backends import Backend
from gpubp.benchmarks import agreement, clock, rounds, suite, worker
from gpubp.benchmarks.busy import busy_processes
from gpubp.benchmarks.contenders import (
    CONTENDERS,
    GpubpCupy,
    GpubpCupyLaunched,
    GpubpNumpy,
)
from gpubp.benchmarks.floor import FloorGpu
from gpubp.benchmarks.parts import Peak
from gpubp.benchmarks.report import tables
from gpubp.benchmarks.results import Point, Results
from gpubp.benchmarks.settings import Settings
from gpubp.benchmarks.tasks import ARCHITECTURES, AlternatingBatch
from gpubp.cli import main


class HalfRate(GpubpNumpy):
    def load(self, architecture, optimizer, batch):  # type: ignore[no-untyped-def]
        rate = optimizer.learning_rate / 2
        super().load(architecture, replace_rate(optimizer, rate), batch)


class NoMomentum(GpubpNumpy):
    def load(self, architecture, optimizer, batch):  # type: ignore[no-untyped-def]
        super().load(architecture, type(optimizer)("sgd", optimizer.learning_rate, 0.0), batch)


class OtherCost(GpubpNumpy):
    def cost(self) -> float:
        return 1.001 * super().cost()


class DropsRow(GpubpNumpy):
    def load(self, architecture, optimizer, batch):  # type: ignore[no-untyped-def]
        targets = tuple(np.concatenate([t[:1], t[:-1]]) for t in batch.targets)
        super().load(architecture, optimizer, AlternatingBatch(batch.x, targets, batch.distinct))


def replace_rate(optimizer, rate):  # type: ignore[no-untyped-def]
    return type(optimizer)(optimizer.name, rate, optimizer.momentum)


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (HalfRate, "gradient"),
        (NoMomentum, "three steps"),
        (OtherCost, "cost"),
        (DropsRow, "gradient"),
    ],
)
def test_a_contender_that_computes_something_else_is_told(
    kind: type[GpubpNumpy], what: str
) -> None:
    outcome = agreement.observe(kind(), SMALL, "sgd", 8)
    error = agreement.difference(outcome, agreement.reference(SMALL, "sgd", 8))
    assert error.startswith("differs from the float64 reference: ")
    assert what in error


def test_what_disagrees_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_scikit_learn()

    class Mute(worker.Worker):
        """A worker that answers in this process, with a wrong cost for scikit-learn."""

        def __init__(self, name: str) -> None:
            self.name = name
            self._session = worker.Session(name)

        def call(self, method, *arguments, seconds=None):  # type: ignore[no-untyped-def]
            result = getattr(self._session, method)(*arguments)
            if method == "load" and self.name == "scikit-learn":
                return replace(result, cost=result.cost + 1)
            return result

        def ask(self, method, *arguments):  # type: ignore[no-untyped-def]
            self._answer = self.call(method, *arguments)

        def answer(self, seconds=None):  # type: ignore[no-untyped-def]
            return self._answer

        def close(self) -> None:
            """Do nothing: there is no process to end."""

    monkeypatch.setattr(suite, "Worker", Mute)
    monkeypatch.setattr(suite, "peak_in_a_process", lambda *earlier: Peak(absent="not asked"))
    monkeypatch.setitem(ARCHITECTURES, "small", SMALL)  # type: ignore[misc, unused-ignore]
    settings = Settings(
        ("small",), (8,), ("sgd",), ("gpubp-numpy", "scikit-learn"), ("step",), 1, 1, 0.001
    )
    (point,) = suite.run_suite(settings).points
    assert set(point.rounds) == {"gpubp-numpy", "floor-threads", "floor-1-thread"}
    assert point.steps_in_call == {}
    assert "cost by" in point.errors["scikit-learn"]


@pytest.mark.slow
def test_the_command_measures_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_scikit_learn()
    pytest.importorskip("matplotlib", reason="what draws, matplotlib, is not installed")
    monkeypatch.setattr(rounds, "RETAKES", 0)
    path = tmp_path / "run.json"
    arguments = [
        "bench", "--quick", "--architectures", "narrow", "--batch-sizes", "8", "--rounds", "1",
        "--contenders", "gpubp-numpy", "scikit-learn", "--memory",
        "--json", str(path), "--pictures", str(tmp_path),
    ]  # fmt: skip
    assert main(arguments) == 0
    run = Results.load(path)
    assert [e.name for e in run.present()] == ["gpubp-numpy", "scikit-learn"]
    for point in run.points:
        assert point.errors == {}
        assert all(seconds > 0 for rounds in point.rounds.values() for seconds in rounds)
        assert set(point.rounds) == {
            "gpubp-numpy", "scikit-learn", "floor-threads", "floor-1-thread"
        }  # fmt: skip
    assert [point.work for point in run.points] == ["step", "predict"]
    assert all(entry.process_bytes > entry.step_bytes for entry in run.memory)
    assert "absent: not among --contenders" in capsys.readouterr().out
    assert (tmp_path / "throughput-step.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--contenders", "tourch"], "--contenders is tourch; did you mean 'torch'?"),
        (["--architectures", "wider"], "--architectures is wider; did you mean 'wide'?"),
        (["--batch-sizes", "0"], "--batch-sizes is 0, expected a whole number at least 1"),
        (["--budget", "0"], "--budget is 0, expected a number above 0"),
        (["--rounds", "0"], "--rounds is 0, expected a whole number at least 1"),
        (["--busy", "-1"], "--busy is -1, expected a whole number at least 0"),
        (["--busy", "1", "--repeat", "r.json"], "--busy was given with --repeat, whose run"),
    ],
)
def test_wrong_options_are_told_in_a_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_busy_processes_run_as_long_as_they_should_and_the_report_tells_of_them() -> None:
    with busy_processes(2) as processes:
        assert [process.poll() for process in processes] == [None, None]
    assert all(process.poll() is not None for process in processes)
    results = made_up()
    results.machine["others_share"] = 0.9
    for busy, expected in (
        (0, "on a quieter machine"),
        (2, "2 of them kept cores busy for this run"),
    ):
        results.settings["busy"] = busy
        notes = [note for table in tables(results) for note in table.notes]
        (note,) = [note for note in notes if note.startswith("other processes")]
        assert expected in note


def test_a_contender_that_does_not_answer_is_ended() -> None:
    with worker.Worker("gpubp-numpy") as silent:
        silent.ask("open")
        with pytest.raises(worker.ContenderError, match="gave no answer in 0 s, and was ended"):
            silent.answer(0.0)
        with pytest.raises(worker.ContenderError, match="its process died"):
            silent.call("open")


def test_when_time_is_short_peers_are_left_out_then_points(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Peer:
        name = "torch"

    class Ours:
        name = "gpubp-numpy"

    now = [0.0]
    monkeypatch.setattr(clock.time, "monotonic", lambda: now[0])
    settings = Settings(("narrow", "wide"), (512, 2048, 32), ("adam",), budget=60.0, cpu_work=3e10)
    limited, told = clock.Clock(settings), []
    for architecture, rows, optimizer in settings.grid():
        point = Point(architecture, optimizer, rows, "step", rows)
        taking = limited.workers([point], [Peer(), Ours()])  # type: ignore[list-item]
        told.append((architecture, rows, [w.name for w in taking], point.skipped, point.notes))
        now[0] += 14.0
    both, cpu = ["torch", "gpubp-numpy"], "measured without the CPU, which would take too long"
    peers = "measured without peers: the time of --budget is short"
    assert told == [
        ("narrow", 512, both, "", []),
        ("wide", 512, [], "", [cpu]),
        ("narrow", 2048, both, "", []),
        ("wide", 2048, [], "", [cpu]),
        ("narrow", 32, ["gpubp-numpy"], "", [peers]),
        ("wide", 32, [], "the 60 seconds of --budget are spent", []),
    ]


@pytest.mark.parametrize("kind", [GpubpCupy, GpubpCupyLaunched])
def test_these_contenders_agree_on_cuda(kind: type[GpubpCupy], cuda_backend: Backend) -> None:
    contender = kind()
    assert contender.open() == cuda_backend.device
    outcome = agreement.observe(contender, SMALL, "adam", 8)
    assert agreement.difference(outcome, agreement.reference(SMALL, "adam", 8)) == ""


def test_the_floor_of_a_gpu_is_its_matmuls_in_a_graph(cuda_backend: Backend) -> None:
    floor = FloorGpu()
    assert floor.open() == f"bare matmuls in a graph, {cuda_backend.device}"
    floor.load(SMALL, 8)
    for _ in range(3):
        floor.step()
        floor.predict()
    floor.synchronize()
    assert getattr(floor._step, "captured") == getattr(floor._predict, "captured") == 1  # noqa: B009


def test_large_networks_are_checked_on_fewer_rows() -> None:
    assert ARCHITECTURES["narrow"].checked_rows(65536) == 65536
    assert ARCHITECTURES["wide"].checked_rows(512) == 512
    assert ARCHITECTURES["wide"].checked_rows(8192) == 512


def test_every_contender_says_what_it_is() -> None:
    for name, kind in CONTENDERS.items():
        assert kind.name == name
        assert kind.__doc__


@pytest.mark.slow
def test_contenders_that_are_not_installed_are_absent_and_the_others_are_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rounds, "RETAKES", 0)
    peers = ("gpubp-numpy", "torch", "jax")
    settings = Settings(("narrow",), (8,), ("sgd",), peers, ("predict",), 1, 1, 0.001)
    measured = suite.run_suite(settings)
    (point,) = measured.points
    assert point.rounds["gpubp-numpy"]
    for name in peers[1:]:
        entrant = measured.entrant(name)
        assert entrant is not None
        assert bool(entrant.absent) == (find_spec(name) is None) == (name not in point.rounds)
