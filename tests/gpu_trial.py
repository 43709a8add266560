"""What can be proven and measured on a GPU in a few minutes: `python3 tests/gpu_trial.py --out DIR`.

For a machine that is there only for minutes, with whatever its interpreter has: nothing is installed. Each
stage is a group of processes with a deadline of its own; at the deadline it is killed and the next begins,
and none that fails stops another. What happens is written to DIR line by line as it happens:

    records.jsonl             facts, smoke, and how each stage's commands ended
    suite.jsonl, graphs.jsonl a line a test: outcome, seconds, kernels, failure
    bench.jsonl               what benchmark, breakdown and sweep measured
    log.txt                   what the commands printed, bounded
    summary.txt               what to read first, below 10,000 characters

Ends with 2 without a GPU, with 1 if anything failed. `make gpu-check` is for people with time.

    python3 tests/gpu_trial.py --out DIR --seconds 570
    python3 tests/gpu_trial.py --out DIR --stages suite,graphs --seconds 200
    python3 tests/gpu_trial.py --out DIR --only-failures EARLIER/suite.jsonl --seconds 100
    python3 tests/gpu_trial.py --out DIR --stages none --report    # of records taken before, anywhere
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter as Tally
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.append(str(HERE))  # where Python does not look for modules beside a script

from gpu_report import MOST_BYTES, Counter, read_records, write_report  # noqa: E402

Record = dict[str, Any]

SUMMARY_CHARACTERS = 9_800
LOG_BYTES = 2**21
"""What the log takes of a stage; the rest of its output is left out, but for the end."""
NO_GPU = 2
BROKEN_OFF = 3
"""pytest's exit status after an internal error, and gpu_plugin's after the loss of the device."""


@dataclass(frozen=True)
class Stage:
    """Commands that run one after another.

    Attributes
    ----------
    seconds : the deadline of all together, before `--seconds` scales it.
    commands : by name. "{python}" is this interpreter, "{scratch}" a folder that is deleted,
        "{results}" a file of JSON whose contents go to bench.jsonl, and "{budget}" the seconds it has.
    records : the file that the commands' records go to.
    by_default : whether it runs where no stages are picked.
    """

    seconds: float
    commands: Mapping[str, Sequence[str]]
    records: str = "records.jsonl"
    environment: Mapping[str, str] = field(default_factory=dict)
    by_default: bool = True


TEST_SECONDS = 60
WORKERS = min(12, os.cpu_count() or 1)
SUITE = (
    "{python}", "-m", "pytest", str(HERE), "-q", "-p", "gpu_plugin", "-p", "no:cacheprovider",
    "-o", "addopts=", "-W", "default", "--tb=short", "--continue-on-collection-errors",
    "--no-header", "--no-summary",
)  # fmt: skip
SANITIZER = ("compute-sanitizer", "--error-exitcode", "9", "--print-limit", "30", "--tool")
VERBS = ("{python}", str(HERE / "gpu_verbs.py"))
BENCH = (
    "{python}", "-m", "gpubp", "bench", "--gpu", "--budget", "{budget}", "--json", "{results}",
    "--pictures", "{scratch}/pictures", "--contenders", "gpubp-cupy",
)  # fmt: skip
LAUNCHED = "gpubp-cupy-launched gpubp-numpy torch-cuda torch-cuda-graph"
COMPILED = "torch-cuda-compile jax-cuda --architectures narrow classifier --batch-sizes 512 2048"
"""They take longer to compile than all the others to be measured."""
BREAKDOWN = (
    "{python}", str(ROOT / "benchmarks/tools/breakdown.py"), "--backend", "cupy", "--rounds", "5",
    "--json", "{results}",
)  # fmt: skip
POINTS = (
    "narrow:32 narrow:512 narrow-6x64:512 narrow:2048 classifier:512 classifier:2048"
    " regression:2048 wide:8192"
)
SWEEP = ("{python}", str(ROOT / "benchmarks/tools/gpu_sweep.py"))

STAGES: dict[str, Stage] = {
    "facts": Stage(20, {"facts": ("{python}", str(HERE / "gpu_facts.py"))}),
    "smoke": Stage(30, {"smoke": ("{python}", str(HERE / "gpu_smoke.py"))}),
    "suite": Stage(130, {"suite": SUITE}, "suite.jsonl", {"GPUBP_CUDA_GRAPHS": "0"}),
    "graphs": Stage(80, {"graphs": SUITE}, "graphs.jsonl", {"GPUBP_CUDA_GRAPHS": "1"}),
    "sanitizer": Stage(
        80,
        {
            "compile": (*VERBS, "--no-pool"),
            "memcheck": (*SANITIZER, "memcheck", *VERBS, "--no-pool"),
            "racecheck": (*SANITIZER, "racecheck", *VERBS, "--no-pool", "--sharing"),
        },
    ),
    "bench": Stage(110, {"bench": (*BENCH, *LAUNCHED.split())}),
    "breakdown": Stage(
        60,
        {
            "kernels": (*BREAKDOWN, *POINTS.split()),
            "bfloat16": (*BREAKDOWN, "wide:8192", "--precision", "bfloat16"),
        },
    ),
    "compilers": Stage(70, {"compilers": (*BENCH, *COMPILED.split())}),
    "sweep": Stage(
        90, {"sweep": (*SWEEP, "--seconds", "{budget}", "--json", "{results}")}, by_default=False
    ),
}
STARTING = 30
"""Seconds that benchmarks take before they begin to count theirs."""
PROBE = Stage(20, {"probe": ("{python}", str(HERE / "gpu_facts.py"), "--probe")})


def main(arguments: Sequence[str] | None = None, stages: Mapping[str, Stage] = STAGES) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--out", type=Path, required=True, help="a folder for what is written")
    add("--seconds", type=float, default=570, help="for all stages; default: 570")
    add("--stages", default="", help=f"of {','.join(stages)}; none runs none")
    add("--only-failures", type=Path, nargs="+", metavar="FILE", help="records of earlier tests")
    add("--report", action="store_true", help="write the suite's report to benchmarks/results/")
    options = parser.parse_args(arguments)
    picked = [name for name in options.stages.split(",") if name]
    if not picked:
        default = [name for name, stage in stages.items() if stage.by_default]
        picked = ["suite", "graphs"] if options.only_failures else default
    picked = [] if picked == ["none"] else picked
    unknown = [name for name in picked if name not in stages]
    if unknown:
        parser.error(f"unknown stages {', '.join(unknown)}; known: {', '.join(stages)}")
    options.out.mkdir(parents=True, exist_ok=True)
    trial = Trial(options.out.resolve(), options.seconds, options.only_failures or ())
    chosen = {name: stages[name] for name in picked}
    if chosen and "facts" not in chosen and "facts" in stages:
        chosen = {"probe": PROBE, **chosen}
    before = signal.signal(signal.SIGTERM, _end)
    try:
        status = trial.run(chosen)
    finally:
        trial.close()
        signal.signal(signal.SIGTERM, before)
        print(trial.summary(), end="", flush=True)
    if options.report:
        print(f"report: {report(options.out)}")
    return status


def _end(*_: object) -> None:
    raise SystemExit(143)


class Trial:
    """A run of stages, and what it writes to the folder `out`."""

    def __init__(self, out: Path, seconds: float, failures: Sequence[Path]) -> None:
        self.out, self._seconds = out, seconds
        self._begun = time.monotonic()
        self._scratch = Path(tempfile.mkdtemp(prefix="gpu-trial-"))
        self._failed = failed_tests(failures) if failures else None
        self._mark = f"{os.getpid()}-{time.time_ns()}"
        self._running: subprocess.Popen[bytes] | None = None
        self._commands = self._before = 0
        self._note = ""

    def run(self, stages: Mapping[str, Stage]) -> int:
        """Run them within the time; 0 where all went well."""
        waiting = dict(stages)
        status = 0
        for name, stage in stages.items():
            left = self._seconds - (time.monotonic() - self._begun)
            share = stage.seconds / sum(one.seconds for one in waiting.values())
            del waiting[name]
            codes = self._stage(name, stage, max(0.0, left * share))
            self._write_summary()
            if name in ("facts", "probe") and codes == [NO_GPU]:
                reasons = [r["value"] for r in self._records() if r.get("fact") == "no GPU"]
                self._note = f"no GPU: {reasons[-1] if reasons else 'see log.txt'}"
                self._write_summary()
                return NO_GPU
            if any(code != 0 for code in codes):
                status = 1
        return status

    def close(self) -> None:
        """End what runs, and write the summary."""
        if self._running is not None:
            self._kill(self._running)
        self._write_summary()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _stage(self, name: str, stage: Stage, seconds: float) -> list[int | None]:
        environment = self._environment(name, stage)
        options: list[str] = []
        if stage.records != "records.jsonl":
            options = suite_options()
            if self._failed is not None:
                wanted = self._failed.get(name, [])
                if not wanted:
                    self._end_command(name, name, 0, 0.0, "", "no test to run again")
                    return [0]
                listed = self._scratch / f"{name}-only.txt"
                listed.write_text("\n".join(wanted) + "\n", encoding="utf-8")
                environment["GPUBP_TRIAL_ONLY"] = str(listed)
            self._before = len(list(read_records(self.out / stage.records)))
        deadline = time.monotonic() + seconds
        codes: list[int | None] = []
        for k, (command, words) in enumerate(stage.commands.items()):
            # Of commands that are left, each may take twice its share.
            least = deadline - time.monotonic()
            limit = max(0.0, 2 * least / (len(stage.commands) - k + 1))
            results = self._scratch / f"results-{self._commands}.json"
            self._commands += 1
            values = {
                "{python}": sys.executable,
                "{scratch}": str(self._scratch),
                "{results}": str(results),
                "{budget}": f"{max(limit - STARTING, limit / 2):.0f}",
            }
            filled = [fill(word, values) for word in words] + options
            code = self._command(name, command, filled, environment, limit)
            if options:
                code = self._go_on(name, command, filled, environment, deadline, code)
            codes.append(code)
            self._keep_results(name, command, results)
            self._write_summary()
        return codes

    def _go_on(
        self,
        stage: str,
        name: str,
        words: list[str],
        environment: dict[str, str],
        deadline: float,
        code: int | None,
    ) -> int | None:
        """Where the suite broke off, run the tests that are left, while that gets anywhere."""
        listed, reached = self._scratch / f"{stage}-done.txt", 0
        while code is not None and (code < 0 or code == BROKEN_OFF):
            records = list(read_records(environment["GPUBP_TRIAL_RECORDS"]))[self._before :]
            done = last_outcomes(records)
            if len(done) <= reached:
                break
            reached = len(done)
            listed.write_text("\n".join(done) + "\n", encoding="utf-8")
            again = {**environment, "GPUBP_TRIAL_DONE": str(listed)}
            limit = deadline - time.monotonic()
            after = self._command(stage, f"{name} from test {reached}", words, again, limit)
            code = 1 if after == 0 else after  # what broke off has not gone well
        return code

    def _environment(self, name: str, stage: Stage) -> dict[str, str]:
        paths = [str(ROOT), str(HERE), os.environ.get("PYTHONPATH", "")]
        return {
            **os.environ,
            "GPUBP_TEST_BACKENDS": os.environ.get("GPUBP_TEST_BACKENDS", "cupy"),
            "PYTHONSAFEPATH": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PATH": os.pathsep.join(filter(None, [os.environ.get("PATH", ""), *cuda_folders()])),
            "GPUBP_TRIAL_RECORDS": str(self.out / stage.records),
            "GPUBP_TRIAL_MARK": self._mark,
            **stage.environment,
        }

    def _command(
        self,
        stage: str,
        name: str,
        words: list[str],
        environment: dict[str, str],
        seconds: float,
    ) -> int | None:
        """Run it until its deadline; its exit status, or None if it was killed or not started."""
        begun = time.monotonic()
        if shutil.which(words[0], path=environment["PATH"]) is None:
            self._end_command(stage, name, None, 0.0, "", f"{words[0]} is not here")
            return None
        if seconds < 0.5:
            self._end_command(stage, name, None, 0.0, "", "no time was left")
            return None
        process = self._running = subprocess.Popen(
            words,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        output = Output(self.out / "log.txt", f"{stage}: {name}")
        reader = threading.Thread(target=output.read, args=(process.stdout,), daemon=True)
        reader.start()
        note = ""
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            note = f"killed at its deadline, {seconds:.0f} s"
        code = process.returncode
        self._kill(process)
        self._running = None
        reader.join(2)
        took = time.monotonic() - begun
        self._end_command(stage, name, code, took, output.close(), note)
        return code

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill its group, and what it started in groups of their own, known by their environment."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        for number in marked_processes(self._mark):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(number, signal.SIGKILL)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            print(f"process {process.pid} does not die", file=sys.stderr)

    def _end_command(
        self, stage: str, name: str, code: int | None, seconds: float, output: str, note: str
    ) -> None:
        status = note or ("ended well" if code == 0 else f"ended with {code}")
        fields: Record = {"stage": stage, "command": name, "code": code, "status": status}
        fields |= {"seconds": round(seconds, 2), "output": output}
        append(self.out / "records.jsonl", fields)
        print(f"{stage}: {name}: {status}, {seconds:.1f} s", flush=True)

    def _keep_results(self, stage: str, command: str, path: Path) -> None:
        """Of a file with one JSON text, or with one on each line."""
        if not path.exists():
            return
        text = path.read_text(encoding="utf-8", errors="replace")
        try:
            results = [json.loads(text)]
        except ValueError:
            results = list(read_records(path))
        for one in results:
            append(self.out / "bench.jsonl", {"stage": stage, "command": command, "results": one})

    def _records(self) -> list[Record]:
        return list(read_records(self.out / "records.jsonl"))

    def _write_summary(self) -> None:
        path = self.out / "summary.txt"
        half = path.with_suffix(".new")
        half.write_text(self.summary(), encoding="utf-8")
        half.replace(path)

    def summary(self) -> str:
        """What has been seen so far, below 10,000 characters."""
        took = time.monotonic() - self._begun
        parts = [f"gpu trial, {took:.0f} s of {self._seconds:.0f}" + f"\n{self._note}".rstrip()]
        parts += summarize(self.out)
        return "\n\n".join(filter(None, parts))[:SUMMARY_CHARACTERS] + "\n"


class Output:
    """What a command prints: to the log, bounded, and its last lines to be kept."""

    def __init__(self, path: Path, title: str) -> None:
        self._file = open(path, "ab")  # noqa: SIM115
        self._file.write(f"\n===== {title}\n".encode())
        self._left = min(LOG_BYTES, MOST_BYTES - path.stat().st_size)
        self._tail: deque[bytes] = deque(maxlen=60)
        self._lock = threading.Lock()
        self._cut = False

    def read(self, pipe: Any) -> None:
        """Read to the end, which comes when all that print there have ended."""
        with pipe:
            while line := pipe.readline(4096):
                with self._lock:
                    self._keep(line)

    def _keep(self, line: bytes) -> None:
        self._tail.append(line)
        if self._file.closed:
            return
        if len(line) <= self._left:
            self._left -= len(line)
            self._file.write(line)
            self._file.flush()
        else:
            self._left, self._cut = 0, True

    def close(self) -> str:
        """The last lines; where the log has not all, they end it."""
        with self._lock:
            tail = b"".join(line.rstrip(b"\n")[:400] + b"\n" for line in self._tail)
            if self._cut:
                self._file.write(b"\n... and at the end:\n" + tail)
            self._file.close()
        return tail.decode("utf-8", errors="replace")


def fill(word: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(name, value)
    return word


def append(path: Path, fields: Record) -> None:
    """Add a record, unless the file is full."""
    line = json.dumps(fields, default=str) + "\n"
    if path.exists() and path.stat().st_size + len(line) > MOST_BYTES:
        return
    with open(path, "a", encoding="utf-8") as file:
        file.write(line)


def cuda_folders() -> list[str]:
    """Where CUDA's tools are that are not on the PATH."""
    roots = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    folders = [f"{root}/{name}" for root in roots if root for name in ("bin", "compute-sanitizer")]
    return [folder for folder in folders if os.path.isdir(folder)]


