"""Processes that keep cores busy, to measure beside them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["busy_processes"]


@contextmanager
def busy_processes(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Return a context within which so many processes use all the time that they get.

    They end with this process, however it ends.
    """
    loop = f"import os\nwhile os.getppid() == {os.getpid()}: pass"
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            processes.append(subprocess.Popen([sys.executable, "-c", loop]))
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
