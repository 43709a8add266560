"""Reading a trial's records: each test's outcome, what failed, which kernels ran, and the report."""

from __future__ import annotations

import json
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpu_report import MOST_BYTES, Counter, read_records, write_report

Record = dict[str, Any]

FAILURES = ("failed", "error", "crashed")
"""Outcomes of tests that did not pass and were not skipped."""


def append(path: Path, fields: Record) -> None:
    """Add a record, unless the file is full."""
    line = json.dumps(fields, default=str) + "\n"
    if path.exists() and path.stat().st_size + len(line) > MOST_BYTES:
        return
    with open(path, "a", encoding="utf-8") as file:
        file.write(line)


def failed_tests(paths: Sequence[Path]) -> dict[str, list[str]]:
    """Read the tests that did not pass, by stage; a stage's records are in the file of its name."""
    failed: dict[str, list[str]] = {}
    for path in paths:
        tests = last_outcomes(read_records(path))
        names = [name for name, r in tests.items() if r["outcome"] in FAILURES]
        failed.setdefault(path.stem, []).extend(names)
    return failed


def last_outcomes(records: Any) -> dict[str, Record]:
    """Find the last record of each test."""
    return {r["test"]: r for r in records if "test" in r}


def collected(path: Path) -> int | None:
    """Return how many tests were collected. A resumed run collects fewer, so the largest number counts."""
    return max((r["collected"] for r in read_records(path) if "collected" in r), default=None)


def kernels_run(path: Path) -> dict[str, dict[str, int]]:
    """Count for each kernel the outcomes of the tests that asked for it."""
    kernels: dict[str, Tally[str]] = defaultdict(Tally)
    for r in last_outcomes(read_records(path)).values():
        for kernel in r.get("kernels", ()):
            kernels[kernel]["passed" if r["outcome"] == "passed" else "failed"] += 1
    return {name: dict(tally) for name, tally in sorted(kernels.items())}


def write_suite_report(out: Path) -> Path:
    """Write the report of the records in `out` to benchmarks/results/."""
    facts: Record = {}
    for r in read_records(out / "records.jsonl"):
        if r.get("fact") == "report":
            facts = r["value"]
    if not facts:
        raise SystemExit(f"{out}/records.jsonl does not say where it was: no fact 'report'")
    counters, totals = {}, {}
    for name in ("suite", "graphs", "fused"):
        counter, kernels = Counter(), kernels_run(out / f"{name}.jsonl")
        tests = last_outcomes(read_records(out / f"{name}.jsonl"))
        for nodeid, r in tests.items():
            counter.add(nodeid, r["outcome"], r.get("reason"))
        counters[name], totals[name] = counter, (collected(out / f"{name}.jsonl"), kernels)
    suite = counters["suite"]
    count, kernels = totals["suite"]
    not_run = None if count is None else count - sum(suite.outcomes.values())
    status = 1 if suite.failed or not_run != 0 else 0
    others = {
        name: {
            "outcomes": counters[name].outcomes,
            "failed": counters[name].failed,
            "collected": totals[name][0],
        }
        for name in ("graphs", "fused")
    }
    return write_report(
        facts, suite, status, collected=count, not_run=not_run, kernels=kernels, **others
    )
