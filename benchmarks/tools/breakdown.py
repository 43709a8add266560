"""Where the time of a training step goes: each of its kernels alone, beside what memory and matmuls allow.

    python benchmarks/tools/breakdown.py classifier 512
    python benchmarks/tools/breakdown.py narrow:512 classifier:2048 --backend cupy --json kernels.jsonl
    python benchmarks/tools/breakdown.py wide:8192 --backend cupy --precision bfloat16 --calls

A step is run once, on random rows, to see what the engine asks of the backend; then each of these calls
is timed by itself, on the arrays as that step left them: on CUDA in a graph of fifty copies, by events, so
that neither Python nor launches are in the figure; where it says ~ it could not be captured, and they are.

The floor of a call is the longer of two: the bytes that it reads and writes over the bandwidth of a large
copy, and its multiply-adds over the rate of a large matmul of random numbers, both measured here first.
"nothing" is what a kernel that does nothing costs in a CUDA graph: no call takes less. A row adds up all
calls of a verb. Shares above 100 % are of arrays that were in a cache.

The last lines have the step's matmuls one after another, and the whole step: as training runs it, by the
host's clock, and on CUDA its graph alone, by events. On the CPU a step runs several calls at the same time,
and a call by itself costs some seven microseconds to replay.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import gpubp
from gpubp.backends import Backend, get_backend
from gpubp.backends.cupy import open_cupy
from gpubp.benchmarks.tasks import ARCHITECTURES
from gpubp.benchmarks.timing import Limits, Timer
from gpubp.kernels import PRECISIONS
from gpubp.kernels.typing import Array
from gpubp.training import BatchForm

LAYER_VERBS = ("layer_forward", "layer_backward", "layer_gradients")
VERBS = (
    "gather", "one_hot", "normalize", *LAYER_VERBS, "matmul", "bias_activate", "dropout",
    "output_delta", "multiply_by_derivative", "column_sums", "weighted_sum", "add", "convert", "round",
    "multiply", "adapt_loss_scale", "update", "advance",
)  # fmt: skip
Arrays = Sequence[Array]
STEPS = 1000
"""Room for costs of so many replays of a step."""
LEARNING_RATE = 1e-7
"""Small: the parameters shall stay what they are over thousands of updates."""


class Asked(NamedTuple):
    """A verb as the engine called it."""

    verb: str
    call: Callable[[], None]
    read: int  # bytes
    written: int
    work: int  # multiply-adds
    shape: str
    matmul: Callable[[], None] | None  # and nothing else

    @property
    def moved(self) -> int:
        return self.read + self.written


# What a verb reads and what it writes, by its arguments as base.py names them. An array that is read
# twice, or given twice, counts once.
Access = tuple[Arrays, Arrays]
ACCESSES: dict[str, Callable[..., Access]] = {
    "gather": lambda rows, field, counters, first, out, scale=1, shift=0: (
        [counters, getattr(rows, field)[: len(out)], *_order(rows, out)],
        [out],
    ),
    "one_hot": lambda labels, out, low, high: ([labels], [out]),
    "normalize": lambda weights: ([weights], [weights]),
    "matmul": lambda a, b, out, *, beta=0, **_: ([a, b, *([out] if beta else [])], [out]),
    "layer_forward": lambda activation, x, weights, biases, z, a, precision=None, keep_z=True: (
        [x, weights, biases],
        [z, a] if keep_z else [a],
    ),
    "layer_backward": lambda activation, delta, weights, v, product, out, precision=None: (
        [delta, weights, v],
        [out],
    ),
    "layer_gradients": lambda delta, a, weights, biases, beta, precision=None: (
        [delta, a, *([weights, biases] if beta else [])],
        [weights, biases],
    ),
    "bias_activate": lambda activation, z, biases, a, keep_z=True: (
        [z, biases], [z, a] if keep_z else [a]
    ),
    "dropout": lambda x, out, counters, *_: ([x, counters], [out]),
    "output_delta": lambda cost, activation, z, a, y, scale, delta, costs: (
        [z, y, scale] if cost.canonical == activation.name and activation.rowwise
        else [z, a, y, scale],
        [delta, costs],
    ),
    "multiply_by_derivative": lambda activation, v, product, delta: ([v, product], [delta]),
    "column_sums": lambda values, out, beta=0: ([values, *([out] if beta else [])], [out]),
    "weighted_sum": lambda values, weights, out, counters=None: (
        [values, weights, out[:1], counters],
        [out[:1]],
    ),
    "add": lambda values, out: ([values, out], [out]),
    "convert": lambda values, out: ([values], [out]),
    "round": lambda values, precision: ([values], [values]),
    "multiply": lambda values, factor, out: ([values, factor], [out]),
    "adapt_loss_scale": lambda loss_scale, squared_norm: ([loss_scale, squared_norm], [loss_scale]),
    "update": lambda u, h, s, theta, g, shard_gradients, state, n, rates, counters, norm: (
        [theta, g, *shard_gradients, *state, rates[:1], counters, norm],
        [theta, *state, *([g] if shard_gradients else [])],
    ),
    "advance": lambda counters: ([counters], [counters]),
}  # fmt: skip


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
    """`network:rows`, or the two after each other."""
    parts = [part for word in words for part in word.split(":")]
    points = []
    for name, rows in zip(parts[::2], [*parts[1::2], ""][: -(-len(parts) // 2)], strict=True):
        if name not in ARCHITECTURES or not rows.isdigit() or not int(rows):
            parser.error(f"{name}:{rows}: expected NETWORK:ROWS, NETWORK of {list(ARCHITECTURES)}")
        points.append((name, int(rows)))
    return points


class Report:
    """One network at one batch size."""

    def __init__(self, options: argparse.Namespace, name: str, rows: int, backend: Backend) -> None:
        self._options, self._name, self._rows, self._backend = options, name, rows, backend
        self._architecture = ARCHITECTURES[name]
        batch = self._architecture.batch(rows)
        self._x, self._y = backend.asarray(batch.x), backend.asarray(batch.targets[0])

    def _trainer(self, backend: Backend) -> gpubp.Trainer:
        network = gpubp.Network(
            self._architecture.sizes,
            output=self._architecture.output,
            backend=backend,
            seed=0,
            precision=self._options.precision,
        )
        optimizer = gpubp.Adam(learning_rate=LEARNING_RATE)
        return gpubp.Trainer(network, optimizer, batch_size=self._rows, seed=0)

    def count(self) -> None:
        """Print what a step asks for."""
        watched, asked = watch(self._backend)
        watched.plan = lambda rows, widths, limit: [[slice(0, rows)]]  # type: ignore[method-assign]
        self._trainer(watched).step(self._x, self._y)
        read, written = (sum(getattr(a, k) for a in asked) / 1e6 for k in ("read", "written"))
        millions = sum(a.work for a in asked) / 1e6
        print(
            f"{self._name}, {self._rows} rows: {len(asked)} calls, {read + written:.1f} MB"
            f" ({read:.1f} read, {written:.1f} written), {millions:.1f} million multiply-adds"
        )

    def measure(self, timer: Timer, limits: Limits) -> None:
        """Print and write how long each call takes, and the whole step."""
        self._timer, self._limits = timer, limits
        watched, asked = watch(self._backend)
        watching = self._watching = self._trainer(watched)
        watching.step(self._x, self._y)
        watching._training_step.rows.set(self._x, self._y)  # which a step lets go of
        self._head()
        total = floor = 0.0
        for verb in VERBS:
            calls = [a for a in asked if a.verb == verb]
            if not calls:
                continue
            try:
                taken, least = self._verb(verb, calls)
            except Exception as error:  # the other verbs are still worth their figures
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
        """Time a verb's calls; their seconds and their floor."""
        each, lines = [], []
        for one in calls:
            taken = self._timer.call(one.call)
            self._watching._training_step.prepare()  # back to the step's place: `advance` has counted
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
        """The step's matmuls after each other: what the rest of the step is beside."""

        def run() -> None:
            for one in calls:
                assert one.matmul is not None
                one.matmul()

        taken = self._timer.call(run)
        floor = sum(self._limits.floor(one.moved, one.work) for one in calls)
        self._last("its matmuls in a row" + "~" * (taken.how == "launched"), taken.seconds, floor)

    def _whole_step(self, calls: int, floor: float) -> None:
        trainer = self._trainer(self._backend)
        form = BatchForm(self._rows, self._y.ndim == 1, weighted=False, block_limit=None)
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
        """Replays of the captured step alone, between events."""
        for _ in range(3):
            trainer.step(self._x, self._y)
        step = trainer._training_step
        (replay,) = step.captured.values()
        step.rows.set(self._x, self._y)
        times = []
        for _ in range(self._options.rounds):
            step.prepare(np.ones(STEPS))
            # Twice as many replays as it counts, and a few to begin with, have their costs' places.
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
        """A line of the JSON file, there as soon as it is known."""
        if self._options.json is None:
            return
        line = {
            "network": self._name, "rows": self._rows, "precision": self._options.precision,
            "at": time.time(), **fields,
        }  # fmt: skip
        with open(self._options.json, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def watch(backend: Backend) -> tuple[Backend, list[Asked]]:
    """The same backend, writing down what it is asked for; steps are not captured."""
    watched: Any = copy.copy(backend)
    asked: list[Asked] = []

    def noting(verb: str) -> Callable[..., None]:
        original = getattr(backend, verb)

        def run(*arguments: Any, **options: Any) -> None:
            before = len(asked)
            if (
                verb in LAYER_VERBS
            ):  # which may do what they do by other verbs, and these are noted then
                getattr(type(backend), verb)(watched, *arguments, **options)
            else:
                original(*arguments, **options)
            if len(asked) > before or (verb == "round" and backend.name.startswith("cupy")):
                return  # round does nothing there: storing has rounded
            read, written = map(bytes_of, ACCESSES[verb](*arguments, **options))
            call, bare = partial(original, *arguments, **options), None
            work, shape = 0, largest_shape(arguments)
            if verb == "matmul" or verb in LAYER_VERBS:
                operands, turned = product_of(verb, arguments, options)
                a, _, out = operands
                bare = partial(backend.matmul, *operands, **turned)
                work = a.size * out.shape[1]
                marks = {"transpose_a": " aᵀ", "transpose_b": " bᵀ"}
                shape = f"{len(out)}x{a.size // len(out)}x{out.shape[1]}"
                shape += "".join(mark for name, mark in marks.items() if turned.get(name))
            asked.append(Asked(verb, call, read, written, work, shape, bare))

        return run

    for verb in VERBS:
        setattr(watched, verb, noting(verb))
    watched.capture = lambda step: step
    watched.shards = lambda functions: [function() for function in functions]
    return watched, asked


def bytes_of(arrays: Arrays) -> int:
    """Of all of them, each once."""
    return sum({id(a): a.nbytes for a in arrays if a is not None}.values())


def product_of(
    verb: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> tuple[Arrays, dict[str, Any]]:
    """The matmul within: its a, b and out, and its options."""
    if verb == "matmul":
        return arguments[:3], options
    if verb == "layer_forward":
        _, x, weights, _, z, _, *precision = arguments
        operands, turned = (x, weights, z), {"transpose_b": True}
    elif verb == "layer_backward":
        _, delta, weights, _, product, _, *precision = arguments
        operands, turned = (delta, weights, product), {}
    else:
        delta, a, weights, _, _, *precision = arguments
        operands, turned = (delta, a, weights), {"transpose_a": True}
    return operands, {**turned, **options, **dict(zip(["precision"], precision, strict=False))}


def largest_shape(arguments: tuple[Any, ...]) -> str:
    """Of the arrays among them."""
    arrays = [a for a in arguments if hasattr(a, "shape")]
    return "x".join(map(str, max(arrays, key=lambda array: array.size).shape))


def _order(rows: Any, out: Array) -> list[Array]:
    return [] if rows.order is None else [rows.order[: len(out)]]


if __name__ == "__main__":
    main()
