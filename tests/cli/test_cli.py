"""The commands, as a user runs them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gpubp
from gpubp.cli import demo, main
from gpubp.kernels.cpu.build import explain as explain_kernels


@pytest.mark.slow
def test_demo_trains_to_the_promised_accuracy_and_writes_its_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn", reason="the demo's data, scikit-learn, is not installed")
    pytest.importorskip("matplotlib", reason="what draws, matplotlib, is not installed")
    picture = tmp_path / "curve.png"
    assert main(["demo", "--backend", "numpy", "--output", str(picture)]) == 0
    shown = capsys.readouterr().out
    assert "numpy: --backend numpy asks for it" in shown
    difference = re.search(
        r"differ by (\S+) \(relative\); checked with\s+910 parameters of a small tanh network"
        r" \(64, 12, 10\) on numpy, in float64",
        shown,
    )
    assert difference is not None and float(difference[1]) < 1e-7
    epochs = re.findall(r"^ +(\d+) +\d\.\d{4} +\d\.\d{4} +[\d.]+ % ", shown, re.MULTILINE)
    assert epochs == [str(epoch + 1) for epoch in range(40)]
    accuracy = re.search(r"accuracy +(\S+) % on the 360 test digits", shown)
    assert accuracy is not None and float(accuracy[1]) >= 97.5
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert str(picture) in shown


def test_demo_without_matplotlib_trains_and_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn", reason="the demo's data, scikit-learn, is not installed")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["demo", "--backend", "numpy", "--epochs", "1"]) == 0
    shown = capsys.readouterr().out
    assert "accuracy  " in shown
    assert "picture   absent: History.plot needs matplotlib; pip install 'gpubp[plot]'" in shown


@pytest.mark.slow
def test_demo_without_rich_prints_an_epoch_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn", reason="the demo's data, scikit-learn, is not installed")
    monkeypatch.setattr("gpubp.cli.demo_training.find_spec", lambda name: None)
    picture = str(tmp_path / "curve.png")
    assert main(["demo", "--backend", "numpy", "--epochs", "1", "--output", picture]) == 0
    shown = capsys.readouterr()
    assert shown.out.count("\n    1 ") == 1 and shown.err == ""


def test_info_says_which_backend_runs_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    shown = capsys.readouterr().out
    backend, reason = gpubp.backends.explain_auto()
    assert f'backend "auto" is {backend.name}: {reason}' in shown
    assert backend.device in shown
    assert f"  kernels  {explain_kernels()}\n" in shown


def test_an_error_is_one_sentence_and_a_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--backend", "nunpy"]) == 2
    assert capsys.readouterr().err == "gpubp demo: --backend is nunpy; did you mean 'numpy'?\n"


def test_demo_without_scikit_learn_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert main(["demo"]) == 1
    told = capsys.readouterr()
    assert "pip install 'gpubp[sklearn]'" in told.err and not told.out


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_demo_that_a_signal_ends_has_the_status_that_shells_expect(
    tmp_path: Path, number: int, status: int
) -> None:
    pytest.importorskip("sklearn", reason="the demo's data, scikit-learn, is not installed")
    options = ["--backend", "numpy", "--epochs", "1000000", "--output", str(tmp_path / "p.png")]
    process = subprocess.Popen(
        [sys.executable, "-m", "gpubp", "demo", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.split()[:1] == ["1"]:  # the first epoch
            break
    process.send_signal(number)
    out, said = process.communicate(timeout=100)
    assert process.returncode == status, said
    assert "Traceback" not in said
    assert ("(interrupted)" in out) == (number == signal.SIGINT)


def test_control_c_outside_a_fit_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(options: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run", interrupted)
    assert main(["demo"]) == 130
    assert capsys.readouterr() == ("", "gpubp demo: interrupted\n")
