"""The benchmark suite: what it computes from rounds, and that it does not count what is wrong."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import conftest
import numpy as np
import pytest

from gpubp.backends import Backend
from gpubp.benchmarks import agreement, results, suite, timing, worker
from gpubp.benchmarks.compare import compare
from gpubp.benchmarks.contenders import (
    CONTENDERS,
    GpubpCupy,
    GpubpCupyLaunched,
    GpubpNumpy,
    ScikitLearn,
)
from gpubp.benchmarks.floor import FloorGpu
from gpubp.benchmarks.report import comparison_tables, duration, markdown, plain, show, tables
from gpubp.benchmarks.results import Entrant, Memory, Point, Results
from gpubp.benchmarks.tasks import ARCHITECTURES, Architecture, Batch
from gpubp.cli import main

SMALL = Architecture("small", (6, 5, 4), "softmax")


def needs_scikit_learn() -> None:
    pytest.importorskip("sklearn", reason="a contender, scikit-learn, is not installed")


def made_up(factor: float = 1.0) -> Results:
    """Two points whose ratios, shares and means can be had by hand; gpubp's times times `factor`."""
    fast = Point("narrow", "sgd", 32, "step", 32)
    fast.rounds = {
        "gpubp-numpy": [factor * t for t in (1e-3, 2e-3, 4e-3)],
        "torch": [4e-3, 6e-3, 8e-3],
        "floor-threads": [2e-3, 2e-3, 2e-3],
        "floor-1-thread": [1e-3, 1e-3, 9e-3],
    }
    fast.errors = {"jax": "differs from the float64 reference: cost by 1.0e-01 (tolerance 1e-05)"}
    slow = Point("narrow", "sgd", 2048, "predict", 2048)
    slow.rounds = {"gpubp-numpy": [factor * 2.0] * 3, "torch": [1.0, 1.0, 1.0]}
    return Results(
        machine={"processor": "made up", "cores": 2, "system": "none", "python": "3"},
        versions={"numpy": "2"},
        commit="",
        date="2000-01-01",
        settings={},
        entrants=[
            Entrant("gpubp-numpy", "cpu", "here"),
            Entrant("torch", "cpu", "here"),
            Entrant("jax", "cpu", "here"),
            Entrant("gpubp-cupy", "gpu", absent="no NVIDIA GPU here"),
            Entrant("floor-threads", "cpu", "here"),
            Entrant("floor-1-thread", "cpu", "here"),
        ],
        points=[fast, slow],
        memory=[Memory("narrow", "sgd", 32, "torch", 3 * 2**20, 200 * 2**20)],
    )


def test_the_arithmetic_agrees_with_hand_computed_numbers() -> None:
    run = made_up()
    fast, slow = run.points
    assert fast.spread("gpubp-numpy") == results.Spread(1.5e-3, 2e-3, 3e-3)
    assert fast.ratio("torch", "gpubp-numpy") == pytest.approx(3)  # the median of 4, 3, 2
    assert slow.ratio("torch", "gpubp-numpy") == pytest.approx(0.5)
    assert fast.floor("cpu") == 1e-3
    assert fast.share_of_floor(run.entrants[0]) == pytest.approx(0.5)
    assert slow.share_of_floor(run.entrants[0]) is None
    mean = run.geometric_mean("torch", "gpubp-numpy")
    assert (mean.value, mean.least, mean.count) == (pytest.approx(math.sqrt(1.5)), 0.5, 2)
    assert run.geometric_mean("torch", "gpubp-numpy", "predict").count == 1
    assert math.isnan(run.geometric_mean("jax", "gpubp-numpy").value)


def test_the_report_names_what_is_absent_and_what_is_wrong() -> None:
    text = "\n".join(plain(table) for table in tables(made_up()))
    assert "gpubp-cupy      absent: no NVIDIA GPU here" in text
    assert "ERROR jax, sgd 32: differs from the float64 reference" in text
    assert "*2.00 ms ±38%" in text
    assert "6.00 ms ±17%" in text
    assert "1.22 (0.50; 2)" in text
    assert "3.0 (200)" in text


def test_without_rich_the_report_is_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rich.console", None)
    lines: list[str] = []
    show(tables(made_up()), lines.append)
    assert lines[0].startswith("gpubp bench\ncontender")


