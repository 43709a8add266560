"""The C++ compiler of this machine: which one it is, how it is called, and what it says."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from . import cache as stored_libraries
from .system import is_windows, library_suffix, processor, words

__all__ = [
    "CompileError",
    "NoCompilerError",
    "block_control_c",
    "compile_library",
    "compile_object",
    "ending",
    "identity",
    "link",
    "native_flag",
    "preprocessed",
    "version",
]

# These flags are fast, but keep NaN and infinity exact. The macro __FAST_MATH__ makes glibc offer its
# vector functions, which are off by 4 units in the last place at most. Kernels of gpubp do not need them,
# but loops in a user's text are 4 to 15 times as fast with them, if it calls what math.h does not have,
# such as pow, tan and atan. The flag -ffast-math would do so too, but it also changes the processor's mode.
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros",
         "-fassociative-math", "-ffp-contract=fast", "-D__FAST_MATH__", "-w")  # fmt: skip
NATIVE = ("-march=native", "-mcpu=native")
"""The flags that ask for this processor's instructions. Which of them a compiler takes depends on the
processor and on the compiler."""
PROCESSORS = ("-march=", "-mcpu=")
"""The flags that name a processor. One in CXX takes the place of NATIVE."""
TIMEOUT = 120.0
"""The seconds that one run of the compiler may take: a hundred times what it needs."""
ZIGS_TIMEOUT = 900.0
"""The seconds for Zig's compiler: its first run compiles the C++ library, which takes a minute."""
PROCESS_GROUP: int = sum(
    getattr(subprocess, name, 0) for name in ("CREATE_NEW_PROCESS_GROUP", "CREATE_NO_WINDOW")
)
"""What keeps a console's Ctrl-C from a process on Windows; 0 elsewhere."""
ZIG = ("c++", "-fno-sanitize=undefined")
"""The arguments that make Zig a C++ compiler like others: by itself, it would check every operation."""

ending = threading.Event()
"""Set when the process ends and waits for no compiler: those that other threads run are ended."""


class CompileError(RuntimeError):
    """A text was not compiled. The message is the reason, on one line."""


class NoCompilerError(CompileError):
    """There is no compiler, or the user wants none."""


def version() -> str:
    """Return the first line of the compiler's --version."""
    return _version().splitlines()[0]


def identity() -> str:
    """Describe all that a library depends on besides its text: compiler, flags and processor."""
    return "\0".join((*_command(), _version(), processor(), *_flags(is_windows())))


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
            _run(*_command(), flag, "-E", "-x", "c++", "-")  # nothing, from the standard input
            return flag
        except CompileError as error:
            name = flag.partition("=")[0]
            if name not in str(error) and "'native'" not in str(error):
                raise
    return ""


def compile_library(codes: Sequence[str], folder: Path, flags: Sequence[str]) -> Path:
    """Compile C++ texts to a library in `folder`, which also gets the compiler's temporary files.

    The texts are compiled at the same time. `flags` are those of a processor.

    Raises
    ------
    CompileError
        If the compiler refuses a text, is killed, or takes longer than TIMEOUT.
    """
    library = folder / f"kernels.{library_suffix()}"
    compiled = [
        _to_object(code, folder, f"kernels{k}", flags, is_windows()) for k, code in enumerate(codes)
    ]
    _run_together([command for _, command in compiled], folder)
    link([made for made, _ in compiled], library, (), folder)
    return library


def compile_object(
    code: str, folder: Path, name: str, flags: Sequence[str], windows: bool | None = None
) -> Path:
    """Compile C++ text to an object file in `folder`; errors are those of `compile_library`.

    A cross compiler may compile for `windows`; None is this system.
    """
    windows = is_windows() if windows is None else windows
    compiled, command = _to_object(code, folder, name, flags, windows)
    _run(*command, scratch=folder)
    return compiled


def _to_object(
    code: str, folder: Path, name: str, flags: Sequence[str], windows: bool
) -> tuple[Path, tuple[str, ...]]:
    """Write a text into `folder`; return its object file, and the command that makes it."""
    text, compiled = folder / f"{name}.cpp", folder / f"{name}.o"
    text.write_text(code, encoding="utf-8")
    last = ("-c", str(text), "-o", str(compiled))
    return compiled, (*_command(), *_flags(windows), *flags, *last)


def link(
    objects: Sequence[Path],
    library: Path,
    flags: Sequence[str],
    folder: Path,
    windows: bool | None = None,
) -> None:
    """Link object files to a library; `folder` gets the linker's temporary files."""
    common = _libraries(is_windows() if windows is None else windows)
    linked = ("-shared", *flags, *map(str, objects), "-o", str(library), *common)
    _run(*_command(), *linked, scratch=folder)


def preprocessed(flags: Sequence[str]) -> str:
    """Return the macros that the compiler defines with these flags, as #define lines."""
    return _run(*_command(), *flags, "-dM", "-E", "-x", "c++", "-")


def _flags(windows: bool) -> tuple[str, ...]:
    """Return the flags that compile for this system or for Windows, without that of the processor.

    The stack of Windows is aligned for 16 bytes, and GCC's vectors of 32 bytes lie there as if it were
    aligned for them (GCC's bug 54412). The assembler then takes moves that need no alignment.
    """
    if not windows:
        return (*FLAGS, "-fPIC")
    unaligned = () if "clang" in _version() else ("-Wa,-muse-unaligned-vector-move",)
    return (*FLAGS, *unaligned)


