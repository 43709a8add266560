"""Processes that are forked while other threads train and predict."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from environment import rounds

PROGRAM = Path(__file__).with_name("forks.py")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("kind", ["compiled", "array functions", "twins"])
def test_a_child_forked_beside_running_steps_predicts_and_trains(kind: str) -> None:
    """ "array functions" has an activation that is not compiled, so its shards run on Python threads."""
    forks = rounds(5, 200)
    environment = {**os.environ, "GPUBP_COMPILE": "0"} if kind == "twins" else None
    said = subprocess.run(
        [sys.executable, str(PROGRAM), kind, str(forks)],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=rounds(120, 1200),
    )
    assert (said.returncode, said.stdout) == (0, f"{forks}\n"), said.stderr