def test_with_rich_the_report_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    show(tables(made_up()))
    text = capsys.readouterr().out
    assert "2.00 ms ±38%" in text
    assert "ERROR jax, sgd 32: differs from the float64 reference" in text


def test_durations_have_three_digits() -> None:
    shown = [duration(t) for t in (1.2345, 0.012345, 123.45e-6, 1e-6, 0.9996e-3)]
    assert shown == ["1.23 s", "12.3 ms", "123 µs", "1.00 µs", "1.00 ms"]


def test_results_survive_json(tmp_path: Path) -> None:
    made_up().save(tmp_path / "run.json")
    assert Results.load(tmp_path / "run.json") == made_up()


def test_points_measured_again_replace_the_old_ones_and_are_named() -> None:
    run, newer = made_up(), made_up(factor=2.0)
    del newer.points[1]
    newer.date, newer.commit = "2001-01-01", "abc"
    run.repeat(newer)
    assert [p.rounds["gpubp-numpy"][0] for p in run.points] == [2e-3, 2.0]
    assert run.date == "2000-01-01"
    text = "\n".join(plain(table) for table in tables(run))
    assert "1 points measured again at commit abc, 2001-01-01" in text


def test_a_table_in_markdown_has_the_same_cells() -> None:
    (table,) = [t for t in tables(made_up()) if t.title.endswith(": training step")]
    lines = markdown(table).splitlines()
    assert lines[0] == f"**{table.title}**"
    assert lines[2].startswith("| optimizer | batch | gpubp-numpy | torch |")
    assert lines[4].startswith("| sgd | 32 | **2.00 ms ±38%** | 6.00 ms ±17% | ERROR |")


def test_a_file_that_holds_something_else_is_told(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"schema": 1}')
    with pytest.raises(ValueError, match=r"other\.json holds no results of gpubp bench"):
        Results.load(tmp_path / "other.json")


def test_compare_tells_what_got_slower_and_by_how_much() -> None:
    comparison = compare(made_up(factor=1.5), made_up())
    (change,) = comparison.slower  # the quartiles of the other point overlap
    assert (change.name, change.point.batch_size) == ("gpubp-numpy", 2048)
    assert change.factor == pytest.approx(1.5)
    assert (comparison.faster, comparison.machine, comparison.compared) == ([], 1.0, 2)
    text = "\n".join(plain(table) for table in comparison_tables(comparison, "old.json"))
    assert "1 of 2 results of gpubp are slower beyond the noise" in text


def test_compare_tells_of_no_change_and_of_what_is_gone() -> None:
    assert compare(made_up(), made_up()).slower == []
    new = made_up()
    del new.points[1].rounds["gpubp-numpy"]
    new.points[1].errors["gpubp-numpy"] = "its process died"
    missing = compare(new, made_up()).missing
    assert missing == ["gpubp-numpy narrow/sgd/2048/predict: its process died"]


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
        super().load(architecture, optimizer, Batch(batch.x, targets, batch.distinct))


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


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("architecture", ["narrow", "regression"])
@pytest.mark.parametrize("kind", [GpubpNumpy, ScikitLearn])
def test_these_contenders_agree(
    kind: type[GpubpNumpy] | type[ScikitLearn], architecture: str, optimizer: str
) -> None:
    if kind is ScikitLearn:
        needs_scikit_learn()
    contender = kind()
    contender.open()
    outcome = agreement.observe(contender, ARCHITECTURES[architecture], optimizer, 32)
    expected = agreement.reference(ARCHITECTURES[architecture], optimizer, 32)
    assert agreement.difference(outcome, expected) == ""


