"""Calls of compiled kernels, bound to their arrays, and lists of them that run without Python.

A captured step becomes a list of calls which runs from end to end without Python. Two shards of it run
truly at the same time: NumPy calls would wait for the GIL after every one of them.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from ..typing import Bound
from .build import base, kernel

__all__ = ["Call", "bind", "joined", "together"]

SLOTS = 16
"""Of a call: its function and fifteen arguments (kernel.h)."""


class Call:
    """One compiled kernel bound to its arguments; to call it runs it.

    Parameters
    ----------
    function : ctypes function
        The kernel.
    *arguments : array, float, int, bool or None
        What it takes: the address of an array, a number, or null.

    Attributes
    ----------
    slots : array of uint64, shape (16,)
        The function and its arguments, as kernel.h reads them.
    held : tuple
        The arguments: slots hold only their addresses.
    """

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.slots = np.zeros(SLOTS, np.uint64)
        self.slots[0] = ctypes.cast(function, ctypes.c_void_p).value or 0
        for k, argument in enumerate(arguments):
            self.slots[k + 1] = _slot(argument)
        self.held = arguments

    def __call__(self) -> None:
        _runner()(self.slots.ctypes.data, 1)


def _slot(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return int(value.ctypes.data)
    if value is None:
        return 0
    if isinstance(value, float):
        return int(struct.unpack("Q", struct.pack("d", value))[0])
    return int(value) & 0xFFFFFFFFFFFFFFFF


@cache
def _runner() -> Any:
    run = base().run_calls
    run.argtypes, run.restype = (ctypes.c_void_p, ctypes.c_int64), None
    return run


def bind(name: str, dtype: Any, *arguments: Any, text: str = "") -> Call | None:
    """Bind the kernel for float32 or float64; None where there is no compiled one.

    Parameters
    ----------
    name : str
        The kernel's name in its text.
    dtype : dtype
        Of its arrays.
    *arguments : array, float, int, bool or None
        What it takes.
    text : str
        The C++ text that it is compiled of; "" for the kernels of every machine.
    """
    function = kernel(name, dtype, text)
    return None if function is None else Call(function, *arguments)


class _Group:
    """Several calls, made in one go."""

    def __init__(self, calls: list[Call]) -> None:
        self._slots = np.stack([call.slots for call in calls])
        self._calls = calls
        self.address, self.count = int(self._slots.ctypes.data), len(calls)
        self._run = _runner()

    def __call__(self) -> None:
        self._run(self.address, self.count)


def joined(calls: Sequence[Bound]) -> tuple[Bound, ...]:
    """The same calls; neighbours that are `Call`s are made in one go, without Python between them."""
    result: list[Bound] = []
    group: list[Call] = []

    def close() -> None:
        if len(group) > 1:
            result.append(_Group(group.copy()))
        else:
            result.extend(group)
        group.clear()

    for call in calls:
        if isinstance(call, Call):
            group.append(call)
        else:
            close()
            result.append(call)
    close()
    return tuple(result)


def together(shards: Sequence[Sequence[Bound]]) -> Call | None:
    """A call that runs each shard's calls in a thread of its own; None if Python takes part in one of them.

    The runtime's threads spin for half a millisecond between steps (shards.cpp).
    """
    groups: list[_Group] = []
    for first, *more in shards:
        if more or not isinstance(first, Call | _Group):
            return None
        groups.append(_Group([first]) if isinstance(first, Call) else first)
    table = np.array([(group.address, group.count) for group in groups], np.int64)
    call = Call(base().run_shards, table, len(groups))
    call.held = (table, groups)
    return call