def suite_options() -> list[str]:
    """Workers and a deadline for each test, where pytest has what they need."""
    options = []
    parallel = find_spec("xdist") is not None
    if parallel:
        options += ["-n", str(WORKERS), "--max-worker-restart", "200", "--maxschedchunk", "4"]
    if find_spec("pytest_timeout") is not None:
        # A thread ends the process even where it waits for a kernel without an end.
        method = "thread" if parallel else "signal"
        options += ["--timeout", str(TEST_SECONDS), "--timeout-method", method]
    return options


def marked_processes(mark: str) -> list[int]:
    """Processes that have inherited GPUBP_TRIAL_MARK with this value."""
    wanted = f"GPUBP_TRIAL_MARK={mark}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except (OSError, ValueError):
            continue
    return found


def failed_tests(paths: Sequence[Path]) -> dict[str, list[str]]:
    """Tests that did not pass, by the stage whose records they are in, which its file is named after."""
    failed: dict[str, list[str]] = {}
    for path in paths:
        tests = last_outcomes(read_records(path))
        names = [name for name, r in tests.items() if r["outcome"] in FAILURES]
        failed.setdefault(path.stem, []).extend(names)
    return failed


FAILURES = ("failed", "error", "crashed")


def last_outcomes(records: Any) -> dict[str, Record]:
    """The last record of each test."""
    return {r["test"]: r for r in records if "test" in r}


