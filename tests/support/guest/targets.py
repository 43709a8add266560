"""The processors and systems that guests have: how C++ text is compiled for them, and how programs run."""

from __future__ import annotations

import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gpubp.kernels.cpu import compiler
from gpubp.kernels.cpu.compiler import CompileError

from ..compiling import cache_directory

__all__ = ["TARGETS", "Target"]

UNALIGNED = "-Wa,-muse-unaligned-vector-move"
"""The flag of GCC's for Windows that `compiler._flags` explains."""
LINUX, WINDOWS = ("-shared", "-lm", "-pthread"), ("-shared", "-static", "-pthread")


@dataclass(frozen=True)
class Target:
    """A processor and system.

    GPUBP_TEST_GUEST_CXX is another compiler for it, with its arguments. GPUBP_TEST_GUEST_FLAGS are more
    flags for kernels, such as those that name a processor.

    Attributes
    ----------
    compiler, runner : tuple of str
        The commands that compile, and that run a program; the second is empty if the program just runs.
    flags, links : tuple of str
        The flags with which kernels are compiled beside `compiler.FLAGS`, and libraries linked.
    packages : str
        The packages of Debian that have these programs.
    instructions : tuple of str, default ()
        What this machine's processor must have, by Linux's names.
    """

    compiler: tuple[str, ...]
    runner: tuple[str, ...]
    flags: tuple[str, ...]
    links: tuple[str, ...]
    packages: str
    instructions: tuple[str, ...] = ()

    @property
    def missing(self) -> str:
        """Why nothing can be compiled or run; "" if both are possible."""
        programs = self._compiler[0], *self.runner[:1]
        absent = [program for program in programs if shutil.which(program) is None]
        if absent:
            return f"no {' and no '.join(absent)}: install {self.packages}"
        lacks = [name for name in self.instructions if name not in _instructions()]
        return f"this processor has no {', '.join(lacks)}" if lacks else ""

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a program: Wine keeps its folders in the tests' cache, and says nothing."""
        return {
            **os.environ,
            "WINEPREFIX": str(cache_directory() / "wine"),
            "WINEDEBUG": "-all",
        }

    def library(self, codes: list[str], beside: tuple[str, ...] = ()) -> Path:
        """Compile the whole texts of a library, as compiler.py does; it is kept for the next run.

        `beside` are the flags of the variant of a library built ahead, if there is one.

        Raises
        ------
        CompileError
            If the compiler refuses a text.
        """
        more = shlex.split(os.environ.get("GPUBP_TEST_GUEST_FLAGS", ""))
        is_clang = "clang" in _version(self._compiler)
        flags = [flag for flag in self.flags if not (is_clang and flag == UNALIGNED)]
        links = [
            flag for flag in self.links if not (is_clang and flag == "-static")
        ]  # see _libraries
        return self._built(codes, ".so", (*compiler.FLAGS, *flags, *beside, *more), tuple(links))

    def program(self, code: str) -> Path:
        """Compile the text of a program, which loads libraries."""
        links = ("-static",) if "-static" in self.links else ("-ldl",)
        flags = "-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror"
        return self._built([code], ".exe", flags, links)

    def _built(
        self, codes: list[str], suffix: str, flags: tuple[str, ...], links: tuple[str, ...]
    ) -> Path:
        parts = *codes, *self._compiler, *flags, *links, _version(self._compiler)
        if "-march=native" in flags:
            parts = *parts, compiler.identity()
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
        built = cache_directory() / f"guest-{key}{suffix}"
        if not built.exists():
            with tempfile.TemporaryDirectory(dir=cache_directory()) as scratch:
                texts = [Path(scratch, f"text{k}.cpp") for k in range(len(codes))]
                for text, code in zip(texts, codes, strict=True):
                    text.write_text(code, encoding="utf-8")
                fresh = Path(scratch, f"fresh{suffix}")
                _run(*self._compiler, *flags, *map(str, texts), "-o", str(fresh), *links)
                fresh.replace(built)
        return built

    @property
    def _compiler(self) -> tuple[str, ...]:
        return tuple(shlex.split(os.environ.get("GPUBP_TEST_GUEST_CXX", ""))) or self.compiler


def _x86(level: str, *instructions: str) -> Target:
    return Target(("g++",), (), ("-fPIC", f"-march={level}"), LINUX, "g++", instructions)


def _emulated(processor: str) -> Target:
    runner, flags = ("qemu-x86_64", "-cpu", processor), ("-fPIC", f"-march={processor.lower()}")
    return Target(("g++",), runner, flags, LINUX, "qemu-user and g++", ("sse2",))


TARGETS = {
    "native": Target(("g++",), (), ("-fPIC", "-march=native"), LINUX, "g++"),
    "x86-64": _x86("x86-64", "sse2"),
    "x86-64-v3": _x86("x86-64-v3", "avx2", "fma"),
    "x86-64-v4": _x86("x86-64-v4", "avx512f", "avx512bw", "avx512dq", "avx512vl"),
    "nehalem": _emulated("Nehalem"),
    "haswell": _emulated("Haswell"),
    "aarch64": Target(
        ("aarch64-linux-gnu-g++",),
        ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"),
        ("-fPIC",),
        LINUX,
        "qemu-user and g++-aarch64-linux-gnu",
    ),
    "windows": Target(
        ("x86_64-w64-mingw32-g++-posix",),
        (shutil.which("wine64") or "/usr/lib/wine/wine64",),
        (UNALIGNED,),
        WINDOWS,
        "wine64 and g++-mingw-w64-x86-64-posix",
    ),
}
"""The targets by their names. "native" is this machine, which tests the guest itself. Kernels for x86-64 or
its levels have fewer instructions; on Nehalem and Haswell, which are emulated, more would end a program."""


@functools.cache
def _instructions() -> set[str]:
    try:
        return set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return set()


@functools.cache
def _version(command: tuple[str, ...]) -> str:
    return _run(*command, "--version")


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    except OSError as error:
        raise CompileError(f"{command[0]} does not run ({error.strerror})") from None
    if done.returncode:
        raise CompileError(compiler._reason(command[0], done.returncode, done.stderr))
    return done.stdout
