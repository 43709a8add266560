"""The summary of a trial, to be read first."""

from __future__ import annotations

import re
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from gpu_records import FAILURES, Record, collected, kernels_run, last_outcomes
from gpu_report import read_records

ROOT = Path(__file__).resolve().parents[2]
ROOM = {"sanitizer": 800, "bench": 1900, "breakdown": 1300, "forms": 1000, "sweep": 700}
"""The characters of the stages whose last lines are shown."""


def summarize(out: Path) -> list[str]:
    """Return the summary's parts: the stages, then each stage's results, each part of bounded length.

    If a command ran several times, its last record counts.
    """
    records = list(read_records(out / "records.jsonl"))
    ended = list({(r["stage"], r["command"]): r for r in records if "command" in r}.values())
    lines = [f"{r['stage']}: {r['command']}: {r['status']}, {r['seconds']:.0f} s" for r in ended]
    parts = [bounded("STAGES", lines, 900), facts_part(records), smoke_part(records)]
    for name in ("suite", "graphs", "fused"):
        parts.append(suite_part(name, out / f"{name}.jsonl", ended))
    parts.append(plan_part(out))
    parts.append(kernels_part(out))
    for stage, room in ROOM.items():
        parts.append(output_part(stage, ended, room))
    return parts


def bounded(title: str, lines: Sequence[str], characters: int) -> str:
    """Join the title and as many of the lines as fit."""
    if not lines:
        return ""
    kept, room = [title], characters - len(title) - 40
    for k, line in enumerate(lines):
        if len(line) + 1 > room:
            kept.append(f"... and {len(lines) - k} more lines")
            break
        room -= len(line) + 1
        kept.append(line)
    return "\n".join(kept)


def facts_part(records: list[Record]) -> str:
    facts = {r["fact"]: r for r in records if "fact" in r and r["fact"] != "report"}
    lines, versions = [], []
    for name, r in facts.items():
        value = r.get("value")
        if "failure" in r:
            lines.append(f"{name} FAILED: {r['failure'].splitlines()[-1][:150]}")
        elif isinstance(value, float):
            lines.append(f"{name}: {value:.4g}")
        elif value is not None:
            versions.append(f"{name} {value}")
        else:
            versions.append(f"no {name}")
    return bounded("FACTS", [", ".join(versions)[:650], *lines] if facts else [], 1500)


def smoke_part(records: list[Record]) -> str:
    cases = {r["case"]: r for r in records if "case" in r}
    passed = sum(r["outcome"] == "passed" for r in cases.values())
    lines = [f"{passed} of {len(cases)} cases passed"] if cases else []
    for name, r in cases.items():
        if r["outcome"] != "passed":
            lines.append(f"{name}: {error_line(r)}")
    return bounded("SMOKE", lines, 900)


def error_line(r: Record) -> str:
    """Find the line of a failure that says what happened."""
    text = str(r.get("failure") or r["outcome"])
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line.removeprefix("E ").strip() for line in lines if line.startswith("E ")]
    if not told:
        told = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return str((told or lines[-1:] or ["?"])[0])[:160]


def suite_part(name: str, path: Path, ended: list[Record]) -> str:
    tests = last_outcomes(read_records(path))
    if not tests:
        return output_part(name, ended, 500)
    folders: dict[str, Tally[str]] = defaultdict(Tally)
    for nodeid, r in tests.items():
        folders[nodeid.partition("::")[0].rpartition("/")[0].rpartition("/")[2]][r["outcome"]] += 1
    total = sum(folders.values(), Tally())
    count = collected(path)
    lines = [f"{told(total)}; {count} were collected, {(count or 0) - len(tests)} did not run"]
    lines.append("; ".join(f"{folder} {told(tally)}" for folder, tally in sorted(folders.items())))
    warned = {r["warning"] for r in read_records(path) if "warning" in r}
    if warned:
        lines.append(f"{len(warned)} kinds of warnings, for one {min(warned)[:150]}")
    broken = [r for r in read_records(path) if "file" in r and r["outcome"] == "error"]
    lines += [f"not collected: {r['file']}: {error_line(r)}" for r in broken]
    # Many tests fail in the same way: each kind of failure gets one line.
    alike: dict[str, list[str]] = defaultdict(list)
    for nodeid, r in tests.items():
        if r["outcome"] in FAILURES:
            alike[error_line(r)].append(nodeid.rpartition("/")[2])
    for error, names in sorted(alike.items(), key=lambda item: -len(item[1])):
        lines.append(f"{len(names)} × {error}: {names[0][:110]}")
    return bounded(name.upper(), lines, {"suite": 1800, "fused": 800}.get(name, 1100))


def told(tally: Tally[str]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(tally.items()))


def plan_part(out: Path) -> str:
    """Show each planned step: its launches, and its microseconds predicted and measured."""
    lines = {}
    for r in read_records(out / "bench.jsonl"):
        if r["command"] == "plan":
            one = r["results"]
            point = f"{one['network']}, {one['rows']} rows {one['precision'] or ''}".rstrip()
            seconds = one["seconds"]
            found = "not timed" if seconds is None else f"{one['timed']} {seconds * 1e6:.1f} µs"
            lines[point, one["fused"]] = (
                f"{point}, {'fused' if one['fused'] else 'as it is'}: {one['launches']} launches,"
                f" predicted {one['predicted'] * 1e6:.1f}, {found}"
            )
    return bounded("PLAN", list(lines.values()), 1000)


def kernels_part(out: Path) -> str:
    """Say which kernels the tests asked for, and how many of those tests passed."""
    sums: dict[str, Tally[str]] = defaultdict(Tally)
    for name in ("suite", "graphs", "fused"):
        for kernel, tally in kernels_run(out / f"{name}.jsonl").items():
            sums[kernel].update(tally)
    if not sums:
        return ""
    files = sorted(path.name for path in (ROOT / "gpubp/kernels/cuda").glob("*.cu"))
    shown = [
        f"{file} {sums[file]['passed']}/{sums[file].total()}" for file in files if file in sums
    ]
    never = [file for file in files if file not in sums]
    other = [name for name in sums if not name.endswith(".cu")]
    lines = ["passed/all tests that use it: " + ", ".join(shown)]
    lines.append("not run: " + (", ".join(never) or "none"))
    lines.append(f"elementwise kernels: {', '.join(other)}"[:300])
    return bounded("KERNELS", lines, 1000)


def output_part(stage: str, ended: list[Record], characters: int) -> str:
    """Show the end of what each command of a stage printed."""
    commands = [r for r in ended if r["stage"] == stage]
    lines: list[str] = []
    room = characters // max(1, len(commands))
    for r in commands:
        shown = [line for line in r["output"].splitlines() if line.strip()]
        if stage == "sanitizer":
            shown = [line for line in shown if line.startswith("=====")] or shown
        text = "\n".join(shown)[-max(0, room - 60) :]
        lines.append(f"-- {r['command']}: {r['status']}")
        lines += text.splitlines()
    return bounded(stage.upper(), lines, characters + 100)
