"""The memory of emulated devices. An access outside it, or after it was freed, is a fault."""

from __future__ import annotations

import bisect
import ctypes
import mmap
from collections import deque
from typing import NamedTuple

import numpy as np

__all__ = ["HOST", "Allocation", "Memory"]

HOST = -1
"""The device number that stands for page-locked memory of the host."""

ALIGNMENT = 256
"""The alignment of cudaMalloc's addresses, in bytes."""

NOTHING = 0xFF
"""The byte that fills fresh memory: NaN as a floating-point number, -1 as an integer."""

GIVEN_BACK_KEPT = 4096
"""How many freed pieces keep their addresses, so that an access to them is a fault."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long),
)
_libc.munmap.argtypes = ctypes.c_void_p, ctypes.c_size_t
_libc.mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
_libc.madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
_PROTECT_NONE, _MADVISE_DONT_NEED, _PAGE = 0, 4, mmap.PAGESIZE


class Allocation(NamedTuple):
    """A piece of memory. It ends where a page begins that nobody may touch.

    Attributes
    ----------
    device : int
        The device's number, or HOST.
    base, mapped : int
        The address of its pages, and their size in bytes, including the page that nobody may touch.
    """

    address: int
    size: int
    device: int
    base: int
    mapped: int

    @property
    def contents(self) -> np.ndarray:
        """The bytes of the piece, as a writable view."""
        return _bytes_at(self.address, self.size)

    @property
    def is_damaged(self) -> bool:
        """Whether anything was written to its pages outside the piece."""
        before = _bytes_at(self.base, self.address - self.base)
        end = self.address + self.size
        after = _bytes_at(end, self.base + self.mapped - _PAGE - end)
        return bool((before != NOTHING).any() or (after != NOTHING).any())


class Memory:
    """The memory of all devices, and the page-locked memory of the host.

    Parameters
    ----------
    sizes : list of int
        Bytes of each device.
    """

    def __init__(self, sizes: list[int]) -> None:
        self.sizes, self.used = sizes, [0] * len(sizes)
        self._starts: list[int] = []
        self._pieces: dict[int, Allocation] = {}
        self._given_back: deque[Allocation] = deque()

    def allocate(self, size: int, device: int) -> int | None:
        """Allocate a piece and return its address, or None if the device has too little memory left."""
        if device != HOST:
            if self.used[device] + size > self.sizes[device]:
                return None
            self.used[device] += size
        pages = -(-(size + ALIGNMENT) // _PAGE) * _PAGE
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        base = _libc.mmap(None, pages + _PAGE, protection, flags, -1, 0)
        if base in (None, ctypes.c_void_p(-1).value):
            return None
        _libc.mprotect(base + pages, _PAGE, _PROTECT_NONE)
        ctypes.memset(base, NOTHING, pages)
        address = (base + pages - size) // ALIGNMENT * ALIGNMENT
        self._pieces[address] = Allocation(address, size, device, base, pages + _PAGE)
        bisect.insort(self._starts, address)
        return int(address)

    def free(self, address: int) -> bool:
        """Free the piece that begins at this address; return whether there was one."""
        piece = self._pieces.pop(address, None)
        if piece is None:
            return False
        del self._starts[bisect.bisect_left(self._starts, address)]
        if piece.device != HOST:
            self.used[piece.device] -= piece.size
        _libc.madvise(piece.base, piece.mapped, _MADVISE_DONT_NEED)
        _libc.mprotect(piece.base, piece.mapped, _PROTECT_NONE)
        self._given_back.append(piece)
        if len(self._given_back) > GIVEN_BACK_KEPT:
            oldest = self._given_back.popleft()
            _libc.munmap(oldest.base, oldest.mapped)
        return True

    def find(self, address: int, size: int = 1) -> Allocation | None:
        """Find the piece that holds all of these bytes."""
        k = bisect.bisect_right(self._starts, address) - 1
        if k < 0:
            return None
        piece = self._pieces[self._starts[k]]
        return piece if address + size <= piece.address + piece.size else None


def _bytes_at(address: int, size: int) -> np.ndarray:
    return np.frombuffer((ctypes.c_char * size).from_address(address), np.uint8)
