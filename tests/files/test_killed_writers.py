"""Processes that are killed while they save, and processes that save the same file at the same time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environment import rounds

from gpubp import Network

ROOT = Path(__file__).resolve().parents[2]

SAVING = """
import os
import sys
from itertools import cycle
from gpubp import Network

path = sys.argv[1]
nets = [Network((256, 300, 10), backend="numpy", seed=0) for _ in range(2)]
for value, net in enumerate(nets, 1):
    net.parameters[...] = value
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        for net in cycle(nets):
            net.save(path)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


@contextmanager
def saver(path: Path) -> Iterator[Any]:
    """Start a process. For each line, its child saves two networks in turn until it is killed."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SAVING, str(path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.stdin.close()  # type: ignore[union-attr]


def start_child(process: Any) -> int:
    process.stdin.write("\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def kill_child(process: Any, child: int) -> None:
    os.kill(child, signal.SIGKILL)
    assert process.stdout.readline() == "dead\n"


@pytest.mark.slow
def test_a_saver_that_is_killed_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    path, rng = tmp_path / "net.safetensors", np.random.default_rng(0)
    old = Network((256, 300, 10), backend="numpy", seed=0)
    seen: list[float] = []
    leftovers = 0
    count = rounds(15, 120)
    with saver(path) as process:
        for k in range(count):
            old.parameters[...] = 3
            old.save(path)
            assert os.listdir(tmp_path) == [path.name]
            before = path.stat().st_ino
            child = start_child(process)
            deadline = time.monotonic() + 60
            while k % 2 and path.stat().st_ino == before and time.monotonic() < deadline:
                time.sleep(0.001)  # half of the kills come after a save
            time.sleep(rng.uniform(0, 0.03))
            kill_child(process, child)
            values = np.unique(Network.load(path, backend="numpy").parameters)
            assert values.tolist() in ([[1], [2]] if k % 2 else [[1], [2], [3]])
            seen += values.tolist()
            leftovers += len(os.listdir(tmp_path)) - 1
    old.save(path)
    assert os.listdir(tmp_path) == [path.name]
    print(f"{count} kills: {seen.count(3)} old files, {leftovers} temporary files, all removed")


@pytest.mark.slow
def test_processes_that_save_the_same_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    Network((256, 300, 10), backend="numpy", initializer="zeros").save(path)
    with saver(path) as one, saver(path) as other:
        children = [(process, start_child(process)) for process in (one, other)]
        for _ in range(rounds(50, 1000)):
            net = Network.load(path, backend="numpy")
            assert len(np.unique(net.parameters)) == 1
            net.save(path)
        for process, child in children:
            kill_child(process, child)
    net.save(path)
    assert os.listdir(tmp_path) == [path.name]
