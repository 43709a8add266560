"""Plan a training step on CUDA: its launches, what they move, and how long they should take.

    python benchmarks/tools/plan.py narrow:512 classifier:2048 wide:8192:bfloat16
    python benchmarks/tools/plan.py narrow:512 --measure --json plan.jsonl

Each point has two rows: the default step, and the step with the fused launches of GPUBP_CUDA_FUSED=1. An
Adam step is captured as a graph, or several in one graph if a fit does so, and the launches are noted: a
launch reads and writes the arrays that it is bound to. The figures are those of one step; the launches of
each kernel are those of the graph. Without a GPU the emulated devices capture it (tests/support); nothing
is computed.

"floor" is the time of all bytes at a large copy's bandwidth or, launch by launch, of its multiply-adds at
a large matmul's rate, whichever is longer. "predicted" is the length of the graph's longest path, at least
the floor. A launch takes its floor, or longer if it is small: LATENCIES and OWN_RATE were measured on an
H100. It is a prediction, no measurement: it knows nothing of caches, of what it costs to part and join
branches, and of products of cuBLAS that are too small to reach its rate.

"measured", with --measure, is the time of a step on this device as training runs it; the two forms of the
step take turns. Emulated devices show no speed: their column is called "emulated".
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import gpubp
from gpubp.backends.cupy import cublas, cublaslt, open_cupy
from gpubp.benchmarks.captured import Launch, watch_launches
from gpubp.benchmarks.tasks import ARCHITECTURES
from gpubp.kernels import PRECISIONS
from gpubp.training import TrainingStep
from gpubp.training.data import BatchForm

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
from support import cupy_on_host

NODE = 0.8e-6
"""Seconds of a graph's node that does nothing; docs/benchmarks/gpu.md, as all figures here."""

LATENCIES = {
    "gather": 1.3e-6, "one_hot": 1.1e-6, "layer_forward": 2.4e-6, "layer_backward": 2.2e-6,
    "layer_gradients": 4.4e-6, "output_delta": 1.9e-6, "weighted_sum": 1.6e-6, "update": 2.6e-6,
    "advance": 1.0e-6, "output_layer": 2.4e-6 + 1.9e-6 - NODE, "update_with": 2.6e-6,
}  # fmt: skip
"""Seconds of a small launch, by its verb: those of the narrow network on 512 rows, measured on an H100
(benchmarks/results/2026-11-26-nvidia-h100/kernels.jsonl). Two have not run on a GPU:
`output_layer` is a forward product, then an output delta; `update_with` is an update."""

OWN, OWN_RATE = ("matmul", "joined", "output_layer"), 13e12
"""gpubp's products, and the multiply-adds a second that come to their latency. With this rate they are
within a fifth of what was measured for 784 x 256 and 256 x 256 on 512 and 2048 rows."""

LEARNING_RATE, STEPS, TURN = 1e-7, 1000, 0.02
"""A rate that hardly changes the parameters; the most steps of a turn; its seconds."""


class Card(NamedTuple):
    """What a device can do at most: bytes a second, and multiply-adds of float32 and narrower numbers."""

    bandwidth: float
    rate: float
    narrow_rate: float

    def floor(self, launch: Launch) -> float:
        """Compute the least seconds of a launch."""
        rate = self.narrow_rate if launch.narrow else self.rate
        return max(launch.moved / self.bandwidth, launch.work / rate)

    def predict(self, launch: Launch) -> float:
        """Predict the seconds of a launch."""
        latency = max((LATENCIES.get(verb, NODE) for verb in launch.verbs), default=NODE)
        if launch.kernel in OWN:
            latency += launch.work / OWN_RATE
        return max(self.floor(launch), latency)


H100 = Card(2.97e12, 26.0e12, 392e12)


class Point(NamedTuple):
    """A network, the rows of a batch, and the precision."""

    network: str
    rows: int
    precision: str | None

    def __str__(self) -> str:
        return f"{self.network}, {self.rows} rows" + (
            f", {self.precision}" if self.precision else ""
        )


