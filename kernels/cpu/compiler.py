"""The C++ compiler of this machine: which one it is, how it is called, and what it says."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

__all__ = [
    "CompileError",
    "NoCompilerError",
    "compile_library",
    "compile_object",
    "identity",
    "link",
    "native_flag",
    "preprocessed",
    "version",
]

# These flags are fast, but keep NaN and infinity exact. The macro __FAST_MATH__ makes glibc offer its
# vector functions, which are off by 4 units in the last place at most, for what math.h does not have, such
# as log and sin. The flag -ffast-math would do so too, but it also changes the processor's mode.
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros",
         "-fassociative-math", "-ffp-contract=fast", "-D__FAST_MATH__", "-w")  # fmt: skip
NATIVE = ("-march=native", "-mcpu=native")
"""The flags that ask for this processor's instructions. Which of them a compiler takes depends on the
processor and on the compiler."""
PROCESSORS = ("-march=", "-mcpu=")
"""The flags that name a processor. One in CXX takes the place of NATIVE."""
TIMEOUT = 120.0
"""The seconds that one run of the compiler may take: a hundred times what it needs."""


class CompileError(RuntimeError):
    """A text was not compiled. The message is the reason, on one line."""


class NoCompilerError(CompileError):
    """There is no compiler, or the user wants none."""


def version() -> str:
    """Return the first line of the compiler's --version."""
    return _version().splitlines()[0]


def identity() -> str:
    """Describe all that a library depends on besides its text: compiler, flags and processor."""
    return "\0".join((*_command(), _version(), _processor(), *FLAGS))


@cache
def native_flag() -> str:
    """Return the flag in CXX that names a processor, else the one of NATIVE that the compiler takes.

    It is "" if the compiler takes none.

    Only a complaint about the flag itself is a refusal. A compiler that fails otherwise, because it was
    killed for example, raises CompileError: a library without the processor's instructions would stay in
    the cache.
    """
    named = [word for word in _command()[1:] if word.startswith(PROCESSORS)]
    if named:
        return named[-1]  # the compiler obeys the last one
    for flag in NATIVE:
        try:
            _run(*_command(), flag, "-E", "-x", "c++", os.devnull)
            return flag
        except CompileError as error:
            name = flag.partition("=")[0]
            if name not in str(error) and "'native'" not in str(error):
                raise
    return ""


def compile_library(code: str, folder: Path, flags: Sequence[str]) -> Path:
    """Compile C++ text to a library in `folder`, which also gets the compiler's temporary files.

    `flags` are those of a processor.

    Raises
    ------
    CompileError
        If the compiler refuses the text, is killed, or takes longer than TIMEOUT.
    """
    library = folder / "kernels.so"
    link([compile_object(code, folder, "kernels", flags)], library, (), folder)
    return library


def compile_object(code: str, folder: Path, name: str, flags: Sequence[str]) -> Path:
    """Compile C++ text to an object file in `folder`; errors are those of `compile_library`."""
    text, compiled = folder / f"{name}.cpp", folder / f"{name}.o"
    text.write_text(code, encoding="utf-8")
    _run(*_command(), *FLAGS, *flags, "-c", str(text), "-o", str(compiled), scratch=folder)
    return compiled


def link(objects: Sequence[Path], library: Path, flags: Sequence[str], folder: Path) -> None:
    """Link object files to a library; `folder` gets the linker's temporary files."""
    names = map(str, objects)
    linked = ("-shared", *flags, *names, "-o", str(library), "-lm", "-pthread")
    _run(*_command(), *linked, scratch=folder)


def preprocessed(flags: Sequence[str]) -> str:
    """Return the macros that the compiler defines with these flags, as #define lines."""
    return _run(*_command(), *flags, "-dM", "-E", "-x", "c++", os.devnull)


def _command() -> tuple[str, ...]:
    """Find the compiler: CXX with its arguments, else g++ or clang++."""
    named = os.environ.get("CXX", "").strip()
    try:
        wanted = [shlex.split(named)] if named else [["g++"], ["clang++"]]
    except ValueError as error:
        raise CompileError(f"CXX is {named!r}, which is not a command ({error})") from None
    for program, *arguments in wanted:
        found = shutil.which(program)
        if found is not None:
            return (found, *arguments)
    missing = f"CXX is {named!r}, which is not found" if named else "g++ and clang++ are not found"
    raise NoCompilerError(f"there is no C++ compiler: {missing}")


@cache
def _version() -> str:
    return _run(*_command(), "--version").strip() or "unknown"


@cache
def _processor() -> str:
    """Describe the processor: NATIVE depends on it, and machines may share a home directory."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() + platform.machine()
    return "".join(
        dict.fromkeys(line for line in lines if line.startswith(("model", "flags", "Feat")))
    )


def _run(*command: str, scratch: Path | None = None) -> str:
    """Run the compiler and return its output; `scratch` gets its temporary files.

    A terminal's Ctrl-C must not reach the compiler: its end would look like an error of the text. So it has
    a session of its own, and Ctrl-C is blocked while it starts. An exception such as KeyboardInterrupt
    ends it and all processes that it started.
    """
    settings = {"LC_ALL": "C", **({} if scratch is None else {"TMPDIR": str(scratch)})}
    process, held = None, _block_control_c()
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, **settings},
            start_new_session=True,
        )
        _unblock(held)
        output, complaints = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise CompileError(f"{command[0]} took more than {TIMEOUT:g} seconds") from None
    except OSError as error:
        raise CompileError(f"{command[0]} does not run ({error.strerror})") from None
    finally:
        if process is not None:
            _end(process)
        _unblock(held)
    if process.returncode:
        raise CompileError(_reason(command[0], process.returncode, complaints))
    return output


def _block_control_c() -> set[int]:
    """Block Ctrl-C in this thread and the processes that it starts; return what was blocked before."""
    if not hasattr(signal, "pthread_sigmask"):
        return set()
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}))


def _unblock(held: set[int]) -> None:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _end(process: subprocess.Popen[str]) -> None:
    """End the compiler, if it still runs, with all processes that it started; close its pipes."""
    with process, suppress(OSError):  # the error: it has just ended
        if process.returncode is None and hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()


def _reason(program: str, status: int, complaints: str) -> str:
    """Choose the line that says why the compiler failed."""
    lines = complaints.strip().splitlines()
    ended = f"signal {-status} ended it" if status < 0 else f"it ended with status {status}"
    return next((line.strip() for line in lines if "error" in line), f"{program}: {ended}")
