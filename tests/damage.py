"""Damage to safetensors files: accidents such as flips and cuts, and headers that somebody made up.

`mutations(content, rng)` yields damaged files without end. Half of them are built from the file without its
checksums, so that the checks behind the checksums are reached.
"""

from __future__ import annotations

import json
import os
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from traced import traced_memory

Rng = np.random.Generator
Mutator = Callable[[bytes, Rng], bytes]


MOST_MEMORY = 32 * 2**20
"""The most bytes that a trial of a small file may need."""


@dataclass(frozen=True)
class Damaged:
    """A damaged file.

    Attributes
    ----------
    kind : str
        What was done to it.
    content : bytes
        The first bytes of the file.
    size : int
        The size of the file; a hole follows the content.
    """

    kind: str
    content: bytes
    size: int

    def write(self, path: Path) -> None:
        path.write_bytes(self.content)
        os.truncate(path, self.size)


NO_HEADER = (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError)
"""What mutators of the header raise if there is none that they can change."""


def mutations(content: bytes, rng: Rng, mutators: Sequence[Mutator] = ()) -> Iterator[Damaged]:
    """Yield damaged forms of a whole safetensors file, the same for the same state of `rng`.

    They are made by all mutators, or by some.
    """
    mutators = mutators or MUTATORS
    originals = [content, without_checksum(content)]
    while True:
        changed, kinds = originals[rng.integers(2)], []
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            mutator = mutators[rng.integers(len(mutators))]
            try:
                changed = mutator(changed, rng)
            except NO_HEADER:  # an earlier mutation has broken it
                changed = flip_bits(changed, rng)
            kinds.append(mutator.__name__)
        size = len(changed)
        if rng.random() < 0.02:
            kinds.append("hole")
            changed, size = with_hole(changed, rng)
        yield Damaged(", ".join(kinds), changed, size)


# Parts of a file


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Split a file into its header and its data."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length].decode())
    return header, content[8 + length :]


def joined(header: Any, data: bytes) -> bytes:
    """Make a file; placeholders in the header become their text."""
    text = json.dumps(header)
    for mark, raw in RAW.items():
        text = text.replace(f'"{mark}"', raw)
    encoded = text.encode()
    return len(encoded).to_bytes(8, "little") + encoded + data


def without_checksum(content: bytes) -> bytes:
    header, data = split(content)
    header["__metadata__"].pop("checksum", None)
    return joined(header, data)


def with_hole(content: bytes, rng: Rng) -> tuple[bytes, int]:
    """Let the last tensor be huge, and the file too, without needing the disk; return the file's size."""
    hole = int(rng.choice([2**31, 2**33, 2**36]))
    try:
        header, data = split(content)
        last = header[list(header)[-1]]
        start = int(last["data_offsets"][0])
        rows = [hole // 4] if rng.random() < 0.5 else [hole // 400, 100]
        last |= {"shape": rows, "data_offsets": [start, start + 4 * int(np.prod(rows))]}
        content = joined(header, data)
        size = len(content) - len(data) + last["data_offsets"][1]
    except NO_HEADER:
        size = 0
    return content, size if len(content) < size < 2**40 else len(content) + hole


# Accidents: the file is bytes


def flip_bits(content: bytes, rng: Rng) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.integers(1, 9)):
        if changed:
            changed[rng.integers(len(changed))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def overwrite(content: bytes, rng: Rng) -> bytes:
    start = int(rng.integers(len(content) + 1))
    count = int(rng.integers(1, 64))
    new = rng.bytes(count) if rng.random() < 0.5 else bytes(count)
    return content[:start] + new + content[start + count :]


def cut(content: bytes, rng: Rng) -> bytes:
    return content[: rng.integers(len(content) + 1)]


def extend(content: bytes, rng: Rng) -> bytes:
    return content + rng.bytes(int(rng.choice([1, 4, 8, 1000])))


def flip_data(content: bytes, rng: Rng) -> bytes:
    """Flip bits of tensors only."""
    header, data = split(content)
    return joined(header, flip_bits(data, rng))


def splice(content: bytes, rng: Rng) -> bytes:
    """Remove a piece, or put it elsewhere as well."""
    a, b, c = sorted(int(place) for place in rng.integers(len(content) + 1, size=3))
    return (
        content[:a] + content[b:]
        if rng.random() < 0.5
        else content[:c] + content[a:b] + content[c:]
    )


def change_length(content: bytes, rng: Rng) -> bytes:
    length = int.from_bytes(content[:8], "little")
    near = [length + int(step) for step in (-8, -1, 1, 8) if 0 <= length + step < 2**64]
    odd = [0, 1, 2, len(content), len(content) - 8, 2**20, 2**31, 2**32, 2**63, 2**64 - 1, *near]
    chosen = max(0, odd[rng.integers(len(odd))])
    return chosen.to_bytes(8, "little") + content[8:]


def odd_numbers(content: bytes, rng: Rng) -> bytes:
    """Write NaN, infinity, or a huge or tiny number over a place of the data."""
    values = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, 1e308, 5e-324]
    dtype = "<f4" if rng.random() < 0.5 else "<f8"
    with np.errstate(over="ignore"):
        number = np.array(values[rng.integers(len(values))], dtype).tobytes()
    place = max(0, len(content) - len(number) * int(rng.integers(1, 20)))
    return content[:place] + number + content[place + len(number) :]