def _libraries(windows: bool) -> tuple[str, ...]:
    """Return the arguments that link the C and C++ libraries.

    A library for Windows contains them, so it needs no file of the compiler. Microsoft's linker does so by
    itself, and so does Zig, whose target is unknown-windows-gnu; -static would make it write an archive.
    """
    if not windows:
        return ("-lm", "-pthread")
    by_itself = "windows-msvc", "unknown-windows-gnu"
    return () if any(target in _version() for target in by_itself) else ("-static",)


def _command() -> tuple[str, ...]:
    """Find the compiler: CXX with its arguments, else g++, clang++ or the one of the package ziglang.

    clang-cl has the arguments of Microsoft's compiler, unless it is asked for those of the others.
    """
    named = os.environ.get("CXX", "").strip()
    try:
        wanted = [words(named)] if named else [["g++"], ["clang++"]]
    except ValueError as error:
        raise CompileError(f"CXX is {named!r}, which is not a command ({error})") from None
    for program, *arguments in wanted:
        found = shutil.which(program)
        if found is not None:
            driver = ("--driver-mode=g++",) if Path(found).stem.lower() == "clang-cl" else ()
            return (found, *driver, *arguments)
    if named:
        raise NoCompilerError(f"there is no C++ compiler: CXX is {named!r}, which is not found")
    zig = _zig()
    if zig is None:
        missing = "g++ and clang++ are not found; `pip install ziglang` installs a compiler"
        raise NoCompilerError(f"there is no C++ compiler: {missing}")
    return (zig, *ZIG)


def _zig() -> str | None:
    """Find the program of the package ziglang, to call it without Python, which it could outlive."""
    package = importlib.util.find_spec("ziglang")
    folders = package.submodule_search_locations if package else None
    return shutil.which("zig", path=os.pathsep.join(folders)) if folders else None


def _is_zig(command: tuple[str, ...]) -> bool:
    return any(Path(word).stem == "zig" or word == "ziglang" for word in command)


def _zigs_folder() -> str:
    """Return the folder of what Zig keeps, such as the C++ library: in the folder of stored libraries."""
    place, _ = stored_libraries.folder()
    return str(place / "zig") if place else _temporary_folder().name


@cache
def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder that is removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="gpubp-zig-", ignore_cleanup_errors=True)


@cache
def _version() -> str:
    return _run(*_command(), "--version").strip() or "unknown"


def _run(*command: str, scratch: Path | None = None) -> str:
    """Run the compiler and return its output; `scratch` gets its temporary files."""
    return _run_together([command], scratch)[0]


def _run_together(commands: Sequence[tuple[str, ...]], scratch: Path | None) -> list[str]:
    """Run the compiler for several commands at the same time, and return its outputs.

    A terminal's Ctrl-C must not reach the compiler: its end would look like an error of the text. So it has
    a session of its own (on Windows a process group without a console), and Ctrl-C is blocked while it
    starts. After an exception such as KeyboardInterrupt, and after a failure, those that still run are
    ended, with all processes that they started. A failure is seen when the commands before it have ended.
    """
    program = commands[0]
    settings = {"LC_ALL": "C"}
    if scratch is not None:
        settings.update(dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(scratch)))
    if _is_zig(program):
        for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"):
            settings[name] = os.environ.get(name) or _zigs_folder()
    limit = ZIGS_TIMEOUT if _is_zig(program) else TIMEOUT
    outputs: list[str] = []
    processes: list[subprocess.Popen[str]] = []
    held = block_control_c()
    try:
        for command in commands:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                env={**os.environ, **settings},
                start_new_session=True,
                creationflags=PROCESS_GROUP,
            )
            processes.append(process)
        _unblock(held)
        for process in processes:
            output, complaints = _communicate(process, limit)
            if process.returncode:
                raise CompileError(_reason(program[0], process.returncode, complaints))
            outputs.append(output)
    except subprocess.TimeoutExpired:
        raise CompileError(f"{program[0]} took more than {limit:g} seconds") from None
    except OSError as error:
        raise CompileError(f"{program[0]} does not run ({error.strerror})") from None
    finally:
        block_control_c()  # another one would leave some of them running
        for process in processes:
            _end(process)
        _unblock(held)
    return outputs


def _communicate(process: subprocess.Popen[str], limit: float) -> tuple[str, str]:
    """Wait for the compiler's end, in short pieces: between them Python sees Ctrl-C, also on Windows.

    `ending` is seen between them too.
    """
    end = time.monotonic() + limit
    while True:
        try:
            return process.communicate(timeout=0.25)
        except subprocess.TimeoutExpired:
            if ending.is_set():
                raise CompileError("the process ends") from None
            if time.monotonic() > end:
                raise


def block_control_c() -> set[int]:
    """Block Ctrl-C in this thread and the processes that it starts; return what was blocked before."""
    if not hasattr(signal, "pthread_sigmask"):
        return set()
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}))


def _unblock(held: set[int]) -> None:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _end(process: subprocess.Popen[str]) -> None:
    """End the compiler, if it still runs, with all processes that it started; close its pipes."""
    with process, suppress(OSError, subprocess.TimeoutExpired):  # an OSError: it has just ended
        if process.returncode is None and hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        elif process.returncode is None:  # Windows
            tree = ("taskkill", "/T", "/F", "/PID", str(process.pid))
            subprocess.run(tree, check=False, capture_output=True, timeout=60)
        process.kill()


def _reason(program: str, status: int, complaints: str) -> str:
    """Choose the line that says why the compiler failed."""
    lines = complaints.strip().splitlines()
    ended = f"signal {-status} ended it" if status < 0 else f"it ended with status {status}"
    return next((line.strip() for line in lines if "error" in line), f"{program}: {ended}")
