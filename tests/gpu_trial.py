"""What can be proven and measured on a GPU in a few minutes: `python3 tests/gpu_trial.py --out DIR`.

It is for a machine that is available only for minutes. It installs nothing and uses the packages that the
interpreter has. Each stage is a group of processes with a time limit. At the limit the stage is killed, and
the next stage begins. A stage that fails does not stop the others. DIR gets each result at once:

    records.jsonl             facts, smoke tests, and how each stage's commands ended
    suite.jsonl, graphs.jsonl a line for each test: outcome, seconds, kernels, failure
    fused.jsonl               the same of the tests with fused launches
    bench.jsonl               what benchmark, breakdown, plan and sweep measured
    log.txt                   what the commands printed, up to a limit
    summary.txt               what to read first, below 10,000 characters

The exit status is 2 without a GPU, and 1 if anything failed. With more time, use `make gpu-check`.

    python3 tests/gpu_trial.py --out DIR --seconds 570
    python3 tests/gpu_trial.py --out DIR --stages suite,graphs --seconds 200
    python3 tests/gpu_trial.py --out DIR --only-failures EARLIER/suite.jsonl --seconds 100
    python3 tests/gpu_trial.py --out DIR --stages none --report    # report the records that DIR has
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PARTS = HERE / "gpu"
sys.path.extend([str(HERE), str(PARTS)])  # PYTHONSAFEPATH keeps HERE off the path

from gpu_records import Record, append, failed_tests, last_outcomes, write_suite_report  # noqa: E402
from gpu_report import MOST_BYTES, read_records  # noqa: E402
from gpu_stages import PROBE, STAGES, STARTING, Stage, suite_options  # noqa: E402
from gpu_summary import summarize  # noqa: E402

SUMMARY_CHARACTERS = 9_800
LOG_BYTES = 2**21
"""Bytes of a command's output that the log keeps. Of the rest it keeps only the last lines."""
NO_GPU = 2
BROKEN_OFF = 3
"""The exit status of pytest after an internal error, and of gpu_plugin after the device is lost."""


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
        suites = [name for name, stage in stages.items() if stage.records != "records.jsonl"]
        picked = suites if options.only_failures else default
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
        print(f"report: {write_suite_report(options.out)}")
    return status


def _end(*_: object) -> None:
    raise SystemExit(143)


class Trial:
    """Runs stages, and writes their results to the folder `out`."""

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
        """Run the stages within the time; return the exit status, 0 if all went well."""
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
        """End the command that runs, and write the summary."""
        if self._running is not None:
            self._kill(self._running)
        self._write_summary()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _stage(self, name: str, stage: Stage, seconds: float) -> list[int | None]:
        environment = self._environment(name, stage)
        has_tests = stage.records != "records.jsonl"
        if has_tests:
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
            # Each command may take twice its equal share of the time that is left.
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
            runs_tests = "pytest" in words
            if has_tests and self._failed is not None and not runs_tests:
                continue
            filled = [fill(word, values) for word in words]
            filled += suite_options() if runs_tests else []
            code = self._command(name, command, filled, environment, limit)
            if runs_tests:
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
        """If the suite broke off, run the tests that are left, as long as each run finishes some."""
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
            code = 1 if after == 0 else after  # a suite that broke off has failed
        return code

    def _environment(self, name: str, stage: Stage) -> dict[str, str]:
        paths = [str(ROOT), str(HERE), str(PARTS), os.environ.get("PYTHONPATH", "")]
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
        """Run a command until its time limit; return its status, None if it was killed or not started."""
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
        """Kill a process's group, and all processes it started, which the environment variable marks."""
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
        """Copy a command's results to bench.jsonl, from a file of one JSON text or of JSON lines."""
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
        """Summarize the results so far, below 10,000 characters."""
        took = time.monotonic() - self._begun
        parts = [f"gpu trial, {took:.0f} s of {self._seconds:.0f}" + f"\n{self._note}".rstrip()]
        parts += summarize(self.out)
        return "\n\n".join(filter(None, parts))[:SUMMARY_CHARACTERS] + "\n"


class Output:
    """Writes what a command prints to the log, up to a limit, and keeps the last lines."""

    def __init__(self, path: Path, title: str) -> None:
        self._file = open(path, "ab")  # noqa: SIM115
        self._file.write(f"\n===== {title}\n".encode())
        self._left = min(LOG_BYTES, MOST_BYTES - path.stat().st_size)
        self._tail: deque[bytes] = deque(maxlen=60)
        self._lock = threading.Lock()
        self._cut = False

    def read(self, pipe: Any) -> None:
        """Read to the end, which comes when all processes that write to the pipe have ended."""
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
        """Close the log and return the last lines; a log that lacks some output ends with them."""
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


def cuda_folders() -> list[str]:
    """List the folders of CUDA's tools, which may not be on the PATH."""
    roots = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    folders = [f"{root}/{name}" for root in roots if root for name in ("bin", "compute-sanitizer")]
    return [folder for folder in folders if os.path.isdir(folder)]


def marked_processes(mark: str) -> list[int]:
    """List the processes whose environment has GPUBP_TRIAL_MARK with this value."""
    wanted = f"GPUBP_TRIAL_MARK={mark}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except (OSError, ValueError):
            continue
    return found


if __name__ == "__main__":
    raise SystemExit(main())
