"""Ctrl-C in random moments of predictions, backpropagation and training steps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from environment import rounds

PROGRAM = Path(__file__).with_name("interrupted_calls.py")

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="this system has no timers that send signals"
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["compiled", "array functions", "twins"])
def test_an_interrupted_call_happens_wholly_or_not_at_all(kind: str) -> None:
    """Afterwards BLAS has its threads, predictions and counters are right, and no thread has ended.

    "array functions" has an activation that is not compiled, so its shards run on Python threads.
    """
    environment = {**os.environ, "GPUBP_COMPILE": "0"} if kind == "twins" else None
    hidden = "compiled" if kind == "twins" else kind
    said = subprocess.run(
        [sys.executable, "-W", "error", str(PROGRAM), hidden, str(rounds(30, 1300))],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=rounds(120, 1200),
    )
    assert said.returncode == 0, said.stderr
    outcomes = json.loads(said.stdout)
    assert {method: outcome["faults"] for method, outcome in outcomes.items()} == {
        method: {} for method in ("predict", "forward", "backprop", "cost", "step")
    }
    interrupts = {method: outcome["interrupts"] for method, outcome in outcomes.items()}
    print("interrupts:", interrupts)
    assert sum(interrupts.values()) > 0
