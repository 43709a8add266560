"""Processes that keep cores busy, to measure beside them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["busy_processes"]

LOOP = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"
"""It ends with the process that started it, however that ends."""


@contextmanager
def busy_processes(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Return a context within which so many processes use all the time that they get."""
    processes = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(count)]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