def report(out: Path) -> Path:
    """Write the report of records that are in `out` to benchmarks/results/."""
    facts: Record = {}
    for r in read_records(out / "records.jsonl"):
        if r.get("fact") == "report":
            facts = r["value"]
    if not facts:
        raise SystemExit(f"{out}/records.jsonl does not say where it was: no fact 'report'")
    counters, totals = {}, {}
    for name in ("suite", "graphs"):
        counter, kernels = Counter(), kernels_run(out / f"{name}.jsonl")
        tests = last_outcomes(read_records(out / f"{name}.jsonl"))
        for nodeid, r in tests.items():
            counter.add(nodeid, r["outcome"], r.get("reason"))
        counters[name], totals[name] = counter, (collected(out / f"{name}.jsonl"), kernels)
    suite, graphs = counters["suite"], counters["graphs"]
    count, kernels = totals["suite"]
    not_run = None if count is None else count - sum(suite.outcomes.values())
    status = 1 if suite.failed or not_run != 0 else 0
    with_graphs = {
        "outcomes": graphs.outcomes,
        "failed": graphs.failed,
        "collected": totals["graphs"][0],
    }
    return write_report(
        facts, suite, status, collected=count, not_run=not_run, kernels=kernels, graphs=with_graphs
    )


def collected(path: Path) -> int | None:
    """How many tests were collected, at most: runs that go on collect what is left."""
    return max((r["collected"] for r in read_records(path) if "collected" in r), default=None)


