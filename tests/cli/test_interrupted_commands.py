"""Ctrl-C: the status, one line that says what is kept, no traceback, and no process that goes on."""

from __future__ import annotations

import importlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from environment import LONG

from gpubp.benchmarks.estimators.results import EstimatorResults
from gpubp.benchmarks.results import Results
from gpubp.cli import info, main

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no groups of processes like these"
)

STATUSES = (130, -signal.SIGINT)
"""Python ends itself by SIGINT if the Ctrl-C came in text that `exec` ran, as in a dataclass's import."""


class Command:
    """A command in a session of its own, as a terminal's is; Ctrl-C goes to its group."""

    def __init__(self, *arguments: str, folder: Path) -> None:
        self._mark = f"GPUBP_TEST_MARK={random.random()}"
        name, _, value = self._mark.partition("=")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gpubp", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
            env=os.environ | {name: value, "PYTHONUNBUFFERED": "1"}, start_new_session=True,
        )  # fmt: skip

    def wait_for(self, *texts: str) -> None:
        """Read the progress until it has shown the texts, in this order."""
        stream = self._process.stderr
        assert stream is not None
        for text in texts:
            assert any(text in line for line in stream), f"{text!r} was not shown"

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGINT)

    def end(self) -> tuple[str, str]:
        """Wait until the command has ended as it should, with all its processes; return what it printed."""
        out, err = self._process.communicate(timeout=100)
        assert self._process.returncode in STATUSES, err
        for word in ("Traceback", "ignored", "KeyboardInterrupt", "leaked"):
            assert word not in err + out
        ends = time.monotonic() + 20
        while (running := list(self._running())) and time.monotonic() < ends:
            time.sleep(0.1)
        assert running == []
        return out, err.splitlines()[-1]

    def _running(self) -> Iterator[str]:
        """List the processes that have the environment of this command, on Linux."""
        for folder in Path("/proc").glob("[0-9]*") if sys.platform == "linux" else ():
            with suppress(OSError):
                if self._mark.encode() in (folder / "environ").read_bytes():
                    yield (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()


def bench(folder: Path, *arguments: str) -> Command:
    written = ["--json", str(folder / "run.json"), "--pictures", str(folder)]
    return Command("bench", *arguments, *written, folder=folder)


POINTS = (
    "--architectures", "narrow", "--batch-sizes", "8", "16", "32", "--optimizer", "sgd",
    "--contenders", "gpubp-numpy", "--rounds", "1",
)  # fmt: skip


def test_ctrl_c_keeps_the_points_of_a_benchmark(tmp_path: Path) -> None:
    command = bench(tmp_path, *POINTS)
    command.wait_for("measuring for about", "batch 8,", "batch 16,")
    command.interrupt()
    _, last = command.end()
    kept = Results.load(tmp_path / "run.json")
    assert {point.batch_size for point in kept.points} in ({8}, {8, 16})
    assert all(point.rounds["gpubp-numpy"] for point in kept.points)
    told = f"{kept.counted()} so far are in {tmp_path / 'run.json'}"
    assert last == f"gpubp bench: interrupted; {told}"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert main(["bench", "--show", str(tmp_path / "run.json"), "--markdown"]) == 0


def test_ctrl_c_twice_before_the_first_point(tmp_path: Path) -> None:
    command = bench(tmp_path, *POINTS)
    command.wait_for("starting the contenders")
    command.interrupt()
    time.sleep(0.02)
    command.interrupt()
    _, last = command.end()
    assert last.startswith("gpubp bench: interrupted")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_repetition_keeps_the_other_points(tmp_path: Path) -> None:
    from made_up_results import made_up

    earlier = made_up()
    earlier.points[0].batch_size = 8
    earlier.points.append(made_up().points[0])
    earlier.save(tmp_path / "earlier.json")
    command = bench(tmp_path, *POINTS, "--repeat", str(tmp_path / "earlier.json"))
    command.wait_for("batch 8,", "batch 16,")
    command.interrupt()
    command.end()
    kept = Results.load(tmp_path / "run.json")
    assert [point.batch_size for point in kept.points] == [8, 32]
    assert set(kept.points[0].rounds) == {"gpubp-numpy", "floor-threads", "floor-1-thread"}
    assert kept.points[1] == earlier.points[1]
    assert len(kept.settings["repeated"]) == 1


@pytest.mark.slow
def test_ctrl_c_keeps_first_calls(tmp_path: Path) -> None:
    command = bench(tmp_path, "--first-call", "--contenders", "gpubp-numpy")
    command.wait_for("nothing stored", "kernels stored", "nothing stored")
    command.interrupt()
    _, last = command.end()
    kept = Results.load(tmp_path / "run.json")
    assert last.startswith(f"gpubp bench: interrupted; {kept.counted()} so far are in ")
    assert 1 <= len(kept.first_calls) <= 3 and all(call.first for call in kept.first_calls)


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(30 if LONG else 3))
def test_ctrl_c_at_any_moment(trial: int, tmp_path: Path) -> None:
    rng = random.Random(trial)
    kinds = (["--quick"], ["--small"], ["--estimators", "--quick"], ["--first-call"], ["--widths"],
             [*POINTS, "--memory"])  # fmt: skip
    kind = kinds[trial % len(kinds)]
    command = bench(tmp_path, *kind)
    time.sleep(rng.choice((rng.uniform(1, 4), rng.uniform(4, 12))))
    for _ in range(rng.randrange(1, 4)):
        command.interrupt()
        time.sleep(rng.choice((0.001, 0.05, 0.3)))
    _, last = command.end()
    assert last.startswith("gpubp bench: interrupted")
    path = tmp_path / "run.json"
    if path.exists():
        (EstimatorResults if "--estimators" in kind else Results).load(path)
    assert {*tmp_path.iterdir()} <= {path}


def test_an_interrupted_demo_says_what_it_has_kept(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the demo's data, scikit-learn, is not installed")
    pytest.importorskip("matplotlib", reason="what draws, matplotlib, is not installed")
    command = Command("demo", "--backend", "numpy", "--epochs", "100000", folder=tmp_path)
    stream = command._process.stdout
    assert stream is not None and any(line.split()[:1] == ["1"] for line in stream)
    command.interrupt()
    out, last = command.end()
    assert f"picture   {tmp_path / 'gpubp-demo.png'}\n" in out
    assert (tmp_path / "gpubp-demo.png").read_bytes().startswith(b"\x89PNG")
    assert last.startswith("gpubp demo: interrupted after ") and last.endswith(" of 100000 epochs")


def test_ctrl_c_during_an_import_is_no_import_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(options: object) -> int:
        try:
            signal.raise_signal(signal.SIGINT)
            importlib.import_module("json")
        except KeyboardInterrupt:  # as a compiled module's import does
            raise ImportError("numpy._core.multiarray failed to import") from None
        return 0

    monkeypatch.setattr(info, "run", run)
    before = signal.getsignal(signal.SIGINT)
    assert main(["info"]) == 130
    assert capsys.readouterr() == ("", "gpubp info: interrupted\n")
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_of_gpubp_itself_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(options: object) -> int:
        raise LookupError("a bug")

    monkeypatch.setattr(info, "run", run)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(LookupError, match="a bug"):
        main(["info"])
    assert signal.getsignal(signal.SIGINT) is before
