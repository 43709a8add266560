"""Where the time of a training step goes: each of its kernels alone, beside what memory and matmuls allow.

    python benchmarks/breakdown.py classifier 512
    python benchmarks/breakdown.py wide 8192 --backend cupy --precision bfloat16

A step is run once to see what the engine asks of the backend; then each of these calls is captured and
replayed by itself. The floor of a call is the longer of two: its arrays' bytes over the bandwidth of a
large copy, and its multiply-adds over the rate of a large matmul, both measured here first. A row adds up
all calls of a verb. The last line has the whole step, as training runs it: several calls at the same time,
and without the seven microseconds or so that it costs on the CPU to replay a call by itself. Shares above
100 % are of arrays that were in a cache.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from gpubp.kernels import PRECISIONS

import gpubp
from gpubp.backends import Backend, get_backend
from gpubp.benchmark.tasks import ARCHITECTURES

VERBS = (
    "gather", "one_hot", "normalize", "matmul", "add_bias", "bias_activate", "dropout", "output_delta",
    "multiply_by_derivative", "column_sums", "weighted_sum", "add", "convert", "round", "multiply",
    "adapt_loss_scale", "update", "advance",
)  # fmt: skip
Array = Any


class Asked(NamedTuple):
    """A verb as the engine called it."""

    verb: str
    call: Callable[[], None]
    bytes: int
    work: int  # multiply-adds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architecture", choices=ARCHITECTURES)
    parser.add_argument("batch_size", type=int)
    parser.add_argument("--backend", default="auto", help="auto, numpy or cupy")
    parser.add_argument("--precision", choices=PRECISIONS)
    parser.add_argument("--count", action="store_true", help="count, and measure nothing")
    parser.add_argument("--rounds", type=int, default=7, help="of which the median counts")
    options = parser.parse_args()
    backend = get_backend(options.backend)
    architecture = ARCHITECTURES[options.architecture]
    batch = architecture.batch(options.batch_size)
    x, y = backend.asarray(batch.x), backend.asarray(batch.targets[0])

    def trainer_on(chosen: Backend) -> gpubp.Trainer:
        network = gpubp.Network(
            architecture.sizes,
            output=architecture.output,
            backend=chosen,
            seed=0,
            precision=options.precision,
        )
        return gpubp.Trainer(network, gpubp.Adam(), batch_size=len(x), seed=0)

    watched, asked = watch(backend)
    if options.count:
        watched.plan = lambda rows, widths, limit: [[slice(0, rows)]]  # type: ignore[method-assign]
    watching = trainer_on(watched)
    watching.step(x, y)
    if options.count:
        megabytes, millions = sum(a.bytes for a in asked) / 1e6, sum(a.work for a in asked) / 1e6
        print(f"{len(asked)} calls, {megabytes:.1f} MB, {millions:.1f} million multiply-adds")
        return
    watching._clear_costs()  # back to the step's place in the arrays of costs and rates
    watching._rows.x, watching._rows.y = x, y  # which a step lets go of
    trainer = trainer_on(backend)
    step = seconds_of(lambda: trainer.step(x, y), backend, options.rounds)
    bandwidth, rate = limits(backend, options.precision, options.rounds)

    print(
        f"{options.architecture}, {options.batch_size} rows, Adam, on {backend.device}:"
        f" {bandwidth / 1e9:.1f} GB/s, {rate / 1e9:.0f} billion multiply-adds a second"
    )
    print(
        f"{'verb':24s}{'calls':>6s}{'MB':>9s}{'million':>9s}{'µs':>10s}{'floor':>10s}{'share':>8s}"
    )
    total = floor = 0.0
    for verb in VERBS:
        calls = [a for a in asked if a.verb == verb]
        if not calls:
            continue
        taken = 0.0
        for one in calls:
            taken += seconds_of(backend.capture(one.call), backend, options.rounds)
            watching._clear_costs()  # `advance` has counted
        least = sum(max(one.bytes / bandwidth, one.work / rate) for one in calls)
        line(verb, calls, taken, least)
        total, floor = total + taken, floor + least
    line("sum", asked, total, floor)
    print(f"{'the step':48s}{step * 1e6:10.1f}{floor * 1e6:10.1f}{floor / step:8.0%}")


def line(name: str, calls: list[Asked], taken: float, least: float) -> None:
    megabytes, millions = sum(a.bytes for a in calls) / 1e6, sum(a.work for a in calls) / 1e6
    print(
        f"{name:24s}{len(calls):6d}{megabytes:9.2f}{millions:9.1f}{taken * 1e6:10.1f}"
        f"{least * 1e6:10.1f}{least / taken:8.0%}"
    )


def watch(backend: Backend) -> tuple[Backend, list[Asked]]:
    """The same backend, writing down what it is asked for; steps are not captured."""
    watched: Any = copy.copy(backend)
    asked: list[Asked] = []

    def noting(verb: str) -> Callable[..., None]:
        original = getattr(backend, verb)

        def run(*arguments: Any, **options: Any) -> None:
            arrays = {id(a): a for a in flat(arguments) if hasattr(a, "nbytes")}.values()
            work = 0
            if verb == "matmul":
                a, _, out = arguments[:3]
                work = a.size * out.shape[1]
            moved = sum(array.nbytes for array in arrays)
            asked.append(Asked(verb, partial(original, *arguments, **options), moved, work))
            original(*arguments, **options)

        return run

    for verb in VERBS:
        setattr(watched, verb, noting(verb))
    watched.capture = lambda step: step
    watched.lanes = lambda functions: [function() for function in functions]
    return watched, asked


def flat(values: Any) -> list[Any]:
    """What is in tuples and lists within, and what gather reads."""
    found: list[Any] = []
    for value in values:
        found += flat(value) if isinstance(value, tuple | list) else [value]
    return found


def seconds_of(call: Callable[[], None], backend: Backend, rounds: int) -> float:
    """The median time of a call, many in a row."""
    call()
    call()
    backend.synchronize()
    start = time.perf_counter()
    call()
    backend.synchronize()
    count = max(1, min(1000, int(0.02 / (time.perf_counter() - start + 1e-9))))
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(count):
            call()
        backend.synchronize()
        times.append((time.perf_counter() - start) / count)
    return float(np.median(times))


def limits(backend: Backend, precision: str | None, rounds: int) -> tuple[float, float]:
    """Bytes and multiply-adds a second: of a copy and a matmul far larger than any cache."""
    xp, n = backend.xp, 2048 if backend.owns(np.empty(0)) else 8192
    source, target = xp.ones(2**25, np.float32), xp.zeros(2**25, np.float32)
    copied = seconds_of(backend.capture(lambda: backend.convert(source, target)), backend, rounds)
    chosen = PRECISIONS[precision] if precision else None
    a, b = (
        backend.operands((n, n), chosen) if chosen else xp.ones((n, n), np.float32)
        for _ in range(2)
    )
    for operand in (a, b):
        operand.fill(0)
    out = xp.empty((n, n), np.float32)
    product = backend.capture(lambda: backend.matmul(a, b, out, precision=chosen))
    return 2 * source.nbytes / copied, n**3 / seconds_of(product, backend, rounds)


if __name__ == "__main__":
    main()