def kernels_run(path: Path) -> dict[str, dict[str, int]]:
    """For each kernel, the outcomes of tests that asked for it."""
    kernels: dict[str, Tally[str]] = defaultdict(Tally)
    for r in last_outcomes(read_records(path)).values():
        for kernel in r.get("kernels", ()):
            kernels[kernel]["passed" if r["outcome"] == "passed" else "failed"] += 1
    return {name: dict(tally) for name, tally in sorted(kernels.items())}


# The summary


def summarize(out: Path) -> list[str]:
    """Its parts: the stages, then what each has to say, each bounded; the latest counts."""
    records = list(read_records(out / "records.jsonl"))
    ended = list({(r["stage"], r["command"]): r for r in records if "command" in r}.values())
    lines = [f"{r['stage']}: {r['command']}: {r['status']}, {r['seconds']:.0f} s" for r in ended]
    parts = [bounded("STAGES", lines, 900), facts_part(records), smoke_part(records)]
    for name in ("suite", "graphs"):
        parts.append(suite_part(name, out / f"{name}.jsonl", ended))
    parts.append(kernels_part(out))
    for stage, room in (("sanitizer", 800), ("bench", 1900), ("breakdown", 1300), ("sweep", 700)):
        parts.append(output_part(stage, ended, room))
    return parts


