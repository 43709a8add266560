"""Stand-ins for compiled libraries and lists of calls: the kernels run in the guest.

The guest gets all memory that calls can reach: whole arrays, not the parts that the calls name, because
kernels of columns read what lies behind the last row. What it has changed is then written back.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import re
import weakref
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpubp.backends.numpy import blas
from gpubp.kernels.cpu import ahead, build, calls, source
from gpubp.kernels.cpu.calls import Call, Group
from gpubp.kernels.cpu.texts import base_text
from gpubp.kernels.typing import Array

from .process import Guest, GuestError, number, text
from .targets import TARGETS

__all__ = ["GUESTS", "Guests", "Library", "guests_of"]

OF_SOURCES = {"gather": 2, "columns_gather": 2, "gather_int64": 2, "check_rows": 2,
              "sparse_product": 5, "sparse_gradient": 5}  # fmt: skip
"""The kernels whose first argument is the slots of a `Source`, and how many of the slots may be addresses;
the third is the stride."""
STRIDE = 2
WORD = 8
PREFIX = re.compile("^[a-z0-9]+_[0-9a-f]{16}_")
"""The start of a name in a library that was built ahead."""
FOLDER = "GPUBP_TEST_GUEST_AHEAD"

ADDRESS = source.address
"""The function as it was before `Guests.install`."""


GUESTS = pytest.StashKey["Guests"]()


def guests_of(config: pytest.Config) -> Guests | None:
    """Return the guest of this session; None if the kernels run in this process."""
    return config.stash.get(GUESTS, None)


class Library:
    """A stand-in for a `ctypes.CDLL`. A function of it is a number that stands for an address."""

    def __init__(self, guests: Guests, path: Path) -> None:
        self._guests, self._path = guests, path

    def __getattr__(self, name: str) -> ctypes.c_void_p:
        function = self._guests.function(str(self._path), name)
        setattr(self, name, function)
        return function

    def call(self, name: str, *arguments: Any) -> None:
        """Call a kernel without the runtime, which would take denormal numbers to be 0."""
        self._guests.call(getattr(self, name), *arguments)


class Guests:
    """All that stands for compiled kernels in this process.

    Parameters
    ----------
    target : str
        A name in TARGETS.
    """

    def __init__(self, target: str) -> None:
        self.target = TARGETS[target]
        self._guest = Guest(self.target)
        self._numbers = itertools.count(0x7FFF_0000_0000_0000, 16)
        self._functions: dict[int, tuple[str, str]] = {}
        self._numbers_of: dict[tuple[str, str], int] = {}
        self._owners: dict[int, weakref.ref[Array]] = {}
        self._runtime = "", ""  # the library, and the start of its names
        self._beside: tuple[str, ...] = ()  # the flags of what is compiled beside a library
        for name, address in zip(("sgemm", "dgemm"), blas.addresses(), strict=True):
            self._functions[address] = "", name

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Put stand-ins in the places of compiled libraries, until `patch` is undone."""
        patch.setattr(build, "_stored", self._load)
        if folder := os.environ.get(FOLDER):
            patch.setattr(ahead, "find", partial(self._find, Path(folder)))
        patch.setattr(source, "address", self._address)
        patch.setattr(calls, "address", self._address)
        patch.setattr(calls, "_runners", lambda library: (None, None))

        def once(group: Group) -> None:
            self._run(group, 1, 0.0)

        def repeat(group: Group, times: int, seconds: float) -> int:
            return self._run(group, times, seconds)

        patch.setattr(Group, "__call__", once)
        patch.setattr(Group, "repeat", repeat)
        for function in (build._base, build._library):
            function.cache_clear()

    def library(self, codes: list[str]) -> Library:
        """Compile the whole texts of a library for the guest."""
        return Library(self, self.target.library(codes, self._beside))

    def function(self, library: str, name: str) -> ctypes.c_void_p:
        """Return the number of a function of the guest's.

        Raises
        ------
        AttributeError
            If the library has no such function.
        """
        key = library, name
        if key not in self._numbers_of:
            with self._guest.asking(number(0), text(library), text(name)) as answer:
                exists = answer.read_number()
            if not exists:
                raise AttributeError(f"{library}: undefined symbol: {name}")
            self._numbers_of[key] = next(self._numbers)
            self._functions[self._numbers_of[key]] = key
        return ctypes.c_void_p(self._numbers_of[key])

    def call(self, function: ctypes.c_void_p, *arguments: Any) -> None:
        """Call a kernel without the runtime."""
        self._ask(Group([Call(function, *arguments)]), ("", ""), 1, 0.0)

    def end(self) -> None:
        self._guest.end()

    def _load(self, codes: list[str]) -> tuple[Any, str]:
        library = self.library(codes)
        if any("run_calls" in code for code in codes):
            self._runtime = str(library._path), ""
        return library, f"for a guest, stored in {library._path.parent}"

    def _find(self, folder: Path, text: str) -> ahead.Kernels | None:
        """Find the kernels of a text in a library that was built ahead, as `ahead.find` does."""
        record = ahead.Record(**json.loads((folder / ahead.RECORD).read_text(encoding="utf-8")))
        key = ahead.key_of(text)
        if key not in record.keys:
            return None
        variants = ahead.VARIANTS[record.machine]
        variant = os.environ.get("GPUBP_PROCESSOR") or next(iter(variants))
        self._beside = variants[variant]
        path, prefix = folder / record.file, ahead.prefix(variant, key)
        if text == base_text():
            self._runtime = str(path), prefix
        return ahead.Kernels(Library(self, path), prefix)

    def _address(self, array: Array) -> int:
        """Return an array's address, and note whose memory it is in."""
        value, owner = ADDRESS(array), _owner(array)

        def forget(reference: weakref.ref[Array]) -> None:
            if self._owners.get(value) is reference:
                del self._owners[value]

        self._owners[value] = weakref.ref(owner, forget)
        return value

    def _run(self, group: Group, times: int, seconds: float) -> int:
        return self._ask(group, self._runtime, times, seconds)

    def _ask(self, group: Group, runtime: tuple[str, str], times: int, seconds: float) -> int:
        reached = _Reached(self._functions, self._owners)
        reached.add_group(group)
        request = [number(1), number(len(reached.functions))]
        for value in reached.functions:
            request += [number(value), *map(text, self._functions[value])]
        pieces = list(_joined(reached.ranges))
        request.append(number(len(pieces)))
        for first, end in pieces:
            request += [number(first), number(end - first), ctypes.string_at(first, end - first)]
        request += [number(len(reached.words)), *map(number, reached.words), *map(text, runtime)]
        request += [*map(number, (ADDRESS(group.place), times, int(1e9 * seconds)))]
        with self._guest.asking(*request) as answer:
            done = answer.read_number()
            while size := answer.read_number():
                first = answer.read_number()
                ctypes.memmove(first, answer.read(size), size)
        return done


