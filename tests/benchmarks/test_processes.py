"""The processes of a run: Ctrl-C is held back, and what they have started ends with them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpubp.benchmarks.processes import holding_interrupts, kill_with_descendants, run_whole

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(100)
"""


def runs(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def ends(pid: int) -> bool:
    until = time.monotonic() + 20
    while runs(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not runs(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says who has started whom")
def test_a_process_is_killed_with_its_child_in_another_session() -> None:
    with subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert runs(child)
        kill_with_descendants(parent.pid)
        assert parent.wait(20) == -signal.SIGKILL
    assert ends(child)


def test_ctrl_c_ends_a_command_that_is_waited_for(tmp_path: Path) -> None:
    script = f"import os, pathlib, signal, time; pathlib.Path({str(tmp_path / 'pid')!r}).write_text(" \
             "str(os.getpid())); os.kill(os.getppid(), signal.SIGINT); time.sleep(100)"  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        run_whole([sys.executable, "-c", script], os.environ)
    assert ends(int((tmp_path / "pid").read_text()))


def test_a_command_gives_what_it_prints() -> None:
    script = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    done = run_whole([sys.executable, "-c", script], os.environ)
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 3)


def test_ctrl_c_is_held_back_and_not_lost() -> None:
    after: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        with holding_interrupts():
            signal.raise_signal(signal.SIGINT)
            after.append(1)
        after.append(2)
    assert after == [1]


def test_a_process_that_was_started_meanwhile_sees_no_ctrl_c() -> None:
    script = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    with holding_interrupts():
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
    assert done.stdout == "True\n"
