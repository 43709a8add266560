"""Values in a checkpoint: what is JSON, and what is a tensor."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..files import parse_json
from ..files.header import CODES
from ..kernels.messages import shown

__all__ = ["as_read", "check_values", "plain", "restored", "taken_out"]

_FLOAT = "__float__"


def plain(value: Any) -> Any:
    """Convert to what JSON has. It has no infinity and no NaN, which the lowest cost so far may be.

    Raises
    ------
    TypeError
        If the name of an entry is not a text: JSON would make it one.
    """
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind in "biu":  # no entry has to be looked at: a generator's state has 624
            return value.tolist()
        value = value.tolist()
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):
                raise TypeError(f"an entry has the name {shown(name)}, expected a text")
        return {name: plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: str(value)}
    return value


def restored(value: Any) -> Any:
    """Undo `plain`; tuples and arrays stay lists."""
    if isinstance(value, dict):
        if set(value) == {_FLOAT}:
            return float(value[_FLOAT])
        return {name: restored(entry) for name, entry in value.items()}
    return [restored(entry) for entry in value] if isinstance(value, list) else value


def as_read(owner: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `owner` as a checkpoint gives them back, else raise a TypeError."""
    try:
        read: dict[str, Any] = restored(json.loads(json.dumps(plain(dict(value)))))
    except TypeError:
        raise TypeError(
            f"the arguments of {owner} are {shown(dict(value))}, expected numbers, text and arrays"
        ) from None
    return read


def check_values(owner: str, state: Mapping[str, Any]) -> None:
    """Check that a file can hold the state of a schedule or callback, else raise a TypeError."""
    arrays: dict[str, Any] = {}
    try:
        parse_json(json.dumps(plain(taken_out("", state, arrays))))
        fits = all(array.dtype.newbyteorder("=") in CODES for array in arrays.values())
    except (TypeError, ValueError, RecursionError):
        fits = False
    if not fits or not all(isinstance(name, str) for name in state):
        raise TypeError(
            f"the state of {owner} is {shown(dict(state))}, expected numbers, text and arrays"
        )


def taken_out(prefix: str, state: Mapping[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
    """Move the arrays of a state to `arrays`; return the rest of the state."""
    taken = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
    arrays |= {f"{prefix}.{name}": array for name, array in taken.items()}
    return {name: value for name, value in state.items() if name not in taken}