def test_what_disagrees_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_scikit_learn()

    class Mute(worker.Worker):
        """Answers in this process, with a wrong cost for one contender."""

        def __init__(self, name: str) -> None:
            self.name = name
            self._session = worker.Session(name)

        def call(self, method, *arguments, seconds=None):  # type: ignore[no-untyped-def]
            result = getattr(self._session, method)(*arguments)
            if method == "load" and self.name == "scikit-learn":
                return agreement.Outcome(
                    result.cost + 1, result.predictions, result.gradient, result.three_steps
                )
            return result

        def ask(self, method, *arguments):  # type: ignore[no-untyped-def]
            self._answer = self.call(method, *arguments)

        def answer(self, seconds=None):  # type: ignore[no-untyped-def]
            return self._answer

        def close(self) -> None:
            """It has no process."""

    monkeypatch.setattr(suite, "Worker", Mute)
    monkeypatch.setitem(ARCHITECTURES, "small", SMALL)  # type: ignore[misc, unused-ignore]
    settings = suite.Settings(
        ("small",), (8,), ("sgd",), ("gpubp-numpy", "scikit-learn"), ("step",), 1, 1, 0.001
    )
    (point,) = suite.run_suite(settings).points
    assert set(point.rounds) == {"gpubp-numpy", "floor-threads", "floor-1-thread"}
    assert "cost by" in point.errors["scikit-learn"]


def test_the_command_measures_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_scikit_learn()
    pytest.importorskip("matplotlib", reason="what draws, matplotlib, is not installed")
    monkeypatch.setattr(suite, "RETAKES", 0)
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
        (["--contenders", "tourch"], "unknown contender 'tourch'; did you mean 'torch'?"),
        (["--architectures", "wider"], "unknown architecture 'wider'; did you mean 'wide'?"),
        (["--batch-sizes", "0"], "batch size 0: expected from 1 to 8192, or a multiple of that"),
        (["--budget", "0"], "--budget is 0.0, expected seconds above 0"),
        (["--rounds", "0"], "--rounds is 0, expected 1 or more"),
    ],
)
def test_wrong_options_are_told_in_a_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *arguments]) == 1
    assert message in capsys.readouterr().err


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
    monkeypatch.setattr(suite.time, "monotonic", lambda: now[0])
    settings = suite.Settings(
        ("narrow", "wide"), (512, 2048, 32), ("adam",), budget=60.0, cpu_work=3e10
    )
    clock, told = suite.Clock(settings), []
    for architecture, rows, optimizer in suite._grid(settings):
        point = Point(architecture, optimizer, rows, "step", rows)
        taking = clock.workers([point], [Peer(), Ours()])  # type: ignore[list-item]
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


def test_contenders_that_are_not_installed_are_absent_and_the_others_are_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(suite, "RETAKES", 0)
    peers = ("gpubp-numpy", "torch", "jax")
    settings = suite.Settings(("narrow",), (8,), ("sgd",), peers, ("predict",), 1, 1, 0.001)
    measured = suite.run_suite(settings)
    (point,) = measured.points
    assert point.rounds["gpubp-numpy"]
    for name in peers[1:]:
        entrant = measured.entrant(name)
        assert entrant is not None
        assert bool(entrant.absent) == (find_spec(name) is None) == (name not in point.rounds)


