"""What has no room in memory says so in one sentence: how much it needs, and how much is free."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from environment import EXACT, ON_HOST

from gpubp import Network, Trainer, get_backend
from gpubp.backends import Backend
from gpubp.network import initializers
from gpubp.workspace import Block, Workspace

SIZES = (300, 400, 10)
PARAMETERS = 300 * 400 + 400 * 10 + 400 + 10
FREE = r"and [\d,]+\.\d MiB are free$"


def mib(size: int) -> str:
    return re.escape(f"{size / 2**20:,.1f} MiB")


def without_room(monkeypatch: pytest.MonkeyPatch, backend: Backend, name: str, limit: int) -> None:
    """Let the arrays of a backend's `empty` or `zeros` take at most `limit` bytes together."""
    make, taken = getattr(type(backend), name), 0

    def make_if_there_is_room(self: Backend, shape: Any, dtype: Any) -> Any:
        nonlocal taken
        taken += int(np.prod(shape)) * np.dtype(dtype).itemsize
        if taken > limit:
            raise MemoryError
        return make(self, shape, dtype)

    monkeypatch.setattr(type(backend), name, make_if_there_is_room)


def test_a_network_without_room_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(*arguments: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(initializers, "_drawn", draw)
    size = mib(PARAMETERS * 4 + 300 * 400 * 8)  # the parameters, and the draw of a layer in float64
    message = (
        r"^a network of sizes \(300, 400, 10\) has no room in memory, on numpy:"
        f" it needs at least {size}, {FREE}"
    )
    with pytest.raises(MemoryError, match=message):
        Network(SIZES)


def size_of(block: Block) -> int:
    """Add up the memory behind a block's arrays, some of which share it."""
    values = [getattr(block, item.name) for item in fields(block)]
    arrays = [
        array for value in values for array in (value if isinstance(value, list) else [value])
    ]
    owners = [getattr(array, "base", None) for array in arrays]
    arrays = [
        array if owner is None else owner for array, owner in zip(arrays, owners, strict=True)
    ]
    return sum({id(array): array.nbytes for array in arrays if hasattr(array, "nbytes")}.values())


@pytest.mark.parametrize("method", ["forward", "backprop"])
@pytest.mark.parametrize("precision", [None, "float16"])
def test_a_pass_that_keeps_every_result(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, method: str, precision: str | None
) -> None:
    """The error tells the size of the buffers that a pass with enough memory has."""
    network = Network(SIZES, backend=backend, seed=0, precision=precision)
    data = [np.zeros((500, SIZES[0]), np.float32), np.zeros((500, SIZES[-1]))]
    arguments = data if method == "backprop" else data[:1]
    sizes: list[int] = []
    allocate = Workspace._allocate

    def measured(self: Workspace, rows: int) -> Block:
        block = allocate(self, rows)
        sizes.append(size_of(block))
        return block

    with monkeypatch.context() as patched:
        patched.setattr(Workspace, "_allocate", measured)
        getattr(network, method)(*arguments)
    without_room(monkeypatch, backend, "empty", 500 * 400 * 2)
    message = (
        "^a pass over 500 rows that keeps every result, of a network of sizes"
        rf" \(300, 400, 10\), has no room in memory, on {network.backend.name}: it needs at least"
        f" {mib(sizes[0])}, {FREE}"
    )
    with pytest.raises(MemoryError, match=message):
        getattr(network, method)(*arguments)


def test_a_single_row(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network((3, 200_000, 2), backend=backend, seed=0)
    without_room(monkeypatch, backend, "empty", 200_000)
    message = (
        r"^a pass over a single row, of a network of sizes \(3, 200000, 2\), has no room in memory,"
        f" on {backend.name}: it needs at least {mib(200_000 * 4)}, {FREE}"
    )
    with pytest.raises(MemoryError, match=message):
        network.predict(np.zeros((4, 3)))


def test_the_output_of_many_rows(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network((3, 50), backend=backend, seed=0)
    without_room(monkeypatch, backend, "empty", 10_000 * 50)
    message = rf"^the output of 10000 rows, of .* at least {mib(10_000 * 50 * 4)}, {FREE}"
    with pytest.raises(MemoryError, match=message):
        network.predict(np.zeros((10_000, 3)))


def test_the_state_of_training(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(SIZES, backend=backend, seed=0)
    with monkeypatch.context() as patched:
        without_room(patched, backend, "zeros", PARAMETERS)
        message = (
            rf"^the gradient of a network of sizes \(300, 400, 10\) .* {mib(PARAMETERS * 4)}, "
        )
        with pytest.raises(MemoryError, match=message + FREE):
            Trainer(network)
    without_room(monkeypatch, backend, "zeros", PARAMETERS * 9)
    message = rf"^the optimizer's state of a network of sizes .* {mib(PARAMETERS * 8)}, {FREE}"
    with pytest.raises(MemoryError, match=message):
        Trainer(network, "adam")


@pytest.mark.skipif(
    ON_HOST is None or EXACT,
    reason="needs emulated devices, whose size can be set, and CuPy's pool",
)
def test_a_small_device(monkeypatch: pytest.MonkeyPatch, cuda_backend: Backend) -> None:
    """CuPy raises its own error here; nothing is replaced but the size of the device."""
    assert ON_HOST is not None
    memory = ON_HOST.runtime.memory
    network = Network((30, 200, 10), backend=cuda_backend, seed=0)
    cuda_backend.xp.get_default_memory_pool().free_all_blocks()
    monkeypatch.setattr(memory, "sizes", [memory.used[0] + 2**20, *memory.sizes[1:]])
    free = cuda_backend.free_memory()
    assert free is not None and 2**20 <= free < 2**28  # the pool keeps free parts of earlier tests
    needs = r"has no room in memory, on cupy: it needs at least {}, " + FREE
    wide = free // (1000 * 4) + 1
    message = "^a network of sizes .* " + needs.format(mib((1000 * wide + wide) * 4))
    with pytest.raises(MemoryError, match=message):
        Network((1000, wide), backend=cuda_backend, seed=0)
    rows = free // (30 * 4) + 1
    x = np.zeros((rows, 30), np.float32)
    message = rf"^an array of shape \({rows}, 30\) " + needs.format(mib(x.nbytes))
    with pytest.raises(MemoryError, match=message):
        network.predict(x)
    with pytest.raises(MemoryError, match=rf"^a pass over {rows // 8} rows .* no room .*, {FREE}"):
        network.forward(x[: rows // 8])
    assert network.predict(x[:10]).shape == (10, 10)


LIMITED = """
import resource
import numpy as np
from gpubp import Network
network = Network((1000, 1000, 10), backend="numpy", seed=0)
x = np.zeros((100_000, 1000), np.float32)
network.predict(x[:1])
mapped = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + 2**29, resource.RLIM_INFINITY))
try:
    network.forward(x)
except MemoryError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much memory is free")
def test_a_process_whose_memory_is_limited() -> None:
    """NumPy raises its own error here: `ulimit -v` leaves 512 MiB."""
    done = subprocess.run(
        (sys.executable, "-c", LIMITED), capture_output=True, text=True, check=True
    )
    size = (1000 + 2 * 1000 + 2 * 10) * 100_000 * 4  # x, then z and a of both layers
    found = re.fullmatch(
        r"a pass over 100000 rows that keeps every result, of a network of sizes \(1000, 1000, 10\), has"
        rf" no room in memory, on numpy: it needs at least {mib(size)}, and (\d+)\.\d MiB are free\n",
        done.stdout,
    )
    assert found is not None and 256 < int(found[1]) <= 512


def test_free_memory_is_less_than_the_machine_has() -> None:
    free = get_backend("numpy").free_memory()
    if free is not None:
        assert 2**20 < free < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
