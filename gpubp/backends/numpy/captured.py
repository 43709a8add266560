"""A captured step on the CPU: a list of bound calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...kernels.cpu.calls import Group
from ...kernels.cpu.source import Source
from ...kernels.typing import Bound
from ...signals import uninterrupted
from .blas import addresses
from .blas_threads import single_threaded

__all__ = ["CapturedStep", "in_turn"]

SECONDS_TOGETHER = 0.005
"""How long replays go on without Python between them. A request to stop waits for their end."""


class CapturedStep:
    """A captured step. Calling it replays it; within another capture it is part of that.

    Parameters
    ----------
    calls : tuple of callable
        The calls of the step, one after another.
    sources : sequence of Source
        The sources of the rows that the calls read.
    do : callable
        A function that makes a call or, during a capture, records it.

    Attributes
    ----------
    is_compiled : bool
        Whether all calls are compiled.
    """

    def __init__(
        self, calls: tuple[Bound, ...], sources: Sequence[Source], do: Callable[[Bound], None]
    ) -> None:
        self._run, self._sources, self._do = in_turn(calls), sources, do
        self.is_compiled = isinstance(self._run, Group)
        uses_blas = not isinstance(self._run, Group) or any(map(self._run.passes, addresses()))
        self._context = single_threaded if uses_blas else single_threaded.without_blas

    def __call__(self) -> None:
        self._do(self._replay)

    @uninterrupted
    def _replay(self) -> None:
        self.replay(1)

    def replay(self, most: int) -> int:
        """Replay the step once or, if it is compiled, again and again; return how often.

        The replays end after `most` times, or with the first that ends after SECONDS_TOGETHER. Call this
        within a function that is `uninterrupted`.
        """
        run, sources = self._run, self._sources
        with self._context:
            try:
                for source in sources:
                    source.refresh()
                if isinstance(run, Group):
                    return run.repeat(most, SECONDS_TOGETHER)
                run()
                return 1
            finally:
                for source in sources:
                    source.release()


def in_turn(calls: tuple[Bound, ...]) -> Bound:
    """Join calls to one call that runs them one after another."""
    if len(calls) == 1:
        return calls[0]

    def run() -> None:
        for call in calls:
            call()

    return run
