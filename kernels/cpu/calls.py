"""Calls of compiled kernels, bound to their arrays, and lists of such calls.

A captured step is a list of calls that runs from its first to its last call without Python. Its shards
therefore run at the same time; shards of NumPy calls would wait for the GIL after every call.
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

__all__ = ["Call", "Group", "bind", "joined", "together"]

SLOTS = 16
"""The slots of a call: one for its function and fifteen for arguments (kernel.h)."""


class Call:
    """A compiled kernel bound to its arguments. Calling it runs the kernel.

    Parameters
    ----------
    function : ctypes function
        The kernel.
    *arguments : array, float, int, bool or None
        The kernel's arguments. It gets the address of an array, the number, or null for None.

    Attributes
    ----------
    slots : array of uint64, shape (16,)
        The function and its arguments, as kernel.h reads them.
    held : tuple
        References to the arguments, which keep the arrays alive: slots hold only their addresses.
    """

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.slots = np.zeros(SLOTS, np.uint64)
        self.slots[0] = ctypes.cast(function, ctypes.c_void_p).value or 0
        for k, argument in enumerate(arguments):
            self.slots[k + 1] = _slot(argument)
        self.held = arguments

    def __call__(self) -> None:
        self.repeat(1, 0.0)

    def repeat(self, times: int, seconds: float) -> int:
        """Run the kernel again and again, as `Group.repeat` does."""
        return int(_runner()(self.slots.ctypes.data, 1, times, int(1e9 * seconds)))


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
    run = base().run_repeated
    run.argtypes, run.restype = (ctypes.c_void_p, *(ctypes.c_int64,) * 3), ctypes.c_int64
    return run


def bind(name: str, dtype: Any, *arguments: Any, text: str = "") -> Call | None:
    """Bind the kernel for float32 or float64.

    Parameters
    ----------
    name : str
        The kernel's name in its text.
    dtype : dtype
        The dtype of the kernel's arrays.
    *arguments : array, float, int, bool or None
        The kernel's arguments.
    text : str, default ""
        The C++ text that holds the kernel; "" for a kernel of the base library.

    Returns
    -------
    Call or None
        The bound call; None if there is no compiled kernel.
    """
    function = kernel(name, dtype, text)
    return None if function is None else Call(function, *arguments)


class Group:
    """Calls that run without Python between them, once or several times."""

    def __init__(self, calls: list[Call]) -> None:
        self._slots = np.stack([call.slots for call in calls])
        self._calls = calls
        self.address, self.count = int(self._slots.ctypes.data), len(calls)
        self._run = _runner()

    def __call__(self) -> None:
        self._run(self.address, self.count, 1, 0)

    def repeat(self, times: int, seconds: float) -> int:
        """Run the calls again and again, and return how often: `times` times, or fewer if that takes longer."""
        return int(self._run(self.address, self.count, times, int(1e9 * seconds)))


def joined(calls: Sequence[Bound]) -> tuple[Bound, ...]:
    """Join neighbouring `Call`s, which then run without Python between them; do not change others."""
    result: list[Bound] = []
    group: list[Call] = []

    def close() -> None:
        if len(group) > 1:
            result.append(Group(group.copy()))
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


def together(shards: Sequence[Sequence[Bound]], threads: int) -> Call | None:
    """Make one call that runs all shards at the same time; None unless each shard is one call or group.

    The shards run on native threads (shards.cpp), which spin for half a millisecond between steps. Calls
    that run at the same time have at most `threads` threads together.
    """
    groups: list[Group] = []
    for first, *more in shards:
        if more or not isinstance(first, Call | Group):
            return None
        groups.append(Group([first]) if isinstance(first, Call) else first)
    table = np.array([(group.address, group.count) for group in groups], np.int64)
    call = Call(base().run_shards, table, len(groups), threads)
    call.held = (table, groups)
    return call
