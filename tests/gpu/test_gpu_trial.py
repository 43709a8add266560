"""The short trial of a GPU, rehearsed without a GPU: time limits, records, summary, selected tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gpu_report
import gpu_trial
import pytest
from gpu_stages import PLAN, SUITE, Stage, suite
from gpu_summary import ROOM
from support.compiling import host_compiler

PYTHON = ("{python}", "-c")
HERE = Path(__file__).resolve().parent
ALL_TESTS = HERE.parent


def trial(out: Path, stages: dict[str, Stage], *options: str) -> int:
    return gpu_trial.main(["--out", str(out), *options], stages)


def records(out: Path, name: str = "records") -> list[dict[str, Any]]:
    return list(gpu_report.read_records(out / f"{name}.jsonl"))


@pytest.mark.slow
def test_a_stage_that_hangs_is_killed_with_all_it_started_and_the_next_one_runs(
    tmp_path: Path,
) -> None:
    hangs = (
        "import subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],"
        " start_new_session=True); print('child', child.pid, flush=True); time.sleep(60)"
    )
    stages = {
        "hangs": Stage(1, {"hangs": (*PYTHON, hangs)}),
        "crashes": Stage(1, {"crashes": (*PYTHON, "import os; print('x'); os.abort()")}),
        "works": Stage(1, {"works": (*PYTHON, "print('here')")}),
        "absent": Stage(1, {"absent": ("no-such-program",)}),
    }
    start = time.monotonic()
    assert trial(tmp_path, stages, "--seconds", "4") == 1
    assert time.monotonic() - start < 8
    ended = {r["stage"]: r for r in records(tmp_path)}
    assert ended["hangs"]["status"].startswith("killed at its deadline")
    assert ended["crashes"]["status"] == "ended with -6"
    assert (ended["works"]["status"], ended["works"]["output"]) == ("ended well", "here\n")
    assert ended["absent"]["status"] == "no-such-program is not here"
    child = int(ended["hangs"]["output"].split()[1])
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"records.jsonl", "log.txt", "summary.txt"}
    assert "killed at its deadline" in (tmp_path / "summary.txt").read_text()


def test_a_stage_that_ends_early_leaves_its_time_to_the_others(tmp_path: Path) -> None:
    budget = (*PYTHON, "import sys; print(sys.argv[1])", "{budget}")
    stages = {"first": Stage(30, {"a": budget}), "second": Stage(10, {"b": budget})}
    assert trial(tmp_path, stages, "--seconds", "80") == 0
    first, second = (int(r["output"]) for r in records(tmp_path))
    assert first == 30  # half of the stage's 60 seconds: starting takes at most the other half
    assert second >= 40  # of the 80 seconds that are left, not of its own 20


def test_stages_are_picked_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stages = {name: Stage(1, {name: (*PYTHON, "pass")}) for name in ("a", "b", "c")}
    assert trial(tmp_path, stages, "--stages", "a,c", "--seconds", "9") == 0
    assert [r["stage"] for r in records(tmp_path)] == ["a", "c"]
    with pytest.raises(SystemExit):
        trial(tmp_path, stages, "--stages", "d")
    assert "unknown stages d; known: a, b, c" in capsys.readouterr().err


def test_without_a_gpu_it_says_why_and_ends_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("GPUBP_TEST_BACKENDS", "cupy")
    stages = {"facts": gpu_trial.STAGES["facts"], "never": Stage(1, {"never": (*PYTHON, "pass")})}
    assert trial(tmp_path, stages, "--seconds", "60") == gpu_trial.NO_GPU
    summary = (tmp_path / "summary.txt").read_text()
    assert "\nno GPU: " in summary and capsys.readouterr().out.endswith(summary)
    assert "never" not in {r.get("stage") for r in records(tmp_path)}


@pytest.mark.slow
def test_what_is_written_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_trial, "LOG_BYTES", 5000)
    says = (*PYTHON, "for k in range(9000): print('line', k, '=' * 300)")
    stages = {name: Stage(9, {name: says}) for name in ROOM}
    with open(tmp_path / "suite.jsonl", "w", encoding="utf-8") as file:
        for k in range(3000):
            failed = {"outcome": "failed", "failure": f"E   Error{k}: " + "x" * 500, "seconds": 1}
            kernels = {"kernels": [f"kernel_{k}.cu", "softmax.cu"]}
            file.write(json.dumps({"test": f"test_{k}.py::t[{'y' * 99}]", **failed, **kernels}))
            file.write("\n")
    (tmp_path / "graphs.jsonl").write_text((tmp_path / "suite.jsonl").read_text())
    gpu_trial.append(tmp_path / "records.jsonl", {"case": "c" * 5000, "outcome": "failed"})
    for k in range(200):
        gpu_trial.append(tmp_path / "records.jsonl", {"fact": f"fact {k}", "value": 1.5})
    assert trial(tmp_path, stages, "--seconds", "40") == 0
    summary = (tmp_path / "summary.txt").read_text()
    assert 4000 < len(summary) < 10_000
    for title in ("FACTS", "SMOKE", "SUITE", "GRAPHS", "KERNELS", "SANITIZER", "FORMS", "SWEEP"):
        assert f"\n{title}\n" in summary
    log = (tmp_path / "log.txt").read_text()
    assert len(log) < len(ROOM) * (5000 + 60 * 400 + 100) and "line 8999" in log
    assert len(list(tmp_path.iterdir())) <= 8


TESTS = """
import sys, types, warnings
import pytest
from gpubp.kernels.cuda import launch

