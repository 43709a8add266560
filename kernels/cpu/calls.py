"""Calls of compiled kernels, bound to their arrays, and lists of such calls.

A captured step is a list of calls that runs from its first to its last call without Python. Its shards
therefore run at the same time; shards of NumPy calls would wait for the GIL after every call.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from typing import Any, cast

import numpy as np

from ..typing import Bound
from .build import base, kernel
from .source import address

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
    parts : tuple of Group
        The calls that this call runs, if it runs others.
    """

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.slots = np.zeros(SLOTS, np.uint64)
        self.slots[0] = ctypes.cast(function, ctypes.c_void_p).value or 0
        for k, argument in enumerate(arguments):
            self.slots[k + 1] = _slot(argument)
        self.held = arguments
        self.parts: tuple[Group, ...] = ()

    def __call__(self) -> None:
        Group([self])()


def _slot(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return address(value)
    if value is None:
        return 0
    if isinstance(value, float):
        return int(struct.unpack("Q", struct.pack("d", value))[0])
    return int(value) & 0xFFFFFFFFFFFFFFFF


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
    """Calls that run without Python between them, once or several times.

    Parameters
    ----------
    calls : list of Call
        The calls.

    Attributes
    ----------
    place : array of int64, shape (2,)
        The address of the calls' slots, and their number.
    """

    def __init__(self, calls: list[Call]) -> None:
        self._slots, self._calls = np.stack([call.slots for call in calls]), calls
        self.place = np.array([address(self._slots), len(calls)], np.int64)
        self._argument = ctypes.c_void_p(address(self.place))
        self._run, self._repeat = _runners(base())

    def __call__(self) -> None:
        self._run(self._argument)

    def repeat(self, times: int, seconds: float) -> int:
        """Run the calls at least once, and again up to `times` times or until so long; return how often."""
        if times == 1:
            self._run(self._argument)
            return 1
        nanoseconds = ctypes.c_int64(int(1e9 * seconds))
        return int(self._repeat(self._argument, ctypes.c_int64(times), nanoseconds))

    def passes(self, value: int) -> bool:
        """Whether a call, or a call within one, has this number or address as an argument."""
        parts = (part for call in self._calls for part in call.parts)
        return bool((self._slots[:, 1:] == value).any()) or any(p.passes(value) for p in parts)


@cache
def _runners(library: Any) -> tuple[Any, Any]:
    """Return a library's functions that run calls, once and repeatedly.

    Without argtypes they convert nothing. Only in the same library does run_shards find the threads that
    belong to them.
    """
    run, repeat = library.run_calls, library.run_repeated
    run.restype, repeat.restype = None, ctypes.c_int64
    return run, repeat


def joined(calls: Sequence[Bound]) -> tuple[Bound, ...]:
    """Join neighbouring `Call`s to a `Group`, which runs without Python in it; do not change others."""
    result: list[Bound] = []
    for are_compiled, some in groupby(calls, lambda call: isinstance(call, Call)):
        neighbours = list(some)
        result += [Group(cast("list[Call]", neighbours))] if are_compiled else neighbours
    return tuple(result)


def together(shards: Sequence[Sequence[Bound]], threads: int) -> Call | None:
    """Make one call that runs all shards at the same time; None unless each shard is one group.

    The shards run on native threads (shards.cpp), which spin for half a millisecond between steps. Calls
    that run at the same time have at most `threads` threads together.
    """
    groups: list[Group] = []
    for first, *more in shards:
        if more or not isinstance(first, Group):
            return None
        groups.append(first)
    call = Call(base().run_shards, np.stack([g.place for g in groups]), len(groups), threads)
    call.parts = tuple(groups)
    return call
