"""The progress of `gpubp bench`: what is measured now, and how long the rest will take."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence

__all__ = ["Progress", "in_words", "tell"]

TRUST = 10.0
"""Seconds after which the speed of this run counts as much as the costs that were measured before."""


class Progress:
    """Tells what a run does, and how long it will take.

    Parameters
    ----------
    stages : sequence of float
        The estimated seconds before the first line, and from each line to the next.
    show : callable
        A function that shows a line, such as `tell`.
    """

    def __init__(self, stages: Sequence[float], show: Callable[..., None]) -> None:
        self._stages, self._show = list(stages), show
        self._began, self._lines = time.monotonic(), 0

    def begin(self) -> None:
        """Tell how long the whole run will take."""
        seconds = sum(self._stages)
        ends = time.localtime(time.time() + seconds)
        until = time.strftime("%H:%M", ends)
        self._show(f"measuring for {in_words(seconds)}, until {until}", stays=True)

    def __call__(self, line: str) -> None:
        """Tell what begins now."""
        self._lines += 1
        count = max(len(self._stages) - 1, self._lines)
        left = in_words(self.left(time.monotonic() - self._began))
        self._show(f"{line} ({self._lines} of {count}, {left} left)")

    def left(self, elapsed: float) -> float:
        """Estimate the seconds that are left when the stages before the last line have taken `elapsed`."""
        done, rest = sum(self._stages[: self._lines]), sum(self._stages[self._lines :])
        return rest * (elapsed + TRUST) / (done + TRUST)


def in_words(seconds: float) -> str:
    """Say a time roughly: "about 40 seconds", "about 12 minutes"."""
    if seconds < 90:
        tens = max(10, 10 * round(seconds / 10))
        return f"about {tens} seconds"
    if seconds < 5400:
        return f"about {round(seconds / 60)} minutes"
    return f"about {seconds / 3600:.1f} hours"


def tell(line: str, *, stays: bool = False) -> None:
    """Show the progress: on a terminal in one line that changes, elsewhere in a new line each time.

    Parameters
    ----------
    line : str
        What to show; "" clears the line that changes.
    stays : bool, default False
        Whether the line stays when another one is shown.
    """
    if sys.stderr is None:
        return
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1  # a line that wraps could not be cleared
        ending = "\n" if stays else ""
        print(f"\r\033[K{line[:width]}", end=ending, file=sys.stderr, flush=True)
    elif line:
        print(line, file=sys.stderr, flush=True)
