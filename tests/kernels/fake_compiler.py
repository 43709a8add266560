"""A stand-in for the C++ compiler, and calls of kernels that it made.

It answers at once, with one library for every text.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gpubp.kernels.cpu import ahead, build, cache, compiler
from gpubp.kernels.cpu.background import background

__all__ = ["FakeCompiler", "answer", "forget", "is_closed", "stored", "wait_for"]

ANSWER = """
extern "C" int answer_float() { return 42; }
extern "C" int answer_double() { return 42; }
"""

SCRIPT = """#!/bin/sh
echo "$*" >> {log}
case "$*" in
*--version*) echo "fake 1.0"; exit;;
esac
{behaviour}
while [ $# -gt 0 ]; do
    if [ "$1" = -o ]; then cp {library} "$2"; exit; fi
    shift
done
"""


class FakeCompiler:
    """A compiler whose every library has the functions answer_float and answer_double.

    Parameters
    ----------
    folder : Path
        The folder of the program, its library, and the record of its runs.

    Attributes
    ----------
    program : Path
        The program; CXX may name it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.program, self._log, self._library = (
            folder / name for name in ("g++", "runs", "answer.so")
        )
        text = folder / "answer.cpp"
        text.write_text(ANSWER)
        real = shutil.which("g++") or shutil.which("clang++")
        assert real is not None
        command = (real, "-shared", "-fPIC", str(text), "-o", str(self._library))
        subprocess.run(command, check=True)
        self.behave("")

    def behave(self, behaviour: str) -> None:
        """Set shell commands that run before the library is written; forget the runs until now."""
        self.program.write_text(
            SCRIPT.format(
                log=shlex.quote(str(self._log)),
                library=shlex.quote(str(self._library)),
                behaviour=behaviour,
            )
        )
        self.program.chmod(0o755)
        self._log.write_text("")

    @property
    def runs(self) -> list[str]:
        """The arguments of every run."""
        return self._log.read_text().splitlines()

    @property
    def compilations(self) -> int:
        """The number of libraries that were to be compiled, counted by their first texts."""
        return sum("kernels0.cpp" in run for run in self.runs)


def forget() -> None:
    """Forget libraries, folder and compiler, as a new process does."""
    cached = (
        build._base,
        build._library,
        build._say_once,
        ahead.opened,
        cache.folder,
        compiler._version,
        compiler.native_flag,
        compiler._temporary_folder,
    )
    for function in cached:
        function.cache_clear()
    background._entries.clear()


def answer() -> int:
    """Begin as a new process does, and call a kernel of two libraries, the base's and another."""
    forget()
    return int(build.kernel("answer", np.float32, "// a text")())


def stored(place: Path) -> list[Path]:
    """List what is in a folder."""
    return sorted(place.iterdir())


def is_closed(end: int) -> bool:
    """Whether no process has the other end of a pipe."""
    try:
        return os.read(end, 1) == b""
    except BlockingIOError:
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition is true, for a minute at most."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "a minute has passed"
        time.sleep(0.01)
