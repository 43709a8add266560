"""NVIDIA's compiler, NVRTC, which needs no device."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["NvrtcError", "Resources", "nvrtc_compile", "nvrtc_version", "resources"]


class NvrtcError(RuntimeError):
    """NVRTC rejected a text; this is its log."""


class Resources(NamedTuple):
    """What one kernel takes of a multiprocessor: registers of a thread, bytes of each thread's stack and of
    registers that are stored there, bytes of a block's static shared memory."""

    registers: int
    stack: int
    spilled: int
    shared: int


def nvrtc_version() -> tuple[int, int] | None:
    """Version of the NVRTC that CuPy finds, or None if CuPy or NVRTC is not installed."""
    try:
        from cupy.cuda import nvrtc

        major, minor = nvrtc.getVersion()
    except (ImportError, RuntimeError):
        return None
    return major, minor


def nvrtc_compile(source: str, name: str, arch: str, options: Sequence[str] = ()) -> str:
    """Compiles CUDA text as CuPy would and returns the PTX.

    Parameters
    ----------
    source : str
        The whole text; it may include CuPy's headers, not those of CUDA or the host.
    name : str
        An `extern "C" __global__` function that the text must define.
    arch : str
        "compute_75", "compute_90", ...
    options : sequence of str
        Further ones.

    Raises
    ------
    NvrtcError
        With NVRTC's log.
    """
    ptx, _ = _compile(source, name, (*options, f"-arch={arch}"), "getPTX")
    text = ptx.decode().rstrip("\0")
    if not re.search(rf"\.entry {re.escape(name)}\b", text):
        raise NvrtcError(f"the text defines no kernel {name}")
    return text


def resources(source: str, arch: str, options: Sequence[str] = ()) -> dict[str, Resources]:
    """What each kernel of a text takes when it is compiled for a device, "sm_90", as ptxas tells.

    Raises
    ------
    NvrtcError
        With NVRTC's log.
    """
    _, log = _compile(source, "all", (*options, f"-arch={arch}", "--ptxas-options=-v"), "getCUBIN")
    found = {}
    for part in log.split("Compiling entry function '")[1:]:
        name = part.partition("'")[0]
        # Lines of functions that are called, not inlined, would follow under names of their own.
        properties = part.partition(f"Function properties for {name}\n")[2]
        stack, stores = re.findall(r"(\d+) bytes (?:stack frame|spill stores)", properties)[:2]
        registers = re.search(r"Used (\d+) registers", properties)
        shared = re.search(r"(\d+) bytes smem", properties.partition("Compile time")[0])
        assert registers is not None
        found[name] = Resources(
            *(int(registers[1]), int(stack), int(stores), int(shared[1]) if shared else 0)
        )
    return found


def _compile(source: str, name: str, options: Sequence[str], result: str) -> tuple[bytes, str]:
    """What NVRTC makes of a text with the options that CuPy adds to every one, and its log."""
    from cupy._core import core
    from cupy.cuda import nvrtc

    every = (*core.assemble_cupy_compiler_options(()), "-ftz=true")
    program = nvrtc.createProgram(source, f"{name}.cu", (), ())
    try:
        nvrtc.compileProgram(program, (*every, "--device-as-default-execution-space", *options))
        made: bytes = getattr(nvrtc, result)(program)
        return made, str(nvrtc.getProgramLog(program))
    except nvrtc.NVRTCError as error:
        raise NvrtcError(nvrtc.getProgramLog(program) or str(error)) from None
    finally:
        nvrtc.destroyProgram(program)
