"""A kernel's launch; devices that are exact examine it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .kernels import Kernel
from .memory import HOST, Allocation
from .streams import Fault, Status

if TYPE_CHECKING:
    from .runtime import Runtime

__all__ = ["Launch"]

MOST_COMPARED = 2**22
"""A launch on at most this many bytes runs twice, to find results that depend on the order of threads."""


class Launch(NamedTuple):
    """A kernel with its arguments, to be run on a device."""

    runtime: Runtime
    device: int
    kernel: Kernel
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared_bytes: int
    parameters: bytes

    def __call__(self) -> None:
        pieces = self._pieces()
        for piece in pieces:
            if piece.device not in (self.device, HOST):
                self._fail(Status.ILLEGAL_ADDRESS, f"an array of device {piece.device}")
        if not self.runtime.exact:
            self._run()
            return
        compares = sum(piece.size for piece in pieces) <= MOST_COMPARED
        before = [piece.contents.copy() for piece in pieces] if compares else []
        order_matters = self._run()
        for piece in pieces:
            if piece.is_damaged:
                what = f"out-of-bounds write beside an array of {piece.size} bytes"
                self._fail(Status.ILLEGAL_ADDRESS, what)
        if not compares or order_matters:
            return
        forwards = [piece.contents.copy() for piece in pieces]
        for piece, contents in zip(pieces, before, strict=True):
            piece.contents[:] = contents
        self._run(backwards=True)
        for piece, contents in zip(pieces, forwards, strict=True):
            if not np.array_equal(piece.contents, contents):
                what = f"race: an array of {piece.size} bytes depends on the order of threads or blocks"
                self._fail(Status.LAUNCH_FAILURE, what)

    def _run(self, backwards: bool = False) -> bool:
        """Run the kernel; return whether the order of threads may matter."""
        error, order_matters = self.kernel.run(
            *(self.grid, self.block, self.shared_bytes, self.parameters),
            exact=self.runtime.exact,
            backwards=backwards,
        )
        if error:
            status = {
                "illegal": Status.ILLEGAL_ADDRESS,
                "misaligned": Status.MISALIGNED_ADDRESS,
            }.get(error.split()[0], Status.LAUNCH_FAILURE)
            self._fail(status, error)
        return order_matters

    def _fail(self, status: int, what: str) -> None:
        raise Fault(status, f"{self.kernel.name}: {what}")

    def _pieces(self) -> list[Allocation]:
        """Find the memory that the parameters point to."""
        found = {}
        for address, first in self.kernel.words(self.parameters):
            piece = self.runtime.memory.find(address)
            if piece is not None and (first or piece.device in (self.device, HOST)):
                found[piece.address] = piece
        return list(found.values())
