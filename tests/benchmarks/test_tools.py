"""The scripts in benchmarks/tools."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import environment
import numpy as np
import pytest

from gpubp import Network, Trainer
from gpubp.backends import Backend, get_backend
from gpubp.backends.cupy import open_cupy
from gpubp.benchmarks import timing
from gpubp.benchmarks.calls import watch

TOOLS = Path(__file__).resolve().parents[2] / "benchmarks/tools"


def run_script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = TOOLS / name
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


def test_overhead_times_an_epoch_and_single_steps() -> None:
    script = str(TOOLS / "overhead.py")
    command = [sys.executable, script, "3-4-2:5:2", "3-2:1:1", "--rounds", "1"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    title, *points = done.stdout.splitlines()
    assert done.stderr == "" and "Trainer.step" in title
    assert [point.split()[0] for point in points] == ["3-4-2:5:2", "3-2:1:1"]
    for point, batches in zip(points, (2, 1), strict=True):
        row, single, epoch, beyond, first = map(float, point.split()[1:])
        assert min(row, single, first) > 0
        assert beyond == pytest.approx(epoch - batches * row, abs=0.05)


def test_breakdown_counts_calls_bytes_and_multiply_adds() -> None:
    done = run_script("breakdown.py", "--rounds", "1", "--backend", "numpy")
    title, _, *rows, total, matmuls, step = done.stdout.splitlines()
    assert done.stderr == ""
    assert title.startswith("narrow, 2 rows, Adam, on ") and step.startswith("the step")
    assert matmuls.startswith("its matmuls in a row")
    cells = {row.split()[0]: row.split()[1:] for row in [*rows, total]}
    # Four layers of 64 x 64 and one of 16 x 64. Each has one matmul forward and two backward, except
    # that the first layer has only one backward: the input gets no delta.
    work = 2 * (3 * (4 * 64 * 64 + 16 * 64) - 64 * 64)
    assert cells["matmul"][0] == "14" and cells["matmul"][2] == f"{work / 1e6:.1f}"
    parameters = 4 * 64 * 64 + 16 * 64 + 4 * 64 + 16
    # Adam reads theta, the gradient and two moments, and writes all but the gradient: 28 bytes for each
    # parameter. It also reads four rates, two counters and the norm.
    moved = 28 * parameters + 4 * 8 + 2 * 8 + 8
    assert cells["update"][:2] == ["1", f"{moved / 1e6:.2f}"]
    assert int(cells["sum"][0]) == sum(int(row[0]) for name, row in cells.items() if name != "sum")


def test_breakdown_counts_without_measuring() -> None:
    done = run_script("breakdown.py", "--count", "--backend", "numpy")
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.startswith("narrow, 2 rows: ")


def plan(tmp_path: Path, *points: str) -> list[dict[str, Any]]:
    if not environment.GPUS and environment.ON_HOST is None:
        pytest.skip(f"CuPy does not run here: {environment.NO_GPU_BECAUSE}")
    script, path = TOOLS / "plan.py", tmp_path / "plan.jsonl"
    command = [sys.executable, script, *points, "--json", str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.stderr, done.returncode) == ("", 0)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_plan_counts_launches_bytes_and_multiply_adds(tmp_path: Path) -> None:
    plain, fused = plan(tmp_path, "narrow:512")
    parameters = 4 * 64 * 64 + 16 * 64 + 4 * 64 + 16
    weights, first = 4 * 64 * 64 + 16 * 64, 64 * 64
    # 5 forward products, 5 gradients and 4 δ; the rows, the labels and their one-hot rows; δ^L, the cost.
    assert plain["launches"] == 5 + 5 + 4 + 2 + 1 + 2 + 2
    assert fused["launches"] == 2 * 5 + 1 and (plain["steps"], fused["steps"]) == (1, 16)
    assert fused["kernels"]["output_layer"] == 16 and "gather" not in fused["kernels"]
    for one in (plain, fused):
        count = one["steps"]
        assert one["launches"] * count == len(one["each"]) == sum(one["kernels"].values())
        assert one["work"] == 512 * (3 * weights - first)
        updates = [k for k in one["each"] if any("update" in verb for verb in k["verbs"])]
        assert len(updates) == count
        for update in updates:
            # Plain Adam moves 28 bytes a parameter; then four rates, two counters, which the fused update
            # advances, and the norm.
            more = update["read"] + update["written"] - 28 * parameters
            assert 4 * 8 + 2 * 8 + 8 <= more <= 4 * 8 + 2 * 8 + 8 + 2 * 8
        assert one["floor"] <= one["predicted"]
    assert fused["moved"] < plain["moved"]
    # The first layer reads the rows where they are, weights, biases and counters, and writes activations.
    start = fused["each"][0]
    read = 4 * (512 * 64 + 64 * 64 + 64) + 2 * 8
    assert (start["read"], start["written"]) == (read, 4 * 512 * 64)
    sides = [launch for launch in plain["each"] if launch["branch"]]
    assert {verb for k in sides for verb in k["verbs"]} == {
        "gather", "one_hot", "weighted_sum", "layer_gradients"
    }  # fmt: skip
    assert not [launch for launch in fused["each"] if launch["branch"]]


def test_a_plan_with_epilogues_reads_a_mask_of_a_bit_for_each_number(tmp_path: Path) -> None:
    if environment.GPUS:
        pytest.skip("a GPU's cuBLASLt decides what it computes")
    plain, fused = plan(tmp_path, "classifier:8192:bfloat16")
    assert fused["launches"] < plain["launches"] and fused["moved"] < plain["moved"]
    rows, n, inputs = 8192, 256, 784
    product = next(k for k in fused["each"] if k["kernel"] == "cuBLASLt RELU_AUX_BIAS")
    assert product["verbs"] == ["layer_forward"] and product["narrow"]
    assert product["read"] == 2 * (rows * inputs + n * inputs + n)  # the biases are narrow too
    assert product["written"] == 2 * rows * n + rows * n // 8
    assert product["work"] == rows * inputs * n
    back = next(k for k in fused["each"] if k["kernel"] == "cuBLASLt DRELU")
    assert back["read"] == 2 * (rows * n + n * n) + rows * n // 8
    assert back["written"] == 2 * rows * n


KERNELS = Path(__file__).resolve().parents[2] / (
    "benchmarks/results/2026-11-26-nvidia-h100/kernels.jsonl"
)


def test_a_predicted_launch_takes_about_as_long_as_it_was_measured() -> None:
    tool = load_script("plan.py")
    lines = [json.loads(line) for line in KERNELS.read_text(encoding="utf-8").splitlines()]
    small = {
        k["verb"]: k for k in lines if (k["network"], k["rows"]) == ("narrow", 512) if "verb" in k
    }
    for verb, seconds in tool.LATENCIES.items():
        if verb not in ("output_layer", "update_with"):  # they have not run on a GPU
            measured = max(call["seconds"] for call in small[verb]["each"])
            assert seconds == pytest.approx(measured, abs=0.08e-6), verb
    compared = 0
    for line in lines:
        if line["network"] != "classifier" or not line.get("verb", "").startswith("layer_"):
            continue
        for call in line["each"]:
            if "10" in call["shape"].split(" ")[0].split("x"):
                continue  # a product with ten outputs
            moved = call["read"], call["written"]
            launch = tool.Launch("matmul", (line["verb"],), *moved, call["work"], False, 0, False)
            assert tool.H100.predict(launch) == pytest.approx(call["seconds"], rel=0.2), call
            compared += 1
    assert compared == 8


def test_the_longest_path_waits_where_branches_meet() -> None:
    tool = load_script("plan.py")

    def launch(verb: str, branch: int = 0, waits: bool = False) -> Any:
        return tool.Launch("kernel", (verb,), 0, 0, 0, False, branch, waits)

    gradients, update = launch("layer_gradients", 1), launch("update", waits=True)
    forward, backward = launch("layer_forward"), launch("layer_backward")
    path = [forward, gradients, backward, update]
    seconds = tool.LATENCIES
    expected = seconds["layer_forward"] + seconds["layer_gradients"] + seconds["update"]
    assert tool.longest_path(path, tool.H100) == pytest.approx(expected)
    path = [forward, gradients, backward, backward, backward, update]
    expected += 3 * seconds["layer_backward"] - seconds["layer_gradients"]
    assert tool.longest_path(path, tool.H100) == pytest.approx(expected)
    wide = tool.Launch("cuBLAS", ("matmul",), 0, 0, 392 * 10**9, True, 0, False)
    assert tool.longest_path([wide], tool.H100) == pytest.approx(1e-3)


def test_launches_are_counted_and_timed() -> None:
    if not environment.GPUS and environment.ON_HOST is None:
        pytest.skip(f"CuPy does not run here: {environment.NO_GPU_BECAUSE}")
    done = run_script("launches.py", "--rounds", "3")
    title, _, head, narrow, _, bare = done.stdout.splitlines()
    assert done.stderr == "" and title.endswith("; 2 rows, µs a launch")
    assert head.split() == ["launches", "verbs", "bound", "the", "step,", "bound"]
    name, count, *figures = narrow.split()
    assert name == "narrow" and int(count) > 15
    assert all(float(figure) > 0 for figure in figures) and len(figures) == 3
    assert float(bare.removeprefix("bare RawKernel")) > 0


def test_the_products_with_epilogues_are_listed() -> None:
    if not environment.GPUS and environment.ON_HOST is None:
        pytest.skip(f"CuPy does not run here: {environment.NO_GPU_BECAUSE}")
    script = TOOLS / "epilogues.py"
    command = [sys.executable, script, "64", "32"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    title, _, head, *lines = done.stdout.splitlines()
    assert done.stderr == "" and title.endswith("; 64 rows, 32 inputs and outputs")
    assert head.split() == ["forward", "backward", "gradients"] and len(lines) == 12
    if not environment.GPUS:
        assert "bfloat16    relu          2 launches    1 launch    1 launch" in lines


def load_script(name: str) -> Any:
    """Import a script of benchmarks/tools/ as a module, to run it in this process."""
    path = TOOLS / name
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


@pytest.mark.slow
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
    assert {k["why"] for line in lines for k in line.get("each", ())} == {""}
    assert "ERROR" not in out and "~" not in out
    assert "µs in a graph" in out and "the step's graph" in out
    assert not [line for line in lines if "error" in line]
    (update,) = [k for k in lines if (k["network"], k.get("verb")) == ("narrow", "update")]
    (call,) = update["each"]
    parameters = 4 * 64 * 64 + 16 * 64 + 4 * 64 + 16
    assert call["read"] + call["written"] == 28 * parameters + 4 * 8 + 2 * 8 + 8
    assert call["how"] == "graph" and call["seconds"] > 0
    assert {line["verb"] for line in lines if "how" not in line and "verb" in line} >= {
        "gather", "advance", "its matmuls in a row", "the step's graph", "the step"
    }  # fmt: skip


def test_a_watched_backend_notes_calls_and_leaves_the_backend_alone(backend: Backend) -> None:
    watched, asked = watch(backend)
    Network((3, 2), backend=watched).predict([[1.0, 2.0, 3.0]])
    assert sum(call.work for call in asked) == 6
    asked.clear()
    Network((3, 2), backend=backend).predict([[1.0, 2.0, 3.0]])
    assert asked == []


def test_the_calls_of_a_step_on_columns_have_shapes_too() -> None:
    watched, asked = watch(get_backend("numpy"))
    trainer = Trainer(Network((3, 4, 2), hidden="tanh", backend=watched, seed=0), "sgd")
    trainer.step(np.ones((32, 3)), np.ones((32, 2)))
    gathered = [call.shape for call in asked if call.verb == "gather"]
    assert gathered == ["32x2", "32x3"]  # the targets, then the inputs


def test_a_watched_backend_notes_an_update_and_what_is_fused_with_it_as_one_call(
    cuda_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = {}
    for name, most in (("parts", None), ("fused", 4096), ("large", 0)):
        if most is not None:
            monkeypatch.setattr("gpubp.kernels.update.MOST_ARRIVING", most)
        watched, asked = watch(open_cupy(fused=most is not None))
        Trainer(Network((3, 2), backend=watched, seed=0), "sgd").step([[1, 2, 3]], [[1, 0]])
        ends[name] = [(a.verb, a.moved) for a in asked if a.verb.startswith(("update", "adv"))]
    # Eight parameters: theta and the gradient are read, and theta is written.
    update, counted = 3 * 8 * 4 + 4 * 8 + 2 * 8, 2 * 8
    assert ends["parts"] == [("update", update + 8), ("advance", 2 * counted)]
    assert ends["fused"] == ends["large"] == [("update_with", update + counted)]


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
    forms = {(line["case"], line["value"]) for line in lines if line["constant"] == "FORM"}
    assert len(forms) == 6 and ("output_delta 3x5", "elementwise") in forms
    assert "SMALL_WORK" in capsys.readouterr().out