def run_script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).resolve().parent.parent / "benchmarks/tools" / name
    command = [sys.executable, script, "narrow", "2", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_variants_compares_steps_with_other_constants() -> None:
    done = run_script("variants.py", "SHARD_ROWS=1,LEAST_OUT=1e9", "twins", "--rounds", "1")
    title, now, changed, twins = done.stdout.splitlines()
    assert (done.stderr, title.partition(":")[0]) == ("", "narrow, 2 rows, sgd")
    assert now.startswith("as it is") and now.endswith("1.00 times")
    assert changed.startswith("SHARD_ROWS=1,LEAST_OUT=1e9") and twins.startswith("twins")
    wrong = run_script("variants.py", "NO=1")
    assert (wrong.returncode, wrong.stderr) == (1, "no constant called NO\n")


def test_breakdown_counts_calls_bytes_and_multiply_adds() -> None:
    done = run_script("breakdown.py", "--rounds", "1", "--backend", "numpy")
    title, _, *rows, total, matmuls, step = done.stdout.splitlines()
    assert done.stderr == ""
    assert title.startswith("narrow, 2 rows, Adam, on ") and step.startswith("the step")
    assert matmuls.startswith("its matmuls in a row")
    cells = {row.split()[0]: row.split()[1:] for row in [*rows, total]}
    # Five layers of 64 x 64 but the last of 16 x 64: forward, twice backward, but for the first delta.
    work = 2 * (3 * (4 * 64 * 64 + 16 * 64) - 64 * 64)
    assert cells["matmul"][0] == "14" and cells["matmul"][2] == f"{work / 1e6:.1f}"
    parameters = 4 * 64 * 64 + 16 * 64 + 4 * 64 + 16
    # Adam reads theta, the gradient and two moments, and writes all but the gradient; then the rates,
    # the counters and the norm.
    moved = 28 * parameters + 3 * 8 + 2 * 8 + 8
    assert cells["update"][:2] == ["1", f"{moved / 1e6:.2f}"]
    assert int(cells["sum"][0]) == sum(int(row[0]) for name, row in cells.items() if name != "sum")


def test_launches_are_counted_and_timed() -> None:
    if not conftest.GPUS and conftest.ON_HOST is None:
        pytest.skip(f"CuPy does not run here: {conftest.NO_GPU_BECAUSE}")
    done = run_script("launches.py", "--rounds", "3")
    title, _, head, narrow, _, bare = done.stdout.splitlines()
    assert done.stderr == "" and title.endswith("; 2 rows, µs a launch")
    assert head.split() == ["launches", "verbs", "bound", "the", "step,", "bound"]
    name, count, *figures = narrow.split()
    assert name == "narrow" and int(count) > 15
    assert all(float(figure) > 0 for figure in figures) and len(figures) == 3
    assert float(bare.removeprefix("bare RawKernel")) > 0


def load_script(name: str) -> Any:
    """A script of benchmarks/tools/ as a module, to be run in this process."""
    path = Path(__file__).resolve().parent.parent / "benchmarks/tools" / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_main(module: Any, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(timing, "COPIES", 2)
    monkeypatch.setattr(timing, "GRAPH_SECONDS", 1.0)
    monkeypatch.setattr(timing, "ROUND_SECONDS", 0.0)
    monkeypatch.setattr(sys, "argv", ["script", *arguments, "--rounds", "1"])
    module.main()


@pytest.mark.parametrize("precision", [None, "bfloat16"])
def test_breakdown_on_cuda_times_graphs_by_events(
    precision: str | None,
    cuda_backend: Backend,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, breakdown = tmp_path / "kernels.jsonl", load_script("breakdown.py")
    arguments = ["narrow:2", "regression:2", "--backend", "cupy", "--json", str(path), "--calls"]
    arguments += ["--large", "16"] + (["--precision", precision] if precision else [])
    run_main(breakdown, monkeypatch, *arguments)
    out, lines = capsys.readouterr().out, [json.loads(k) for k in path.read_text().splitlines()]
    assert "ERROR" not in out and "~" not in out
    assert "µs in a graph" in out and "the step's graph" in out
    assert not [line for line in lines if "error" in line]
    (update,) = [k for k in lines if (k["network"], k.get("verb")) == ("narrow", "update")]
    (call,) = update["each"]
    parameters = 4 * 64 * 64 + 16 * 64 + 4 * 64 + 16
    assert call["read"] + call["written"] == 28 * parameters + 3 * 8 + 2 * 8 + 8
    assert call["how"] == "graph" and call["seconds"] > 0
    assert {line["verb"] for line in lines if "how" not in line and "verb" in line} >= {
        "gather", "advance", "its matmuls in a row", "the step's graph", "the step"
    }  # fmt: skip


def test_the_sweep_times_every_constant_at_other_values_and_leaves_it_as_it_was(
    cuda_backend: Backend,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sweep = load_script("gpu_sweep.py")
    small = {
        "BATCHES": ((3, 5),), "TALL": (70, 2), "LAYERS": ((4, 3),), "ROWS": (2,),
        "FEW_LAYERS": ((4, 3),), "FEW_ROWS": (2,), "WEIGHTED": (5,), "SQUARED": (2100,),
        "STEPS": (("narrow", 2),),
    }  # fmt: skip
    for name, value in small.items():
        monkeypatch.setattr(sweep, name, value)
    before = [getattr(constant.module, constant.name) for constant in sweep.CONSTANTS]
    run_main(sweep, monkeypatch, "--json", str(tmp_path / "sweep.jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "sweep.jsonl").read_text().splitlines()]
    assert not [line for line in lines if "error" in line]
    assert {line["how"] for line in lines} == {"graph"}
    assert {line["constant"] for line in lines} == {c.name for c in sweep.CONSTANTS}
    assert [getattr(constant.module, constant.name) for constant in sweep.CONSTANTS] == before
    assert "SMALL_WORK" in capsys.readouterr().out
