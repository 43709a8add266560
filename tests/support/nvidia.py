"""NVIDIA's compiler, NVRTC. It needs no device."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["NvrtcError", "Resources", "nvrtc_compile", "nvrtc_version", "resources"]


class NvrtcError(RuntimeError):
    """NVRTC rejected a text; the message is its log."""


class Resources(NamedTuple):
    """What a kernel takes of a multiprocessor.

    The fields are the registers of a thread, the bytes of its stack, the bytes of registers that it spills
    to the stack, and the bytes of a block's static shared memory.
    """

    registers: int
    stack: int
    spilled: int
    shared: int


def nvrtc_version() -> tuple[int, int] | None:
    """Return the version of the NVRTC that CuPy finds; None if CuPy or NVRTC is not installed."""
    try:
        from cupy.cuda import nvrtc

        major, minor = nvrtc.getVersion()
    except (ImportError, RuntimeError):
        return None
    return major, minor


def nvrtc_compile(source: str, name: str, arch: str, options: Sequence[str] = ()) -> str:
    """Compile CUDA text as CuPy would, and return the PTX.

    Parameters
    ----------
    source : str
        The whole text. It may include CuPy's headers, but not those of CUDA or of the host.
    name : str
        An `extern "C" __global__` function that the text must define.
    arch : str
        "compute_75", "compute_90", ...
    options : sequence of str
        Further options.

    Raises
    ------
    NvrtcError
        NVRTC rejects the text; the message is its log.
    """
    ptx, _ = _compile(source, name, (*options, f"-arch={arch}"), "getPTX")
    text = ptx.decode().rstrip("\0")
    if not re.search(rf"\.entry {re.escape(name)}\b", text):
        raise NvrtcError(f"the text defines no kernel {name}")
    return text


def resources(source: str, arch: str, options: Sequence[str] = ()) -> dict[str, Resources]:
    """Compile a text for a device, such as "sm_90", and return what ptxas reports for each kernel.

    Raises
    ------
    NvrtcError
        NVRTC rejects the text; the message is its log.
    """
    _, log = _compile(source, "all", (*options, f"-arch={arch}", "--ptxas-options=-v"), "getCUBIN")
    found = {}
    for part in log.split("Compiling entry function '")[1:]:
        name = part.partition("'")[0]
        # Functions that were not inlined would have lines of their own, under their own names.
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
    """Compile a text with the options that CuPy always adds; return the result and NVRTC's log."""
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
