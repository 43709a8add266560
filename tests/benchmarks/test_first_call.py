"""What a new process waits for: its processes, their time limit, the table, the command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from made_up import made_up

from gpubp.benchmarks import first_call
from gpubp.benchmarks.parts import FirstCall
from gpubp.benchmarks.report import tables
from gpubp.benchmarks.results import Results
from gpubp.cli import main
from gpubp.kernels.cpu.build import made_by


class Pretended:
    """Processes that only move a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **seconds: float) -> None:
        self.now, self.seconds = 0.0, seconds
        self.runs: list[tuple[str, str, str]] = []
        monkeypatch.setattr(first_call, "in_new_process", self.run)
        monkeypatch.setattr(first_call.time, "perf_counter", lambda: self.now)

    def run(
        self, script: str, arguments: Sequence[str], folder: Path, on_cpu: bool = True
    ) -> dict[str, Any]:
        name, network, *_ = arguments
        self.runs.append((name, network, folder.name))
        self.now += self.seconds.get(name.replace("-", "_"), 1.0)
        if name == "jax":
            return {"absent": "jax is not installed"}
        if name == "scikit-learn":
            raise RuntimeError("a new process of scikit-learn failed: no reason")
        return {"imports": 1.0, "first": 2.0 + len(self.runs), "second": 0.5, "detail": "here"}


def test_what_stores_kernels_has_processes_with_and_without_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretended = Pretended(monkeypatch)
    run = first_call.run_first_calls(("gpubp-numpy", "torch"), rounds=2)
    narrow = [(name, folder) for name, network, folder in pretended.runs if network == "narrow"]
    # A cold process has a folder of its own; a warm one has what the first of them left.
    round_0 = [("gpubp-numpy", "0"), ("gpubp-numpy", "0"), ("torch", "0")]
    round_1 = [("gpubp-numpy", "1"), ("gpubp-numpy", "0"), ("torch", "0")]
    assert narrow == round_0 + round_1
    kinds = ["gpubp-numpy, nothing stored", "gpubp-numpy, kernels stored", "torch"]
    assert [call.kind for call in run.first_calls if call.network == "narrow"] == kinds
    assert run.first_calls[0].first == [3.0, 9.0]
    assert [e.detail for e in run.entrants] == ["here", "here"]


def test_no_process_starts_that_would_end_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    pretended = Pretended(monkeypatch, torch_compile=first_call.SECONDS / 2 - 1)
    run = first_call.run_first_calls(("torch-compile", "torch"), rounds=3)
    assert pretended.now <= first_call.SECONDS
    found = {(call.kind, call.network): len(call.first) for call in run.first_calls}
    assert found["torch-compile, nothing stored", "narrow"] == 1
    assert found["torch-compile, nothing stored", "width-16"] == 0
    assert found["torch", "narrow"] + found["torch", "width-16"] == 2
    (table,) = [t for t in tables(run) if t.title.startswith("a new process")]
    left_out = "torch-compile, nothing stored, width-16: left out, because the time was short"
    assert left_out in table.notes


def test_the_table_says_who_is_absent_who_failed_and_the_medians(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Pretended(monkeypatch)
    monkeypatch.setattr(first_call, "NETWORKS", ("narrow",))
    run = first_call.run_first_calls(("jax", "scikit-learn"), rounds=3)
    run.first_calls.append(FirstCall("torch", [1.0, 3.0, 2.0], [9.0, 1.0, 2.0], [1e-3] * 3, "gone"))
    head, table = tables(run)
    assert head.header == ["contender", "runs on"]
    assert ["jax", "absent: jax is not installed"] in head.rows
    network = "narrow 64-64-64-64-64-16"
    # The medians of 1, 3, 2; of 9, 1, 2; and of their sums, 10, 4 and 4.
    assert table.rows == [
        ["scikit-learn", network, *["ERROR"] * 4, "0"],
        ["torch", "gone", "2.00 s", "2.00 s", "4.00 s", "1.00 ms", "3"],
    ]
    (why,) = table.notes
    assert why == "ERROR scikit-learn, narrow: a new process of scikit-learn failed: no reason"
    run.save(tmp_path / "run.json")
    assert Results.load(tmp_path / "run.json") == run
    assert not [t for t in tables(made_up()) if t.title.startswith("a new process")]


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"a new process of x failed: ValueError: no reason"):
        first_call.in_new_process("raise ValueError('no reason')", ("x",), tmp_path)


def test_libraries_store_what_they_compile_in_the_given_folder(tmp_path: Path) -> None:
    script = """
import json, os, sys
print("noise before the last line")
print(json.dumps({"arguments": sys.argv[1:], "environment": dict(os.environ)}))
"""
    read = first_call.in_new_process(script, ("a", "b"), tmp_path / "new")
    environment = read["environment"]
    assert read["arguments"] == ["a", "b"]
    folders = {Path(environment[name]) for name in first_call.CACHES}
    assert len(folders) == len(first_call.CACHES)
    assert all(path.is_dir() and path.parent == tmp_path / "new" for path in folders)
    assert environment["JAX_PLATFORMS"] == "cpu"


@pytest.mark.slow
@pytest.mark.skipif(not made_by(), reason="no C++ compiler: install g++ or set CXX")
def test_the_command_measures_writes_and_shows_first_calls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_call, "NETWORKS", ("width-4",))
    path = tmp_path / "run.json"
    arguments = ["bench", "--first-call", "--contenders", "gpubp-numpy", "--rounds", "1"]
    assert main([*arguments, "--json", str(path)]) == 0
    cold, warm = Results.load(path).first_calls
    for call in (cold, warm):
        assert not call.failed and min(call.imports + call.first + call.second) > 0
    capsys.readouterr()
    assert main(["bench", "--show", str(path)]) == 0
    assert cold.kind in (shown := capsys.readouterr().out) and warm.kind in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--memory"], "--memory was given with --first-call, which does not have it"),
        (["--batch-sizes", "8"], "--batch-sizes was given with --first-call, which does not"),
        (["--contenders", "tourch"], "--contenders is tourch; did you mean 'torch'?"),
    ],
)
def test_wrong_options_of_first_calls_are_told_in_a_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--first-call", *arguments]) == 2
    assert message in capsys.readouterr().err
