"""The header of a safetensors file: JSON that is checked against the size of the file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels.messages import shown

__all__ = [
    "CODES",
    "DTYPES",
    "LARGEST_HEADER",
    "Entry",
    "header_text",
    "parse_header",
    "parse_json",
]

LARGEST_HEADER = 2**20
"""The most bytes of a header. It describes 2,000 layers; made-up ones need little time and memory."""

MOST_NESTED = 100
"""The most levels of lists and objects in JSON. Functions may call themselves once for each level."""

DTYPES = {
    code: np.dtype(name)
    for code, name in {
        "F64": "float64", "F32": "float32", "F16": "float16",
        "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
        "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
    }.items()
}  # fmt: skip
"""The dtypes of tensors, by their names in the header."""

CODES = {dtype: code for code, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Entry:
    """What the header says of a tensor.

    Attributes
    ----------
    dtype : numpy.dtype
        The dtype.
    shape : tuple of int
        The shape.
    start, stop : int
        The place of its bytes, counted from the end of the header.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    stop: int


def header_text(metadata: Mapping[str, str], entries: Mapping[str, Entry]) -> bytes:
    """Make a header; its length is a multiple of 8 bytes, which aligns the data."""
    tensors = {
        name: {
            "dtype": CODES[entry.dtype],
            "shape": entry.shape,
            "data_offsets": [entry.start, entry.stop],
        }
        for name, entry in entries.items()
    }
    header = {"__metadata__": metadata, **tensors}
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def parse_header(text: str, size: int) -> tuple[dict[str, str], dict[str, Entry]]:
    """Check a header against the number of bytes that follow it; return metadata and entries."""
    header = parse_json(text)
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("its metadata is not a JSON object of strings")
    entries = {name: _parse_entry(name, entry) for name, entry in header.items()}
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].stop)):
        if entry.start != end:
            raise ValueError(f"the data of {name!r} begin at byte {entry.start}, expected {end}")
        end = entry.stop
    if end != size:
        raise ValueError(f"its tensors have {end} bytes, but {size} follow the header")
    return metadata, entries


def _parse_entry(name: str, entry: Any) -> Entry:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name!r} does not have exactly dtype, shape and data_offsets")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or code not in DTYPES:
        raise ValueError(f"{name!r} has dtype {shown(code)}, expected one of {', '.join(DTYPES)}")
    if not _are_sizes(shape, 32):
        raise ValueError(f"{name!r} has shape {shown(shape)}, expected at most 32 sizes")
    if not _are_sizes(offsets, 2) or len(offsets) < 2:
        raise ValueError(f"{name!r} has data_offsets {shown(offsets)}, expected two places")
    dtype = DTYPES[code]
    start, stop = offsets
    if math.prod(filter(None, shape)) * dtype.itemsize >= 2**63:  # more than NumPy can address
        raise ValueError(f"{name!r} has shape {tuple(shape)}, which is too large")
    if math.prod(shape) * dtype.itemsize != stop - start:
        raise ValueError(
            f"{name!r} of shape {tuple(shape)} and dtype {dtype} has {stop - start} bytes of data"
        )
    return Entry(dtype, tuple(shape), start, stop)


def _are_sizes(values: Any, most: int) -> bool:
    """Tell whether this is a list of at most so many whole numbers, 0 or more."""
    if not isinstance(values, list) or len(values) > most:
        return False
    return all(type(value) is int and 0 <= value < 2**63 for value in values)


def parse_json(text: str) -> Any:
    """Parse JSON of a file that is not trusted.

    Parameters
    ----------
    text : str
        The JSON.

    Returns
    -------
    object
        The value. Its numbers are finite, its integers have at most 50 digits, and its lists and objects
        are nested in at most `MOST_NESTED` levels.

    Raises
    ------
    ValueError
        If this is not JSON, has a key twice, is nested too deeply, or contains NaN, infinity or a larger
        integer.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=_whole_number,
            parse_float=_finite_number,
            parse_constant=_finite_number,
        )
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    _check_nesting(value, MOST_NESTED)
    return value


def _check_nesting(value: Any, levels: int) -> None:
    """Check that lists and objects are nested in at most so many levels."""
    if isinstance(value, dict | list):
        if not levels:
            raise ValueError("its JSON is nested too deeply")
        for entry in value.values() if isinstance(value, dict) else value:
            _check_nesting(entry, levels - 1)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"the key {key!r} occurs twice")
        values[key] = value
    return values


def _whole_number(digits: str) -> int:
    if len(digits) > 50:  # to convert thousands of digits takes long
        raise ValueError(
            f"the number {digits[:20]}... has {len(digits)} digits, expected at most 50"
        )
    return int(digits)


def _finite_number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits[:20]} is not finite")
    return number