class Step:
    """An Adam step on random rows, captured as a graph.

    Parameters
    ----------
    point : Point
        The network and the rows.
    fused : bool
        Whether it uses the fused launches.

    Attributes
    ----------
    at_once : int
        The number of steps in a graph, as a fit makes it.
    launches : list of Launch
        The launches of the graph.
    """

    def __init__(self, point: Point, fused: bool) -> None:
        architecture = ARCHITECTURES[point.network]
        batch = architecture.batch(point.rows)
        backend = self._backend = open_cupy(graphs=True, fused=fused)
        self.launches = watch_launches(backend)
        network = gpubp.Network(
            architecture.sizes,
            hidden=architecture.hidden,
            output=architecture.output,
            backend=backend,
            seed=0,
            precision=point.precision,
        )
        optimizer = gpubp.Adam(learning_rate=LEARNING_RATE)
        step = self._step = TrainingStep(network, optimizer, dropout_seed=0)
        self._form = BatchForm(point.rows, None, architecture.is_classifier, weighted=False)
        self.at_once = step.steps_at_once
        step.rows.set(backend.asarray(batch.x), backend.asarray(batch.targets[0]))
        step.make_room([self._form], STEPS)
        step.prepare()
        for _ in range(2):  # the second run is captured
            step.run(self._form)
        if self.at_once > 1:
            self.launches.clear()
            step.run(self._form, self.at_once)
        if not self.launches:
            raise RuntimeError(f"{point}: the step was not captured")

    def seconds(self, count: int) -> float:
        """Time so many steps, a multiple of `at_once`, by the host's clock; return the seconds of one."""
        self._step.prepare(count)
        self._backend.synchronize()
        start = time.perf_counter()
        for _ in range(count // self.at_once):
            self._step.run(self._form, self.at_once)
        self._backend.synchronize()
        return (time.perf_counter() - start) / count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("points", nargs="+", type=point_of, metavar="NETWORK:ROWS[:PRECISION]")
    parser.add_argument("--bandwidth", type=float, default=H100.bandwidth / 1e12, help="TB/s")
    parser.add_argument(
        "--rates", type=float, nargs=2, metavar=("FLOAT32", "NARROW"),
        default=[H100.rate / 1e12, H100.narrow_rate / 1e12],
        help="trillion multiply-adds a second; without, those of an H100",
    )  # fmt: skip
    parser.add_argument("--measure", action="store_true", help="time the steps on this device")
    parser.add_argument("--rounds", type=int, default=7, help="turns, whose median counts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="append a line for each row")
    options = parser.parse_args()
    card = Card(options.bandwidth * 1e12, *(rate * 1e12 for rate in options.rates))
    on_gpu, backend = find_devices(), open_cupy()
    with backend.use():
        print(
            f"launches on {backend.device}; predictions for {options.bandwidth} TB/s,"
            f" {' and '.join(map(str, options.rates))} trillion multiply-adds a second"
        )
        for point in options.points:
            steps = [Step(point, fused) for fused in (False, True)]
            times = measure(steps, options.rounds) if options.measure else []
            where = {"device": backend.device, "timed": "measured" if on_gpu else "emulated"}
            show(point, steps, card, times, where, options.json)


def point_of(word: str) -> Point:
    name, rows, precision = [*word.split(":"), "", ""][:3]
    if name not in ARCHITECTURES or not rows.isdigit() or precision not in ("", *PRECISIONS):
        raise argparse.ArgumentTypeError(
            f"{word}: NETWORK is of {list(ARCHITECTURES)}, PRECISION of {list(PRECISIONS)}"
        )
    return Point(name, int(rows), precision or None)


def find_devices() -> bool:
    """Let CuPy find devices that note launches instead of making them, unless there is a GPU."""
    if cupy_on_host.gpus()[0]:
        return True
    cuda = cupy_on_host.install()
    cuda.runtime.present, cuda.runtime.noted = True, []
    cuda.cublas.cublasGemmEx = lambda *_: 0
    cuda.cublaslt.cublasLtMatmul = lambda *_: 0
    cublas.load_library = lambda: cuda.cublas
    cublaslt.load_library = lambda: cuda.cublaslt
    return False


def show(
    point: Point,
    steps: Sequence[Step],
    card: Card,
    times: Sequence[float],
    where: dict[str, str],
    path: Path | None,
) -> None:
    """Print a point's two rows, and write their lines."""
    print(
        f"\n{point!s:28s}{'launches':>10s}{'MB':>10s}{'million':>11s}{'floor':>9s}{'predicted':>11s}"
        f"{where['timed']:>10s}  µs"
    )
    for fused, step in enumerate(steps):
        launches, count = step.launches, step.at_once
        floor = sum(map(card.floor, launches)) / count
        predicted = max(floor, longest_path(launches, card) / count)
        moved, work = (sum(getattr(one, name) for one in launches) for name in ("moved", "work"))
        seconds = times[fused] if times else None
        print(
            f"{'  fused' if fused else '  default':28s}{len(launches) / count:10.4g}"
            f"{moved / count / 1e6:10.2f}{work / count / 1e6:11.1f}{floor * 1e6:9.1f}"
            f"{predicted * 1e6:11.1f}"
            + (f"{'–':>10s}" if seconds is None else f"{seconds * 1e6:10.1f}")
        )
        kernels = Counter(launch.kernel for launch in launches)
        listed = ", ".join(f"{n} {name}" for name, n in kernels.items())
        listed += f" in a graph of {count} steps" if count > 1 else ""
        print(textwrap.indent(textwrap.fill(listed, 96), "    "), flush=True)
        line = {
            **point._asdict(), **where, "fused": bool(fused), "steps": count,
            "launches": len(launches) / count, "kernels": kernels, "moved": moved / count,
            "work": work / count, "floor": floor, "predicted": predicted, "seconds": seconds,
            "each": [launch._asdict() for launch in launches],
        }  # fmt: skip
        if path is not None:
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def longest_path(launches: Sequence[Launch], card: Card) -> float:
    """Add up the predictions along the graph's longest path.

    A branch parts from the main one after the launches before, and meets it where a launch waits.
    """
    ends: Counter[int] = Counter()
    for launch in launches:
        before = max(ends.values(), default=0.0) if launch.waits else ends[0]
        ends[launch.branch] = max(before, ends[launch.branch]) + card.predict(launch)
    return float(max(ends.values()))


def measure(steps: Sequence[Step], rounds: int) -> list[float]:
    """Time steps in turns; return the median seconds of each."""
    least = max(step.at_once for step in steps)
    slowest = max(step.seconds(least) for step in steps)
    count = least * max(1, min(STEPS, int(TURN / slowest)) // least)
    times = [[step.seconds(count) for step in steps] for _ in range(rounds)]
    return [statistics.median(taken) for taken in zip(*times, strict=True)]


if __name__ == "__main__":
    main()
