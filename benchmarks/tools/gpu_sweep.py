"""Time the kernels at other values of the CUDA kernels' constants, on a GPU.

    python benchmarks/tools/gpu_sweep.py --json sweep.jsonl
    python benchmarks/tools/gpu_sweep.py SMALL_WORK CHUNK_ROWS --seconds 20

Each constant is set to a few values, and the calls that read it are timed at a few shapes, as breakdown.py
times them: fifty copies in a graph, between events. Each figure becomes a line of JSON at once. Then each
constant gets a table with the µs of a call: * marks the fastest, brackets mark the present value, ~ marks a
call that was launched instead of captured. SMALL_WORK chooses between two ways to compute the three
products of a layer: the matmul of kernels/matmul.py, and cuBLAS with a kernel for what follows. Its columns
are these two ways. FORM is no constant: its columns are the two forms of bias and activation, the product
with σ′, and the output delta.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

import gpubp
from gpubp import workspace
from gpubp.backends import Backend, Rows, get_backend
from gpubp.backends.cupy import open_cupy, recording
from gpubp.benchmarks.tasks import ARCHITECTURES
from gpubp.benchmarks.timing import Taken, Timer, random_array
from gpubp.kernels import ACTIVATIONS, COSTS, OutputHead, matmul, sums
from gpubp.kernels.bias_activate import bias_activate_cuda
from gpubp.kernels.cuda import launch
from gpubp.kernels.multiply_by_derivative import multiply_by_derivative_cuda
from gpubp.kernels.output_delta import output_delta_cuda
from gpubp.kernels.typing import Array

Call = Callable[[], None]
Shape = tuple[int, ...]

BATCHES: Sequence[Shape] = ((512, 64), (2048, 256), (2048, 1024), (8192, 4096))
LAYERS: Sequence[Shape] = (
    *((64, 64), (64, 16), (128, 128), (256, 256), (256, 10), (512, 512), (784, 256)),
    *((100, 1024), (1024, 1), (1024, 1024)),
)
ROWS = (32, 512, 2048)
FEW_LAYERS, FEW_ROWS = ((64, 64), (784, 256), (256, 256)), (32, 512, 2048)
TALL: Shape = (65536, 64)
WEIGHTED, SQUARED = (512, 8192, 65536), (270_000, 50_000_000)
OWN, CUBLAS = "own", "cuBLAS"


class Constant(NamedTuple):
    """A constant of a module, the values to try, and the calls that read it.

    Attributes
    ----------
    module : module or namespace
        What holds the constant.
    name : str
        The name of the constant.
    values : sequence
        The values to try.
    cases : callable
        A function that yields a name and a call for each shape.
    on_steps : bool
        Whether the calls themselves measure whole steps.
    """

    module: ModuleType | SimpleNamespace
    name: str
    values: Sequence[Any]
    cases: Callable[[Backend], Iterator[tuple[str, Callable[[], Any]]]]
    on_steps: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [constant.name for constant in CONSTANTS]
    parser.add_argument("constants", nargs="*", metavar="CONSTANT", help=", ".join(names))
    parser.add_argument("--backend", default="cupy")
    parser.add_argument("--json", type=Path, metavar="FILE", help="append a line for each figure")
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts")
    parser.add_argument("--seconds", type=float, default=60, help="no case is begun after so long")
    options = parser.parse_args()
    for name in options.constants:
        if name not in names:
            parser.error(f"no constant called {name}, expected {', '.join(names)}")
    get_backend(options.backend)  # fails here if something is missing, and says what
    backend = open_cupy(graphs=True)
    ends = time.monotonic() + options.seconds
    with backend.use():
        timer = Timer(backend, options.rounds)
        print(f"{backend.device}: µs of a call")
        for constant in CONSTANTS:
            if not options.constants or constant.name in options.constants:
                sweep(constant, timer, ends, options.json)


def sweep(constant: Constant, timer: Timer, ends: float, path: Path | None) -> None:
    """Time every case with every value, and print the table."""
    kept = getattr(constant.module, constant.name)
    now = kept if isinstance(kept, int | str) and constant.name != "SMALL_WORK" else ""
    columns = [f"[{told(v)}]" if v == now else told(v) for v in constant.values]
    print(f"\n{constant.name:36s}" + "".join(f"{column:>12s}" for column in columns))
    for case, call in constant.cases(timer.backend):
        if time.monotonic() > ends:
            print("the time is spent: what follows is left out")
            return
        found: list[tuple[float, str]] = []
        for value in constant.values:
            setattr(constant.module, constant.name, setting(value))
            try:
                taken = call() if constant.on_steps else timer.call(call)
                found.append((taken.seconds, "~" if taken.how == "launched" else ""))
                result = {"seconds": taken.seconds, "how": taken.how, "why": taken.why}
            except Exception as error:  # the value may be impossible, such as too large a block
                found.append((float("inf"), ""))
                result = {"error": f"{type(error).__name__}: {error}"}
            finally:
                setattr(constant.module, constant.name, kept)
            line = {"constant": constant.name, "value": told(value), "now": now, "case": case}
            write(path, {**line, **result})
        best = min(seconds for seconds, _ in found)
        cells = [
            f"{'*' if s == best else ''}{s * 1e6:.2f}{mark}" if s < float("inf") else "ERROR"
            for s, mark in found
        ]
        print(f"{case:36s}" + "".join(f"{cell:>12s}" for cell in cells), flush=True)


def setting(value: Any) -> Any:
    """Turn a value into the constant: all products go the chosen way, or all tilings are the given one."""
    if isinstance(value, matmul.Tiling):
        return lambda *sizes: value
    return {OWN: 2**62, CUBLAS: -1}.get(value, value)


def told(value: Any) -> str:
    """Write a value as the title of a column."""
    return (
        "{}x{}/{}".format(*value[:2], value[4]) if isinstance(value, matmul.Tiling) else str(value)
    )


def write(path: Path | None, line: dict[str, Any]) -> None:
    if path is not None:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def by_rows(backend: Backend) -> Iterator[tuple[str, Call]]:
    """Call the kernels that go down the rows of a batch."""
    relu, counters = ACTIVATIONS["relu"], backend.asarray(np.zeros(2, np.int64))
    for shape in BATCHES:
        z, a, biases = (random_array(backend, *s) for s in (shape, shape, shape[1:]))
        rows, name = Rows(a), "x".join(map(str, shape))

        def bias_activate(z: Array = z, a: Array = a, biases: Array = biases) -> None:
            backend.bias_activate(relu, z, biases, z)

        def derivative(z: Array = z, a: Array = a) -> None:
            backend.multiply_by_derivative(relu, a, z, z)

        def gather(rows: Rows = rows, z: Array = z) -> None:
            backend.gather(rows, "x", counters, 0, z)

        yield f"bias_activate {name}", bias_activate
        yield f"multiply_by_derivative {name}", derivative
        yield f"gather {name}", gather


CHOSEN = SimpleNamespace(FORM="rows")
"""The form that `forms` calls."""


def forms(backend: Backend) -> Iterator[tuple[str, Call]]:
    """Call the kernels that have an elementwise form, in the chosen form."""
    xp, relu = backend.xp, ACTIVATIONS["relu"]
    text = OutputHead(ACTIVATIONS["tanh"], COSTS["quadratic"]).delta_text
    for shape in BATCHES:
        z, a, y = (random_array(backend, *shape) for _ in range(3))
        biases, scale = random_array(backend, shape[1]), random_array(backend, shape[0])
        name = "x".join(map(str, shape))

        def bias_activate(z: Array = z, biases: Array = biases) -> None:
            bias_activate_cuda(xp, relu, z, biases, z, form=CHOSEN.FORM)()

        def derivative(z: Array = z, a: Array = a) -> None:
            multiply_by_derivative_cuda(xp, relu, a, z, z, form=CHOSEN.FORM)()

        def output_delta(z: Array = z, a: Array = a, y: Array = y, scale: Array = scale) -> None:
            output_delta_cuda(xp, text, a, y, scale, a, z, form=CHOSEN.FORM)()

        yield f"bias_activate {name}", bias_activate
        yield f"multiply_by_derivative {name}", derivative
        yield f"output_delta {name}", output_delta


def column_sums(backend: Backend) -> Iterator[tuple[str, Call]]:
    for shape in (*BATCHES, TALL):
        values, out = random_array(backend, *shape), random_array(backend, shape[1])
        yield (
            f"column_sums {'x'.join(map(str, shape))}",
            lambda values=values, out=out: backend.column_sums(values, out),
        )


def weighted_sums(backend: Backend) -> Iterator[tuple[str, Call]]:
    counters = backend.asarray(np.zeros(2, np.int64))
    out = backend.asarray(np.zeros(1))
    for size in WEIGHTED:
        values, weights = random_array(backend, size), random_array(backend, size)
        yield (
            f"weighted_sum {size}",
            lambda v=values, w=weights: backend.weighted_sum(v, w, out, counters),
        )
    for size in SQUARED:
        values = random_array(backend, size)
        yield f"sum of squares {size}", lambda v=values: backend.weighted_sum(v, None, out)


def products(
    backend: Backend, layers: Sequence[Shape], batches: Sequence[int]
) -> Iterator[tuple[str, Call]]:
    """Call the products of a layer with what follows: a = σ(x wᵀ + b), (δ w) ⊙ σ′, the gradients."""
    relu = ACTIVATIONS["relu"]
    for rows in batches:
        for n_in, n_out in layers:
            x, before = random_array(backend, rows, n_in), random_array(backend, rows, n_in)
            a, delta = random_array(backend, rows, n_out), random_array(backend, rows, n_out)
            w, gradient = random_array(backend, n_out, n_in), random_array(backend, n_out, n_in)
            b, sums_ = random_array(backend, n_out), random_array(backend, n_out)

            def forward(x: Array = x, w: Array = w, b: Array = b, a: Array = a) -> None:
                backend.layer_forward(relu, x, w, b, a, a)

            def backward(
                delta: Array = delta, w: Array = w, x: Array = x, out: Array = before
            ) -> None:
                backend.layer_backward(relu, delta, w, x, out, out)

            def gradients(
                delta: Array = delta, x: Array = x, w: Array = gradient, b: Array = sums_
            ) -> None:
                backend.layer_gradients(delta, x, w, b, 0.0)

            name = f"{rows}: {n_in}-{n_out}"
            yield f"forward   {name}", forward
            yield f"backward  {name}", backward
            yield f"gradients {name}", gradients


STEPS: Sequence[tuple[str, int]] = (
    *(("narrow", 32), ("narrow", 512), ("narrow", 2048), ("classifier", 512), ("classifier", 2048)),
    *(("regression", 512), ("regression", 2048)),
)


def step_seconds(network: str, rows: int, rounds: int) -> float:
    """Time an Adam step as training runs it, on a new backend, in seconds."""
    backend, architecture = open_cupy(graphs=True), ARCHITECTURES[network]
    batch = architecture.batch(rows)
    with backend.use():
        x, y = backend.asarray(batch.x), backend.asarray(batch.targets[0])
        trained = gpubp.Network(
            architecture.sizes,
            hidden=architecture.hidden,
            output=architecture.output,
            backend=backend,
            seed=0,
        )
        trainer = gpubp.Trainer(trained, gpubp.Adam(learning_rate=1e-6), batch_size=rows, seed=0)
        for _ in range(3):
            trainer.step(x, y)
        return Timer(backend, rounds).by_events(lambda: trainer.step(x, y))


def few_products(backend: Backend) -> Iterator[tuple[str, Call]]:
    """Call small products of our own matmul, which BLOCKS and LEAST_STEP cut into pieces."""
    for case, call in products(backend, FEW_LAYERS, FEW_ROWS):

        def own(call: Call = call) -> None:
            kept = matmul.SMALL_WORK
            matmul.SMALL_WORK = setting(OWN)
            try:
                call()
            finally:
                matmul.SMALL_WORK = kept

        yield case, own


def steps(backend: Backend) -> Iterator[tuple[str, Callable[[], Taken]]]:
    """Measure whole steps, on new networks and trainers for each value."""
    for network, rows in STEPS:

        def measure(network: str = network, rows: int = rows) -> Taken:
            return Taken(step_seconds(network, rows, 5), "graph")

        yield f"step {network}, {rows} rows", measure


TILINGS = (
    *(matmul.NARROW, matmul.NARROW_FORWARD, matmul.WIDE_FORWARD, matmul.Tiling(64, 64, 4, 4, 32)),
    matmul.Tiling(128, 64, 8, 4, 16),
)

CONSTANTS = (
    Constant(matmul, "SMALL_WORK", (OWN, CUBLAS), lambda backend: products(backend, LAYERS, ROWS)),
    Constant(matmul, "tiling_of", TILINGS, few_products),
    Constant(matmul, "WIDE_BLOCKS", (1, 16, 64, 128, 2**30), few_products),
    Constant(matmul, "BLOCKS", (32, 64, 128, 256, 512), few_products),
    Constant(matmul, "LEAST_STEP", (64, 128, 256, 512), few_products),
    Constant(sums, "CHUNK_ROWS", (256, 512, 1024, 2048, 4096, 8192), column_sums),
    Constant(sums, "SEGMENT", (2048, 4096, 8192, 16384, 65536), weighted_sums),
    Constant(launch, "THREADS", (64, 128, 256, 512, 1024), by_rows),
    Constant(launch, "MOST_BLOCKS_DOWN", (64, 256, 1024, 4096, 65535), by_rows),
    Constant(CHOSEN, "FORM", launch.FORMS, forms),
    Constant(workspace, "APART_ELEMENTS", (0, 2**18, 2**22), steps, on_steps=True),
    Constant(recording, "SIDES", (1, 2, 3), steps, on_steps=True),
)


if __name__ == "__main__":
    main()
