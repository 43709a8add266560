"""Processes that a run starts: Ctrl-C ends them with the run, and they print nothing about it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path

from ..signals import PatientHandler

__all__ = ["holding_interrupts", "kill_with_descendants", "own_group", "run_whole"]


@contextmanager
def holding_interrupts() -> Iterator[None]:
    """Return a context that holds Ctrl-C back until its end.

    Processes that are started within it never see Ctrl-C. So their imports print no traceback.
    """
    # A thread of BLAS, which blocks no signal, may receive Ctrl-C: Python's handler has to wait as well.
    with _patient_handler():
        if sys.platform == "win32":
            yield
            return
        # multiprocessing would start it in here, and let Ctrl-C through again.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _patient_handler() -> Iterator[None]:
    """Return a context at whose end the handler of Ctrl-C runs, if that has come."""
    handler = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not callable(handler):
        yield
        return
    if isinstance(handler, PatientHandler):
        patient = handler
    else:
        patient = PatientHandler(handler)
        signal.signal(signal.SIGINT, patient)
    patient.depth += 1
    try:
        yield
    finally:
        patient.depth -= 1
        if not patient.depth:
            if patient is not handler:
                signal.signal(signal.SIGINT, handler)
            patient.deliver()


def own_group() -> None:
    """Put this process, and all that it will start, into a new group, which can be killed as one."""
    if sys.platform != "win32":
        os.setpgid(0, 0)


def kill_with_descendants(pid: int) -> None:
    """Kill a process, its group if it leads one, and on Linux all that it has started.

    gpubp's compilers are in groups of their own.
    """
    if sys.platform == "win32":
        with suppress(OSError):
            os.kill(pid, signal.SIGTERM)
        return
    doomed = [pid, *_descendants(pid)]
    with suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    for one in doomed:
        with suppress(OSError):
            os.kill(one, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    """List the processes that a process has started, and those that these have started; Linux only."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            # The name of the program is in parentheses, and may have spaces.
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found = [pid]
    for one in found:  # which grows meanwhile
        found += children.get(one, [])
    return found[1:]


def run_whole(
    command: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command and keep what it prints; an exception such as Ctrl-C kills all that it has started."""
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate()
        except BaseException:
            kill_with_descendants(process.pid)
            process.wait()  # after Ctrl-C the context would not wait
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)
