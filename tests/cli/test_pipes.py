"""Outputs that are closed or full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_up_results import made_up_file

COMMANDS = (
    ["--help"],
    ["bench", "--help"],
    ["info"],
    ["info", "--json"],
    ["trace"],
    ["bench", "--show", "RUN.json"],
    ["bench", "--show", "RUN.json", "--markdown"],
)


@pytest.fixture
def arguments(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """The command, with a file of results."""
    words: list[str] = request.param
    return [str(made_up_file(tmp_path / word)) if word == "RUN.json" else word for word in words]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no closed pipes like these")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", COMMANDS, indirect=True, ids=" ".join)
def test_a_closed_pipe_is_quiet(arguments: list[str], unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = run(arguments, writing, unbuffered)
    finally:
        os.close(writing)
    assert (done.stderr, done.returncode) == ("", 141)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", COMMANDS, indirect=True, ids=" ".join)
def test_a_full_device_is_told_in_a_sentence(arguments: list[str], unbuffered: str) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = run(arguments, full.fileno(), unbuffered)
    name = "gpubp" if "--help" in arguments else f"gpubp {arguments[0]}"
    told = f"{name}: the output could not be written (No space left on device)\n"
    assert (done.stderr, done.returncode) == (told, 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_an_error_that_cannot_be_told_has_its_status() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gpubp", "nosuch"], stderr=full, check=False
        )  # fmt: skip
    assert done.returncode == 2


def run(arguments: list[str], output: int, unbuffered: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    return subprocess.run(
        [sys.executable, "-m", "gpubp", *arguments],
        env=environment, stdout=output, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