def test_passes():
    class Cupy:
        RawKernel = lambda *a, **k: None
    launch.raw(Cupy, "softmax.cu", "softmax")
    warnings.warn("careful")

def test_fails():
    assert 1 == 2

@pytest.mark.skip(reason="no need")
def test_is_skipped(): pass

@pytest.fixture
def broken():
    yield
    raise ValueError("at the end")

def test_ends_badly(broken): pass

def test_takes_the_device_with_it():
    def fail():
        raise RuntimeError("an illegal access")
    runtime = types.SimpleNamespace(deviceSynchronize=fail)
    sys.modules["cupy"] = types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime))

def test_comes_after(): pass
"""


def run_pytest(folder: Path, *options: str) -> list[dict[str, Any]]:
    (folder / "test_it.py").write_text(TESTS)
    path = folder / "tests.jsonl"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            [str(ALL_TESTS.parent), str(HERE), os.environ.get("PYTHONPATH", "")]
        ),
        "GPUBP_TRIAL_RECORDS": str(path),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "gpu_plugin", "-p", "no:cacheprovider"]
    command += ["-p", "no:zarr", *options, "-W", "default", "test_it.py"]
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    return list(gpu_report.read_records(path))


@pytest.mark.slow
def test_each_test_is_recorded_as_it_ends_and_a_lost_device_ends_the_process(
    tmp_path: Path,
) -> None:
    found = run_pytest(tmp_path)
    tests = {r["test"].partition("::")[2]: r for r in found if "test" in r}
    outcomes = {name: r["outcome"] for name, r in tests.items()}
    assert outcomes == {
        "test_passes": "passed",
        "test_fails": "failed",
        "test_is_skipped": "skipped",
        "test_ends_badly": "error",
        "test_takes_the_device_with_it": "failed",
    }
    assert tests["test_passes"]["kernels"] == ["softmax.cu"]
    assert "assert 1 == 2" in tests["test_fails"]["failure"]
    assert "an illegal access" in tests["test_takes_the_device_with_it"]["failure"]
    assert tests["test_is_skipped"]["reason"] == "Skipped: no need"
    assert {"collected": 6} in found
    assert [r["warning"] for r in found if "warning" in r] == ["UserWarning: careful"]


@pytest.mark.slow
def test_with_workers_another_one_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    found = run_pytest(tmp_path, "-n", "1", "--max-worker-restart", "9")
    outcomes = {r["test"].partition("::")[2]: r["outcome"] for r in found if "test" in r}
    assert outcomes["test_takes_the_device_with_it"] == "failed"
    assert outcomes["test_comes_after"] == "passed"
    assert len(outcomes) == len([r for r in found if "test" in r]) == 6


@pytest.mark.slow
def test_a_suite_that_breaks_off_goes_on_with_the_tests_that_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    words = ["{python}", "-m", "pytest", "-q", "-p", "gpu_plugin", "--rootdir", str(tmp_path)]
    words += [
        "-p",
        "no:xdist",
        "-p",
        "no:zarr",
        "-c",
        os.devnull,
        "-W",
        "default",
        str(tmp_path / "test_it.py"),
    ]
    stages = {"suite": Stage(30, {"suite": words}, "suite.jsonl")}
    out = tmp_path / "out"
    monkeypatch.setattr(gpu_trial, "suite_options", lambda: ["-v"])
    assert trial(out, stages, "--seconds", "30") == 1
    assert [r["command"] for r in records(out)] == ["suite", "suite from test 5"]
    assert [r["test"].partition("::")[2] for r in records(out, "suite") if "test" in r][5:] == [
        "test_comes_after"
    ]
    assert "6 were collected, 0 did not run" in (out / "summary.txt").read_text()


@pytest.mark.slow
def test_only_failures_of_an_earlier_run_are_run_again_on_the_backend_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if host_compiler() is None:
        pytest.skip("no C++ compiler to run CUDA text on the host: install g++ or set CXX")
    monkeypatch.setenv("GPUBP_TEST_BACKENDS", "cupy-on-host")
    path = str(ALL_TESTS / "training/test_schedules.py")
    suite = tuple(path if word == str(ALL_TESTS) else word for word in SUITE)
    stages = {
        name: Stage(60, {name: suite}, f"{name}.jsonl", environment)
        for name, environment in (("suite", {}), ("graphs", {"GPUBP_CUDA_GRAPHS": "1"}))
    }
    first, second = tmp_path / "first", tmp_path / "second"
    assert trial(first, stages, "--stages", "suite", "--seconds", "60") == 0
    tests = [r for r in records(first, "suite") if "test" in r]
    assert tests and all("[cupy-on-host" in r["test"] for r in tests)
    assert any("gather.cu" in r["kernels"] for r in tests)
    with open(first / "suite.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({**tests[0], "outcome": "crashed"}) + "\n{cut off")
    assert trial(second, stages, "--only-failures", str(first / "suite.jsonl")) == 0
    assert [r["test"] for r in records(second, "suite") if "test" in r] == [tests[0]["test"]]
    assert records(second)[-1]["status"] == "no test to run again"


@pytest.mark.slow
def test_fused_steps_are_planned_and_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if host_compiler() is None:
        pytest.skip("no C++ compiler to run CUDA text on the host: install g++ or set CXX")
    monkeypatch.setenv("GPUBP_TEST_BACKENDS", "cupy-on-host")
    real = gpu_trial.STAGES["fused"]
    assert real.by_default and real.environment == {"GPUBP_CUDA_FUSED": "1"}
    assert list(real.commands) == ["plan", "fused"]
    assert all(Path(word).exists() for word in real.commands["fused"] if word[0] == "/")
    tests = (*suite("training/test_schedules.py"), "-k", "cupy")
    commands = {"plan": (*PLAN, "narrow:512", "--rounds", "1"), "fused": tests}
    stages = {"fused": Stage(90, commands, "fused.jsonl", real.environment)}
    assert trial(tmp_path, stages, "--seconds", "90") == 0
    plans = [r["results"] for r in records(tmp_path, "bench") if r["command"] == "plan"]
    assert [plan["fused"] for plan in plans] == [False, True]
    assert plans[1]["launches"] < plans[0]["launches"] and plans[1]["seconds"] > 0
    ran = [r for r in records(tmp_path, "fused") if "test" in r]
    assert {r["outcome"] for r in ran} == {"passed"}
    assert any("joined.cu" in r["kernels"] for r in ran)
    summary = (tmp_path / "summary.txt").read_text()
    shown = f"narrow, 512 rows, fused: {plans[1]['launches']} launches, predicted "
    assert "\nPLAN\n" in summary and shown in summary and "\nFUSED\n" in summary


def test_a_report_is_made_of_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_report, "RESULTS", tmp_path / "results")
    facts = {"date": "2026-01-02T03:04:05+00:00", "device": "NVIDIA H100, CuPy 14"}
    gpu_trial.append(tmp_path / "records.jsonl", {"fact": "report", "value": facts})
    for k, outcome in enumerate(("passed", "passed", "failed")):
        test = {"test": f"test_a.py::t{k}[cupy-1]", "outcome": outcome, "kernels": ["gather.cu"]}
        gpu_trial.append(tmp_path / "suite.jsonl", test)
    gpu_trial.append(tmp_path / "suite.jsonl", {"collected": 4})
    assert trial(tmp_path, {}, "--stages", "none", "--report") == 0
    path = tmp_path / "results" / "gpu-check-nvidia-h100-2026-01-02.json"
    report = json.loads(path.read_text())
    assert report["outcomes"] == {"passed": 2, "failed": 1}
    assert (report["passed_on_gpu"], report["not_run"], report["exit_status"]) == (2, 1, 1)
    assert report["failed"] == ["test_a.py::t2[cupy-1]"]
    assert report["kernels"] == {"gather.cu": {"passed": 2, "failed": 1}}
