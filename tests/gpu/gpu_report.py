"""What the GPU checks write: records, as lines of JSON, and the report of a run of the suite."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
MOST_BYTES = 15 * 2**20
"""The largest size of a file of records, in bytes."""


def record(**fields: Any) -> None:
    """Append a line to the file that GPUBP_TRIAL_RECORDS names, at once; without one, print it."""
    line = json.dumps(fields, default=str)
    path = os.environ.get("GPUBP_TRIAL_RECORDS")
    if not path:
        print(line, flush=True)
        return
    if os.path.exists(path) and os.path.getsize(path) + len(line) > MOST_BYTES:
        return
    with open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()


def read_records(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a file, without a last line that was cut off; none if there is no file."""
    if not Path(path).exists():
        return
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                fields = json.loads(line)
            except ValueError:
                continue
            if isinstance(fields, dict):
                yield fields


def last_lines(text: str, count: int = 40, width: int = 300) -> str:
    """Return the last lines of a text, each cut to `width` characters."""
    return "\n".join(line[:width] for line in text.splitlines()[-count:])


class Counter:
    """A pytest plugin that counts outcomes, and those of tests on the GPU."""

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.on_gpu = 0
        self.failed: list[str] = []
        self.skipped: dict[str, int] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when != "call" and report.outcome == "passed":
            return
        reason = None
        if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
            reason = str(report.longrepr[2])
        self.add(report.nodeid, report.outcome, reason)

    def pytest_collectreport(self, report: Any) -> None:
        """Count a file that is skipped as a whole as one test."""
        if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
            self._skip(str(report.longrepr[2]))

    def add(self, nodeid: str, outcome: str, reason: str | None = None) -> None:
        """Count an outcome. A test that did not run to its end counts as failed."""
        outcome = "failed" if outcome in ("error", "crashed") else outcome
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        parameters = nodeid.partition("[")[2].rstrip("]").split("-")
        self.on_gpu += outcome == "passed" and "cupy" in parameters and "host" not in parameters
        if outcome == "failed":
            self.failed.append(nodeid)
        if reason is not None:
            self._skip(reason)

    def _skip(self, reason: str) -> None:
        reason = reason.removeprefix("Skipped: ")
        self.skipped[reason] = self.skipped.get(reason, 0) + 1


def write_report(facts: dict[str, Any], counter: Counter, status: int, **more: Any) -> Path:
    """Write a run of the suite to benchmarks/results/, named after device and day."""
    report = {
        **facts,
        "outcomes": counter.outcomes,
        "passed_on_gpu": counter.on_gpu,
        "failed": counter.failed,
        "skipped": counter.skipped,
        "exit_status": status,
        **more,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    device = str(facts.get("device", "unknown")).split(",")[0]
    name = "".join(c if c.isalnum() else "-" for c in device).lower()
    path = RESULTS / f"gpu-check-{name}-{facts['date'][:10]}.json"
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return path
