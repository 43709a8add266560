"""Processes with custom text that is compiled in the background: their end, Ctrl-C, and forks."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from fake_compiler import FakeCompiler, is_closed, stored, wait_for

from gpubp.kernels.cpu import build

pytestmark = pytest.mark.skipif(
    not build.made_by(), reason="no C++ compiler: install g++ or set CXX"
)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

FIRST = """
import os, signal, sys, time, threading
import numpy as np
from gpubp.kernels.cpu import build, texts
from gpubp.kernels.cpu.background import background
texts.BASE = ("arithmetic.cpp",)
TEXT = texts.CUSTOM + "int text;"
def find():
    kernel = build.kernel("answer", np.float32, TEXT)
    return None if kernel is None else kernel()
def touch(path):
    open(path, "w").close()
print(find(), flush=True)
"""


@pytest.fixture
def program(fake: FakeCompiler, tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Return a function that starts FIRST and more code, in a process whose folders are in tmp_path."""
    (tmp_path / "scratch").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "scratch")}
    environment.pop("GPUBP_COMPILE", None)
    started: list[subprocess.Popen[str]] = []

    def start(code: str) -> subprocess.Popen[str]:
        command = (sys.executable, "-W", "error", "-c", FIRST + code, str(tmp_path))
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, env=environment, start_new_session=True, **pipes))
        return started[-1]

    yield start
    for process in started:
        with suppress(ProcessLookupError):  # all is well
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def behave(fake: FakeCompiler, commands: str) -> None:
    """Let the compiler run commands before it compiles custom text."""
    fake.behave(
        'for text in "$@"; do case "$text" in *.cpp)'
        f' if grep -q "int text" "$text"; then {commands}; fi;; esac; done'
    )


def finished(process: subprocess.Popen[str], *said: object) -> None:
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert output.split() == list(map(str, said))


def test_a_process_ends_after_its_compilation_and_the_next_one_finds_the_library(
    fake: FakeCompiler, place: Path, program: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    behave(fake, "sleep 0.5")
    finished(program(""), None)
    assert len(stored(place)) == 2 and not stored(tmp_path / "scratch")
    fake.behave("")
    finished(program(""), 42)
    assert not fake.compilations


def test_control_c_does_not_wait_for_the_compiler_nor_end_it(
    fake: FakeCompiler, place: Path, program: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    ready, go = (shlex.quote(str(tmp_path / name)) for name in ("ready", "go"))
    behave(fake, f"touch {ready}; until [ -e {go} ]; do sleep 0.02; done")
    process = program(
        """
try:
    print("begin", flush=True)
    time.sleep(1000)
except KeyboardInterrupt:
    print("interrupted", background._is_busy, flush=True)
    touch(sys.argv[1] + "/go")
"""
    )
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["None\n", "begin\n"]
    wait_for((tmp_path / "ready").exists)
    time.sleep(0.1)  # `begin` was printed before the sleep
    process.send_signal(signal.SIGINT)
    finished(process, "interrupted", True)
    assert len(stored(place)) == 2


def test_control_c_at_the_end_of_a_process_ends_the_compiler_and_leaves_nothing(
    fake: FakeCompiler, place: Path, program: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    behave(fake, f"touch {shlex.quote(str(tmp_path / 'ready'))}; sleep 1000 > {pipe}")
    process = program("")
    try:
        wait_for((tmp_path / "ready").exists)
        while process.poll() is None:  # the first may come before the process waits at its end
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)
        assert len(stored(place)) == 1 and not stored(tmp_path / "scratch")
        wait_for(lambda: is_closed(end))
    finally:
        os.close(end)


@needs_fork
def test_a_forked_child_compiles_for_itself_and_leaves_the_parents_compilation_alone(
    fake: FakeCompiler, place: Path, program: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    ready, go = (shlex.quote(str(tmp_path / name)) for name in ("ready", "go"))
    behave(fake, f"if mkdir {ready} 2> /dev/null; then until [ -e {go} ]; do sleep 0.02; done; fi")
    process = program(
        """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
while not os.path.exists(sys.argv[1] + "/ready"):
    time.sleep(0.01)
with background.kept():
    child = os.fork()
    if not child:
        print(find(), flush=True)
        while background._is_busy:
            time.sleep(0.01)
        print(find(), flush=True)
if not child:
    print(find(), flush=True)
    sys.exit(7)  # with all that Python does at the end of a process
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), background._is_busy, flush=True)
touch(sys.argv[1] + "/go")
while background._is_busy:
    time.sleep(0.01)
print(find(), flush=True)
"""
    )
    finished(process, None, None, None, 42, 7, True, 42)
    assert fake.compilations == 3
    assert len(stored(place)) == 2 and not stored(tmp_path / "scratch")
