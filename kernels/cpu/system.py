"""What differs between operating systems: folders, names of libraries, commands, processors."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

__all__ = [
    "cache_home",
    "is_mac",
    "is_windows",
    "library_suffix",
    "performance_cores",
    "processor",
    "processor_name",
    "usable_processors",
    "words",
]


def is_windows() -> bool:
    """Whether the system is Windows."""
    return sys.platform == "win32"


def is_mac() -> bool:
    """Whether the system is macOS."""
    return sys.platform == "darwin"


def library_suffix() -> str:
    """Return the end of a library's file name. macOS loads a library of any name."""
    return "dll" if is_windows() else "so"


def cache_home() -> Path:
    """Return the user's folder for files that can be made again.

    On Windows it is LOCALAPPDATA. Elsewhere it is XDG_CACHE_HOME or, if that is no absolute path, which the
    XDG standard ignores, ``~/Library/Caches`` on macOS and ``~/.cache`` on other systems.
    """
    usual = "AppData/Local" if is_windows() else "Library/Caches" if is_mac() else ".cache"
    named = Path(os.environ.get("LOCALAPPDATA" if is_windows() else "XDG_CACHE_HOME", ""))
    home = named if named.is_absolute() else Path.home() / usual
    if not home.is_absolute():
        raise RuntimeError(f"the home directory, {Path.home()}, is not an absolute path")
    return home


def words(command: str) -> list[str]:
    """Split a command into its words. Backslashes are part of a path on Windows, and escape elsewhere."""
    if not is_windows():
        return shlex.split(command)
    return [word.strip("\"'") for word in shlex.split(command, posix=False)]


def usable_processors() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    count = getattr(os, "process_cpu_count", os.cpu_count)  # the first is new in Python 3.13
    return count() or 1


def performance_cores() -> int:
    """Return the number of macOS's fast cores; of all, if they are the same."""
    said = _sysctl("-n", "hw.perflevel0.logicalcpu").strip()
    return min(int(said), usable_processors()) if said.isdecimal() else usable_processors()


@cache
def processor() -> str:
    """Describe the processor's model and instructions: machines may share a home directory."""
    if is_windows():
        told = os.environ.get("PROCESSOR_IDENTIFIER", "")
    elif is_mac():
        told = _sysctl("machdep.cpu")
    else:
        lines = [line for line in _cpuinfo() if line.startswith(("model", "flags", "Feat"))]
        if lines:
            return "".join(dict.fromkeys(lines))
        told = ""
    return (told or platform.processor()) + platform.machine()


@cache
def processor_name() -> str:
    """Return the processor's name, for people."""
    if is_mac():
        names = [_sysctl("-n", "machdep.cpu.brand_string").strip()]
    else:
        names = [
            line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")
        ]
    return next(filter(None, names), "") or platform.processor() or platform.machine()


def _cpuinfo() -> list[str]:
    """Return the lines of /proc/cpuinfo; none if the system is not Linux."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _sysctl(*arguments: str) -> str:
    """Ask macOS's kernel for values; "" if it has none of this name."""
    try:
        command = ("/usr/sbin/sysctl", *arguments)
        said = subprocess.run(command, check=False, capture_output=True, text=True, timeout=10)
        return said.stdout
    except (OSError, subprocess.SubprocessError):
        return ""
