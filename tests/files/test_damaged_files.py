"""Damaged and made-up files: each is a clear error, or a network whose parameters and shapes are right.

With GPUBP_TEST_LONG=1, 20,000 files of networks and 10,000 others are tried.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from damage import MOST_MEMORY, try_damage
from environment import rounds
from traced import traced_memory

import gpubp
from gpubp import CorruptFileError, Network
from gpubp.backends.numpy import NumpyBackend
from gpubp.files import TensorFile, write_tensors
from gpubp.files.header import LARGEST_HEADER
from gpubp.network import storage

BACKEND = NumpyBackend(compile=False)


def a_network(dtype: str) -> Network:
    return Network(
        (3, 4, 2),
        hidden=gpubp.get_activation("leaky_relu", slope=0.3),
        output="softmax",
        dropout=0.1,
        biases=[False, True],
        dtype=dtype,
        backend=BACKEND,
        seed=0,
    )


def load_and_use(path: Path) -> None:
    """Load a network; what loads must be whole, and must predict and be saved as any other network."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="cost .* is defined for outputs")
        net = Network.load(path, backend=BACKEND)
    shapes = [layer.weights.shape for layer in net.layers]
    assert shapes == [(n_out, n_in) for n_in, n_out in pairwise(net.sizes)]
    assert net.parameters.dtype == net.dtype
    assert np.isfinite(net.parameters).all()
    with np.errstate(all="ignore"):
        assert net.predict(np.ones((2, net.sizes[0]))).shape == (2, net.sizes[-1])
    storage.content(net)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_damaged_network_is_a_clear_error_or_a_whole_network(tmp_path: Path, dtype: str) -> None:
    a_network(dtype).save(tmp_path / "f")
    content = (tmp_path / "f").read_bytes()
    seed = {"float32": 1, "float64": 2}[dtype]
    try_damage(tmp_path, content, rounds(200, 10_000), seed, load_and_use)


def test_a_damaged_safetensors_file_is_a_clear_error_or_tensors(tmp_path: Path) -> None:
    tensors = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": np.arange(5, dtype="i4"),
        "c": np.zeros((0, 2), "f2"),
        "d": np.array(1, "u8"),
    }
    write_tensors(tmp_path / "f", tensors, {"text": "{}", "more": '["a", 1, {"b": null}]'})

    def load(path: Path) -> None:
        with TensorFile(path) as file:
            if sum(entry.stop - entry.start for entry in file.tensors.values()) > 2**20:
                raise CorruptFileError(f"{path} has more than the caller wants")
            read = file.read()
        assert {name: array.shape for name, array in read.items()} == {
            name: entry.shape for name, entry in file.tensors.items()
        }

    try_damage(tmp_path, (tmp_path / "f").read_bytes(), rounds(200, 10_000), 3, load)


def full_header(start: str, piece: str, end: str) -> bytes:
    """Make a file whose header repeats a piece, with its number, until it is as long as one may be."""
    text, k = [start], 0
    length = len(start) + len(end)
    while length < LARGEST_HEADER - 100:
        text.append(piece.replace("#", str(k)))
        length += len(text[-1])
        k += 1
    header = "".join([*text, end]).encode()
    return len(header).to_bytes(8, "little") + header


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "piece", "end"),
    [
        ('{"a":[', "[],", "1]}"),
        ('{"a":[', "{},", "1]}"),
        ('{"a":[', '"#",', "1]}"),
        ("{", '"#":0,', '"end":0}'),
        ("{", '"#":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},', '"end":0}'),
        ('{"a":{"dtype":"U8","data_offsets":[0,0],"shape":[', "9,", "9]}}"),
        ('{"__metadata__":{"gpubp":"1","network":"{\\"sizes\\":[', "1,", '1]}"}}'),
    ],
)
def test_the_longest_headers_need_little_memory(
    tmp_path: Path, start: str, piece: str, end: str
) -> None:
    (tmp_path / "f").write_bytes(full_header(start, piece, end))
    with traced_memory():
        with pytest.raises(CorruptFileError):
            Network.load(tmp_path / "f", backend=BACKEND)
        assert tracemalloc.get_traced_memory()[1] < 2 * MOST_MEMORY


WATCHED = """
import os
import sys
from itertools import islice
from pathlib import Path
import numpy as np
from damage import mutations
from gpubp import Network

folder, count = Path(sys.argv[1]), int(sys.argv[2])
content = (folder / "f").read_bytes()
Network.load(folder / "f", backend="numpy")
loading, events = False, set()
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

def watch(event, arguments):
    reads = event == "open" and arguments[0] == str(folder / "f") and not arguments[2] & WRITING
    if loading and not reads:
        events.add((event, repr(arguments)[:100]))

sys.addaudithook(watch)
for damaged in islice(mutations(content, np.random.default_rng(4)), count):
    damaged.write(folder / "f")
    loading = True
    try:
        Network.load(folder / "f", backend="numpy")
    except ValueError:
        pass
    loading = False
print(sorted(events))
"""


@pytest.mark.slow
def test_to_open_a_damaged_file_executes_and_writes_nothing(tmp_path: Path) -> None:
    """Python's audit events show files that are opened, and code that is compiled, imported or run."""
    a_network("float32").save(tmp_path / "f")
    tests = Path(__file__).resolve().parents[1]
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WATCHED, str(tmp_path), str(rounds(200, 2000))],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tests.parent), str(tests)])},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert found.stdout == "[]\n", found.stderr