# Headers that somebody made up

RAW = {
    "@nan": "NaN",
    "@infinity": "-Infinity",
    "@1e999": "1e999",
    "@digits": "1" * 5000,
    "@deep list": "[" * 5000 + "]" * 5000,
    "@deep object": '{"a":' * 900 + "1" + "}" * 900,
    "@not quite deep": "[" * 300 + "]" * 300,
    "@surrogate": '"\\ud800"',
    "@twice": '{"a": 1, "a": 2}',
}
"""What Python's objects cannot hold, or not quickly, by the placeholders in headers."""

ODD_VALUES: list[Any] = [
    *RAW, None, True, False, -1, 0, 1, 2, 3, 2**31, 2**32 - 1, 2**53, 2**62, 2**63, 2**64, -(2**63), 10**40,
    0.5, -0.0, 1.0, 1e308, 5e-324, "", "1", "é\0\n\x1b[31m", "漢" * 1000, "x" * 100_000, "../../etc/passwd",
    "__metadata__", "relu", "softmax", "elu", "cross_entropy", "quadratic", "float64", "F64", "BOOL",
    [], [0], [1] * 40, [[]], [3, 4], [2**40] * 3, {}, {"name": "elu", "parameters": {"alpha": 1e300}},
    {"a": {"b": {}}},
]  # fmt: skip


def edit_header(content: bytes, rng: Rng) -> bytes:
    return _edited(content, rng, lambda header: _change_somewhere(header, rng))


def edit_metadata(content: bytes, rng: Rng) -> bytes:
    """Change the JSON within an entry of the metadata."""

    def change(header: dict[str, Any]) -> None:
        metadata = header["__metadata__"]
        name = _any_of(list(metadata), rng)
        described = json.loads(metadata[name])
        _change_somewhere(described, rng)
        text = json.dumps(described)
        for mark, raw in RAW.items():
            text = text.replace(f'"{mark}"', raw)
        metadata[name] = text

    return _edited(content, rng, change)


def swap_entries(content: bytes, rng: Rng) -> bytes:
    """Exchange dtype, shape or place of two tensors, or all of them."""

    def change(header: dict[str, Any]) -> None:
        a, b = rng.choice([name for name in header if name != "__metadata__"], 2, replace=False)
        parts = list(header[a]) if rng.random() < 0.5 else [_any_of(list(header[a]), rng)]
        for part in parts:
            header[a][part], header[b][part] = header[b][part], header[a][part]

    return _edited(content, rng, change)


