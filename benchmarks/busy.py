"""Processes that keep cores busy, to measure beside them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["busy_processes"]

LOOP = """
import os, sys, threading
def end():
    sys.stdin.read()
    os._exit(0)
threading.Thread(target=end).start()
while True: pass
"""


@contextmanager
def busy_processes(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Return a context within which so many processes use all the time that they get.

    They end with this process, however it ends: the system then closes the pipes that they read.
    """
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            processes.append(
                subprocess.Popen(
                    (sys.executable, "-c", LOOP), stdin=subprocess.PIPE, start_new_session=True
                )
            )
        yield processes
    finally:
        for process in processes:
            with process:  # closes its pipe, and waits
                process.kill()