class _Reached:
    """What calls can reach: `ranges` of addresses, the `words` there that are addresses, `functions`."""

    def __init__(
        self, functions: dict[int, tuple[str, str]], owners: dict[int, weakref.ref[Array]]
    ) -> None:
        self._functions, self._owners = functions, owners
        self.ranges: set[tuple[int, int]] = set()
        self.words: set[int] = set()
        self.functions: set[int] = set()

    def add_group(self, group: Group) -> None:
        self._add(group.place)
        self._add(group._slots)
        self.words.add(ADDRESS(group.place))
        for slots, call in zip(group._slots, group._calls, strict=True):
            self._add_call(ADDRESS(slots), int(slots[0]), call)

    def _add_call(self, slots: int, function: int, call: Call) -> None:
        self._add_function(slots, function)
        name = PREFIX.sub("", self._functions[function][1])
        for k, argument in enumerate(call.held):
            if isinstance(argument, np.ndarray):
                self._add(argument)
                self.words.add(slots + WORD * (k + 1))
            elif name.startswith("matmul_") and k == 0:
                self._add_function(slots + WORD, argument)
        plain = name.removesuffix("_float").removesuffix("_double")
        if plain in OF_SOURCES:
            self._add_source(call.held[0], OF_SOURCES[plain])
        if call.parts:
            places = call.held[0]
            self.words.update(map(ADDRESS, places))
            for part in call.parts:
                self.add_group(part)

    def _add_function(self, word: int, function: int) -> None:
        self.words.add(word)
        self.functions.add(function)

    def _add_source(self, slots: Array, count: int) -> None:
        for k in range(count):
            if k == STRIDE or not slots[k]:
                continue
            owner = self._owners.get(int(slots[k]), lambda: None)()
            if owner is None:
                raise GuestError(f"slot {k} of a source is the address of no array")
            self._add(owner)
            self.words.add(ADDRESS(slots[k:]))

    def _add(self, array: Array) -> None:
        owner = _owner(array)
        first = ADDRESS(owner)
        lengths = [(n - 1) * step for n, step in zip(owner.shape, owner.strides, strict=True)]
        if not owner.size:
            self.ranges.add((first, first + 1))
            return
        begin, last = (
            first + sum(min(0, n) for n in lengths),
            first + sum(max(0, n) for n in lengths),
        )
        self.ranges.add((begin, last + owner.itemsize))


def _owner(array: Array) -> Array:
    """Return the array whose memory this one is a part of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _joined(ranges: Iterable[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """Join ranges that overlap: arrays of one buffer of another library may."""
    first, end = 0, 0
    for begin, stop in sorted(ranges):
        if begin < end:
            end = max(end, stop)
            continue
        if end:
            yield first, end
        first, end = begin, stop
    if end:
        yield first, end