def bounded(title: str, lines: Sequence[str], characters: int) -> str:
    """As many of the lines as fit."""
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
    """The line of a failure that says what happened."""
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
    files: dict[str, Tally[str]] = defaultdict(Tally)
    for nodeid, r in tests.items():
        files[nodeid.partition("::")[0].rpartition("/")[2]][r["outcome"]] += 1
    total = sum(files.values(), Tally())
    count = collected(path)
    lines = [f"{told(total)}; {count} were collected, {(count or 0) - len(tests)} did not run"]
    lines.append("; ".join(f"{file} {told(tally)}" for file, tally in sorted(files.items())))
    warned = {r["warning"] for r in read_records(path) if "warning" in r}
    if warned:
        lines.append(f"{len(warned)} kinds of warnings, for one {min(warned)[:150]}")
    broken = [r for r in read_records(path) if "file" in r and r["outcome"] == "error"]
    lines += [f"not collected: {r['file']}: {error_line(r)}" for r in broken]
    # One line for each kind of failure: many tests fail alike.
    alike: dict[str, list[str]] = defaultdict(list)
    for nodeid, r in tests.items():
        if r["outcome"] in FAILURES:
            alike[error_line(r)].append(nodeid.rpartition("/")[2])
    for error, names in sorted(alike.items(), key=lambda item: -len(item[1])):
        lines.append(f"{len(names)} × {error}: {names[0][:110]}")
    return bounded(name.upper(), lines, 1800 if name == "suite" else 1100)


def told(tally: Tally[str]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(tally.items()))


def kernels_part(out: Path) -> str:
    """Which kernels have been asked for by tests, and how many of those passed."""
    sums: dict[str, Tally[str]] = defaultdict(Tally)
    for name in ("suite", "graphs"):
        for kernel, tally in kernels_run(out / f"{name}.jsonl").items():
            sums[kernel].update(tally)
    if not sums:
        return ""
    files = sorted(path.name for path in (ROOT / "kernels/cuda").glob("*.cu"))
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
    """The ends of what its commands printed."""
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


if __name__ == "__main__":
    raise SystemExit(main())