def change_dtype(content: bytes, rng: Rng) -> bytes:
    """Change the dtype of a tensor, often with a shape that has as many bytes."""

    def change(header: dict[str, Any]) -> None:
        entry = header[_any_of([name for name in header if name != "__metadata__"], rng)]
        sizes = {
            "F64": 8,
            "F32": 4,
            "F16": 2,
            "BF16": 2,
            "I64": 8,
            "I32": 4,
            "U8": 1,
            "BOOL": 1,
            "C64": 8,
        }
        entry["dtype"] = _any_of(list(sizes), rng)
        if rng.random() < 0.7:
            start, stop = entry["data_offsets"]
            entry["shape"] = [(stop - start) // sizes[entry["dtype"]]]

    return _edited(content, rng, change)


def reshape(content: bytes, rng: Rng) -> bytes:
    def change(header: dict[str, Any]) -> None:
        entry = header[_any_of([name for name in header if name != "__metadata__"], rng)]
        shape = entry["shape"]
        choices = [
            shape[::-1],
            [1, *shape],
            [*shape, 1],
            [int(np.prod(shape))],
            [0, *shape],
            [-1, -4],
        ]
        entry["shape"] = choices[rng.integers(len(choices))]

    return _edited(content, rng, change)


def repeat_key(content: bytes, rng: Rng) -> bytes:
    """Write an entry of the header twice: parsers disagree on which one counts."""
    header, data = split(content)
    name = _any_of(list(header), rng)
    again = json.dumps({name: header[name]})[1:-1]
    text = (json.dumps(header)[:-1] + f", {again}}}").encode()
    return len(text).to_bytes(8, "little") + text + data


def _edited(content: bytes, rng: Rng, change: Callable[[dict[str, Any]], None]) -> bytes:
    header, data = split(content)
    change(header)
    return joined(header, data)


def _change_somewhere(value: Any, rng: Rng) -> None:
    """Replace, remove, rename or add an entry at a random place of nested lists and dicts."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = _any_of(keys, rng)
        if isinstance(value[key], dict | list) and value[key] and rng.random() < 0.7:
            value = value[key]
            continue
        break
    action, odd = rng.integers(5), ODD_VALUES[rng.integers(len(ODD_VALUES))]
    if action == 0:
        del value[key]
    elif action == 1 and isinstance(value, dict):
        value[odd if isinstance(odd, str) else "other"] = value.pop(key)
    elif action == 2 and isinstance(value, dict):
        value["surplus"] = odd
    elif action == 3 and isinstance(value, list):
        value.append(odd)
    else:
        value[key] = odd


def _any_of(choices: list[Any], rng: Rng) -> Any:
    if not choices:
        raise ValueError("there is nothing to choose from")
    return choices[rng.integers(len(choices))]


MUTATORS: list[Mutator] = [
    flip_bits,
    overwrite,
    cut,
    extend,
    splice,
    change_length,
    odd_numbers,
    edit_header,
    edit_header,
    edit_metadata,
    edit_metadata,
    edit_metadata,
    swap_entries,
    change_dtype,
    reshape,
    repeat_key,
]
"""All mutators. Those with the most possible results are drawn more often."""


# A trial


def try_damage(
    folder: Path,
    content: bytes,
    count: int,
    seed: int,
    load: Callable[[Path], None],
    mutators: Sequence[Mutator] = (),
) -> None:
    """Load damaged files; check the errors, the memory, and that the folder is unchanged."""
    path, results, slowest, most = folder / "f", Counter[str](), 0.0, 0
    with traced_memory():
        for damaged in islice(mutations(content, np.random.default_rng(seed), mutators), count):
            damaged.write(path)
            before = path.stat()
            tracemalloc.reset_peak()
            start, held = time.perf_counter(), tracemalloc.get_traced_memory()[0]
            try:
                load(path)
                results["loaded"] += 1
            except ValueError as error:
                results[type(error).__name__] += 1
                assert str(path) in str(error), damaged.kind
                assert len(str(error)) <= 300, damaged.kind
                assert "\n" not in str(error), damaged.kind
            slowest = max(slowest, time.perf_counter() - start)
            most = max(most, tracemalloc.get_traced_memory()[1] - held)
            assert most < MOST_MEMORY, damaged.kind
            after = path.stat()
            assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
            assert os.listdir(folder) == ["f"]
    print(f"{count} files: {dict(results)}; slowest {slowest:.2f} s, memory {most / 2**20:.1f} MiB")
    assert results["CorruptFileError"] > count / 2
