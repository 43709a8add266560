"""Completion of words by a shell: what is offered, that it is quick, and the scripts for shells."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpubp.benchmarks.contenders import CONTENDERS
from gpubp.benchmarks.estimators.tasks import DATA
from gpubp.benchmarks.tasks import ARCHITECTURES, BATCH_SIZES, DISTINCT_ROWS, OPTIMIZERS
from gpubp.cli import bench_names, demo, main, values

BASH = shutil.which("bash")


def completed(line: str, folder: Path) -> list[str]:
    """Complete a line as argcomplete's scripts for shells do."""
    pytest.importorskip("argcomplete", reason="what completes words, argcomplete, is not installed")
    answer = folder / "answer"
    answer.unlink(missing_ok=True)
    environment = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_SHELL": "bash",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
        "IFS": "\013",
    }
    subprocess.run(
        [sys.executable, "-m", "gpubp"],
        env=os.environ | environment, cwd=folder, capture_output=True, check=True,
    )  # fmt: skip
    words = [word for word in answer.read_text().split("\013") if word]
    answer.unlink()
    return words


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("gpubp be", ["bench"]),
        ("gpubp completion ", ["bash", "fish", "zsh"]),
        ("gpubp bench --fir", ["--first-call"]),
        ("gpubp bench --architectures narrow re", ["regression", "relu-10", "relu-64"]),
        ("gpubp bench --contenders onnx", ["onnxruntime", "onnxruntime-1-thread"]),
        ("gpubp bench --batch-sizes 20", ["2048"]),
        ("gpubp bench --estimators --data c", ["cover"]),
        ("gpubp demo --backend n", ["numpy"]),
        ("gpubp trace --di", ["--digits"]),
        ("gpubp trace --json run.j", ["run.json"]),
        ("gpubp bench --show ", ["folder/", "run.JSON", "run.json"]),
        ("gpubp bench --pictures ", ["folder/"]),
        ("gpubp bench --show folder/", ["folder/old.json"]),
        ("gpubp demo --output p", ["picture.png"]),
    ],
)
def test_a_word_is_completed(line: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name in (
        "run.json",
        "run.JSON",
        "picture.png",
        "poem.txt",
        ".hidden.json",
        "folder/old.json",
    ):
        (tmp_path / name).touch()
    words = [word for word in completed(line, tmp_path) if not word.startswith("--h")]
    assert sorted(word.strip() for word in words) == expected


@pytest.mark.parametrize("option", ["--target", "--drop", "--categorical", "--numeric"])
def test_columns_of_a_text_file_are_completed(option: str, tmp_path: Path) -> None:
    (tmp_path / "houses.csv").write_text('price;"size; m";place\n1;2;3\n', encoding="utf-8")
    assert completed(f"gpubp train houses.csv {option} p", tmp_path) == ["price", "place"]
    assert completed(f"gpubp train none.csv {option} p", tmp_path) == []


def test_columns_of_a_parquet_file_are_completed(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars", reason="what reads tables, polars, is not installed")
    polars.DataFrame({"price": [1], "place": [2]}).write_parquet(tmp_path / "houses.parquet")
    words = completed("gpubp train houses.parquet --target pr", tmp_path)
    assert [word.strip() for word in words] == ["price"]


def test_the_parser_is_made_without_heavy_modules() -> None:
    program = (
        "import sys\n"
        "from gpubp.cli.commands import command_line\n"
        "command_line()\n"
        "print([n for n in sys.modules if n.partition('.')[0] in ('numpy', 'scipy', 'sklearn', 'polars')"
        " or n.startswith(('gpubp.benchmarks', 'gpubp.kernels', 'gpubp.public'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_the_names_are_those_of_the_tables() -> None:
    assert tuple(ARCHITECTURES) == bench_names.ARCHITECTURES
    assert tuple(CONTENDERS) == bench_names.CONTENDERS
    assert tuple(OPTIMIZERS) == bench_names.OPTIMIZERS
    assert tuple(DATA) == bench_names.DATA
    assert (BATCH_SIZES, DISTINCT_ROWS) == (bench_names.BATCH_SIZES, bench_names.DISTINCT_ROWS)
    assert values.BACKENDS == ("auto", "numpy", "cupy")


def test_the_pictures_are_those_that_matplotlib_writes() -> None:
    figure = pytest.importorskip(
        "matplotlib.figure", reason="what draws, matplotlib, is not installed"
    )
    known = figure.Figure().canvas.get_supported_filetypes()
    assert set(demo.PICTURES) <= {f".{name}" for name in known}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("argcomplete", reason="what completes words, argcomplete, is not installed")
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "_ARGCOMPLETE" in script and "gpubp" in script
    program = shutil.which(shell)
    if program is not None:
        subprocess.run([program, "-n"], input=script, text=True, check=True)


def test_without_argcomplete_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "argcomplete.shell_integration", None)
    assert main(["completion", "bash"]) == 1
    told = capsys.readouterr().err
    assert told == "gpubp completion: completion needs argcomplete; pip install 'gpubp[cli]'\n"


@pytest.mark.skipif(BASH is None or sys.platform == "win32", reason="no bash")
def test_bash_completes_with_tab(tmp_path: Path) -> None:
    pytest.importorskip("argcomplete", reason="what completes words, argcomplete, is not installed")
    command = tmp_path / "gpubp"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m gpubp "$@"\n')
    command.chmod(0o755)
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
        os.environ["PS1"] = "$ "
        os.environ["TERM"] = "dumb"
        os.execv(str(BASH), ["bash", "--norc", "--noprofile", "-i"])
    try:
        os.write(terminal, b'eval "$(gpubp completion bash)"; echo rea""dy\n')
        assert shown(terminal, "ready")
        os.write(terminal, b"echo gpubp; gpubp ben\t--archi\tregr\t")
        assert shown(terminal, "gpubp bench --architectures regression")
    finally:
        os.close(terminal)  # bash ends
        os.waitpid(pid, 0)


def shown(terminal: int, expected: str) -> bool:
    """Read what a terminal shows, until it has shown the text."""
    seen, ends = "", time.monotonic() + 60
    while expected not in seen and time.monotonic() < ends:
        if select.select([terminal], [], [], 1.0)[0]:
            seen += os.read(terminal, 4096).decode(errors="replace")
    return expected in seen
