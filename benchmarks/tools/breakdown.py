"""Show where the time of a training step goes: each kernel alone, beside what memory and matmuls allow.

    python benchmarks/tools/breakdown.py classifier 512
    python benchmarks/tools/breakdown.py narrow:512 classifier:2048 --backend cupy --json kernels.jsonl
    python benchmarks/tools/breakdown.py wide:8192 --backend cupy --precision bfloat16 --calls

A step runs once, on random rows, and the calls that the engine makes to the backend are noted. Then each
call is timed by itself, on the arrays as that step left them. On CUDA, events time a graph of fifty copies
of the call, so that the figure excludes Python and launches. A call marked ~ could not be captured: its
figure includes Python and the launch.

The floor of a call is the longer of two times: its bytes, read and written, at the bandwidth of a large
copy, and its multiply-adds at the rate of a large matmul of random numbers. Both are measured first.
"nothing" is the time of a kernel that does nothing in a CUDA graph; no call takes less. A row adds up all
calls of a verb. Shares above 100 % belong to arrays that were in a cache.

The last lines show the step's matmuls one after another, and the whole step: by the host's clock as
training runs it, and on CUDA also its graph alone, by events. On the CPU a step runs several calls at the
same time, and the replay of a single call costs about seven microseconds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gpubp
from gpubp.backends import Backend, get_backend
from gpubp.backends.cupy import open_cupy
from gpubp.benchmarks.calls import VERBS, Asked, watch
from gpubp.benchmarks.tasks import ARCHITECTURES
from gpubp.benchmarks.timing import Limits, Timer
from gpubp.kernels import PRECISIONS
from gpubp.training import BatchForm

STEPS = 1000
"""The most replays of a step: there are as many places for costs."""
LEARNING_RATE = 1e-7
"""The rate is so small that thousands of updates hardly change the parameters."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("points", nargs="+", metavar="NETWORK:ROWS", help=", ".join(ARCHITECTURES))
    parser.add_argument("--backend", default="auto", help="auto, numpy or cupy")
    parser.add_argument("--precision", choices=PRECISIONS)
    parser.add_argument("--count", action="store_true", help="count, and measure nothing")
    parser.add_argument("--calls", action="store_true", help="a row for each call too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="append a line for each verb")
    parser.add_argument("--rounds", type=int, default=7, help="of which the median counts")
    parser.add_argument("--large", type=int, metavar="N", help="rows of the large matmul")
    options = parser.parse_args()
    points = parse_points(parser, options.points)
    backend = get_backend(options.backend)
    if backend.name.startswith("cupy") and not options.count:
        backend = open_cupy(graphs=True)
    with backend.use():
        timer = Timer(backend, options.rounds)
        limits = None if options.count else timer.limits(options.precision, options.large)
        for name, rows in points:
            report = Report(options, name, rows, backend)
            if limits is None:
                report.count()
            else:
                report.measure(timer, limits)


def parse_points(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[tuple[str, int]]:
    """Read points: `network:rows`, or network and rows as two words."""
    parts = [part for word in words for part in word.split(":")]
    points = []
    for name, rows in zip(parts[::2], [*parts[1::2], ""][: -(-len(parts) // 2)], strict=True):
        if name not in ARCHITECTURES or not rows.isdigit() or not int(rows):
            parser.error(f"{name}:{rows}: expected NETWORK:ROWS, NETWORK of {list(ARCHITECTURES)}")
        points.append((name, int(rows)))
    return points


class Report:
    """The report of one network at one batch size."""

    def __init__(self, options: argparse.Namespace, name: str, rows: int, backend: Backend) -> None:
        self._options, self._name, self._rows, self._backend = options, name, rows, backend
        self._architecture = ARCHITECTURES[name]
        batch = self._architecture.batch(rows)
        self._x, self._y = backend.asarray(batch.x), backend.asarray(batch.targets[0])

    def _trainer(self, backend: Backend) -> gpubp.Trainer:
        network = gpubp.Network(
            self._architecture.sizes,
            hidden=self._architecture.hidden,
            output=self._architecture.output,
            backend=backend,
            seed=0,
            precision=self._options.precision,
        )
        optimizer = gpubp.Adam(learning_rate=LEARNING_RATE)
        return gpubp.Trainer(network, optimizer, batch_size=self._rows, seed=0)

    def count(self) -> None:
        """Print how many calls a step makes, their bytes and their multiply-adds."""
        watched, asked = watch(self._backend)
        watched.plan = lambda rows, *_: [[slice(0, rows)]]  # type: ignore[method-assign]
        self._trainer(watched).step(self._x, self._y)
        read, written = (sum(getattr(a, k) for a in asked) / 1e6 for k in ("read", "written"))
        millions = sum(a.work for a in asked) / 1e6
        print(
            f"{self._name}, {self._rows} rows: {len(asked)} calls, {read + written:.1f} MB"
            f" ({read:.1f} read, {written:.1f} written), {millions:.1f} million multiply-adds"
        )

    def measure(self, timer: Timer, limits: Limits) -> None:
        """Time each call and the whole step; print the table and write its lines."""
        self._timer, self._limits = timer, limits
        watched, asked = watch(self._backend)
        watching = self._watching = self._trainer(watched)
        watching.step(self._x, self._y)
        watching._training_step.rows.set(self._x, self._y)  # a step clears its rows at the end
        self._head()
        total = floor = 0.0
        for verb in VERBS:
            calls = [a for a in asked if a.verb == verb]
            if not calls:
                continue
            try:
                taken, least = self._verb(verb, calls)
            except Exception as error:  # the other verbs still have figures
                print(f"{verb:24s}ERROR {type(error).__name__}: {error}".splitlines()[0][:200])
                self._write(verb=verb, error=str(error))
                continue
            total, floor = total + taken, floor + least
        self._row("sum", len(asked), asked, total, floor)
        self._matmuls([a for a in asked if a.matmul is not None])
        self._whole_step(len(asked), floor)

    def _head(self) -> None:
        limits, rounded = self._limits, self._options.precision
        print(
            f"{self._name}, {self._rows} rows, Adam{f', {rounded}' if rounded else ''}, on"
            f" {self._backend.device}: {limits.bandwidth / 1e9:.1f} GB/s,"
            f" {limits.rate / 1e9:.0f} billion multiply-adds a second"
            + (
                f"; nothing: {limits.node * 1e6:.2f} µs in a graph,"
                f" {limits.launch * 1e6:.1f} µs launched from Python"
                if limits.node
                else ""
            )
        )
        self._write(**limits._asdict(), device=self._backend.device)
        print(
            f"{'verb':24s}{'calls':>6s}{'MB':>9s}{'million':>9s}{'µs':>10s}{'floor':>10s}{'share':>8s}"
            + (f"{'nothing':>9s}" if limits.node else "")
        )

    def _verb(self, verb: str, calls: list[Asked]) -> tuple[float, float]:
        """Time a verb's calls; return their seconds and their floor."""
        each, lines = [], []
        for one in calls:
            taken = self._timer.call(one.call)
            self._watching._training_step.prepare()  # `advance` has counted: begin at the first step again
            least = self._limits.floor(one.moved, one.work)
            each.append((taken, least))
            lines.append(
                {
                    "shape": one.shape, "read": one.read, "written": one.written, "work": one.work,
                    "seconds": taken.seconds, "floor": least, "how": taken.how, "why": taken.why,
                }
            )  # fmt: skip
        seconds, floor = sum(t.seconds for t, _ in each), sum(least for _, least in each)
        self._write(verb=verb, calls=len(calls), seconds=seconds, floor=floor, each=lines)
        launched = any(t.how == "launched" for t, _ in each)
        self._row(verb + "~" * launched, len(calls), calls, seconds, floor)
        if self._options.calls:
            for one, (taken, least) in zip(calls, each, strict=True):
                self._row(f"  {one.shape}", 1, [one], taken.seconds, least)
        return seconds, floor

    def _matmuls(self, calls: list[Asked]) -> None:
        """Time the step's matmuls one after another."""

        def run() -> None:
            for one in calls:
                assert one.matmul is not None
                one.matmul()

        taken = self._timer.call(run)
        floor = sum(self._limits.floor(one.moved, one.work) for one in calls)
        self._last("its matmuls in a row" + "~" * (taken.how == "launched"), taken.seconds, floor)

    def _whole_step(self, calls: int, floor: float) -> None:
        trainer = self._trainer(self._backend)
        form = BatchForm(self._rows, None, self._y.ndim == 1, weighted=False)
        trainer._training_step.make_room([form], STEPS)
        try:
            if self._timer.on_cuda:
                self._graph_of(trainer, floor)
            step = self._timer.by_clock(lambda: trainer.step(self._x, self._y))
        except Exception as error:
            print(f"the step: ERROR {type(error).__name__}: {error}".splitlines()[0][:200])
            self._write(verb="the step", error=str(error))
            return
        self._last("the step", step, floor, calls=calls)

    def _graph_of(self, trainer: gpubp.Trainer, floor: float) -> None:
        """Time replays of the captured step alone, between events."""
        for _ in range(3):
            trainer.step(self._x, self._y)
        step = trainer._training_step
        (replay,) = step.captured.values()
        step.rows.set(self._x, self._y)
        times = []
        for _ in range(self._options.rounds):
            step.prepare(STEPS)
            # `by_events` makes two replays more, at most. Each needs a place for its cost.
            times.append(Timer(self._backend, 1).by_events(replay, STEPS // 2))
        step.release()
        graphs = getattr(replay, "captured", 0)
        name = "the step's graph" if graphs else "the step's launches"
        self._last(name, sorted(times)[len(times) // 2], floor)

    def _row(
        self, name: str, count: int, calls: Sequence[Asked], taken: float, least: float
    ) -> None:
        megabytes, millions = sum(a.moved for a in calls) / 1e6, sum(a.work for a in calls) / 1e6
        node = self._limits.node
        print(
            f"{name:24s}{count:6d}{megabytes:9.2f}{millions:9.1f}{taken * 1e6:10.1f}"
            f"{least * 1e6:10.1f}{least / taken if taken else 0:8.0%}"
            + (f"{node * len(calls) * 1e6:9.1f}" if node else ""),
            flush=True,
        )

    def _last(self, name: str, seconds: float, floor: float, **more: Any) -> None:
        self._write(verb=name, seconds=seconds, floor=floor, **more)
        print(
            f"{name:48s}{seconds * 1e6:10.1f}{floor * 1e6:10.1f}{floor / seconds:8.0%}", flush=True
        )

    def _write(self, **fields: Any) -> None:
        """Append a line to the JSON file at once."""
        if self._options.json is None:
            return
        line = {
            "network": self._name, "rows": self._rows, "precision": self._options.precision,
            "at": time.time(), **fields,
        }  # fmt: skip
        with open(self._options.json, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
