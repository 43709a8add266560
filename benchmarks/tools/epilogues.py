"""List the products that cuBLASLt ends with the next operation on this device (backends/cupy/epilogues.py).

    python benchmarks/tools/epilogues.py
    python benchmarks/tools/epilogues.py 8192 4096

"1 launch" means that the epilogue computes all. "2 launches" means that a small one comes before, which
splits the biases. "none" means that there is no epilogue: what follows the product, if anything does, is
another kernel. Without a GPU the emulated cuBLASLt answers (tests/support), which goes by NVIDIA's tables.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from gpubp.backends.cupy import CupyBackend, cublas, cublaslt, open_cupy
from gpubp.kernels import ACTIVATIONS, PRECISIONS, Precision

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
from support import cupy_on_host


def main(rows: int, width: int) -> None:
    backend = open_backend()
    print(f"{backend.device}; {rows} rows, {width} inputs and outputs\n")
    print(f"{'':12}{'':12}{'forward':>12}{'backward':>12}{'gradients':>12}")
    with backend.use():
        for precision in (None, *PRECISIONS.values()):
            for name in ("identity", "relu", "gelu_tanh"):
                answers = ask(backend, name, precision, rows, width)
                format_name = precision.name if precision else "float32"
                print(f"{format_name:12}{name:12}{''.join(f'{a:>12}' for a in answers)}")


def ask(
    backend: CupyBackend, name: str, precision: Precision | None, rows: int, width: int
) -> list[str]:
    """Bind a layer's three products within a step, without running them."""
    activation, epilogues, xp = ACTIVATIONS[name], backend._epilogues, backend.xp
    assert epilogues is not None
    storage = "float32" if precision is None else precision.storage
    x, a, delta, out = (xp.empty((rows, width), storage) for _ in range(4))
    z = xp.empty((rows, width), "float32")
    w, gradient = xp.empty((width, width), storage), xp.empty((width, width), "float32")
    b = xp.empty(width, "float32")
    bound: list[Any] = []

    def step() -> None:
        reads_z = activation.reads == "z"
        forward = activation, x, w, b, z, a, precision, reads_z
        backward = activation, delta, w, z if reads_z else a, out, precision
        bound.append(epilogues.bind_forward(*forward))
        bound.append(epilogues.bind_backward(*backward))
        bound.append(epilogues.bind_gradients(delta, x, gradient, b, 0.0, precision))

    backend.capture(step)()
    return [
        "none" if call is None else "2 launches" if isinstance(call, partial) else "1 launch"
        for call in bound
    ]


def open_backend() -> CupyBackend:
    if not cupy_on_host.gpus()[0]:
        cuda = cupy_on_host.install()
        cuda.runtime.present, cuda.runtime.noted = True, []
        cublas.load_library = lambda: cuda.cublas
        cublaslt.load_library = lambda: cuda.cublaslt
    return open_cupy(fused=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="?", type=int, default=8192, help="of a batch (default 8192)")
    parser.add_argument("width", nargs="?", type=int, default=4096, help="(default 4096)")
    given = parser.parse_args()
    main(given.rows, given.width)
