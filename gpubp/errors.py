"""gpubp's exceptions, and the error for an unknown name.

This module imports nothing of gpubp but `kernels.messages`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from .kernels.messages import shown

__all__ = [
    "BackendUnavailableError",
    "CorruptFileError",
    "DivergenceError",
    "suggestion",
    "unknown_name",
]


class BackendUnavailableError(RuntimeError):
    """A backend that was named cannot run here; the message says what is missing."""


class CorruptFileError(ValueError):
    """A file is damaged, or is not what it should be; the message names it and says what is wrong."""


class DivergenceError(ArithmeticError, ValueError):
    """Training has diverged: the cost, the parameters or the gradients are no longer finite.

    The network has its last good parameters. It is a ValueError because scikit-learn raises one.

    Attributes
    ----------
    epoch : int
        The epoch of the divergence, counted from 0.
    history : History
        The record of the epochs before it.
    """

    def __init__(self, message: str, epoch: int, history: object) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.history = history

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.epoch, self.history)


def unknown_name(what: str, name: object, known: Iterable[str], of: str = "") -> ValueError:
    """Make an error that suggests the nearest known name, or lists all names if none is near.

    For example: "unknown activation 'rellu'; did you mean 'relu'?"; with `of`, "unknown parameter 'slop' of
    activation 'leaky_relu'; did you mean 'slope'?".
    """
    known = sorted(known)
    hint = suggestion(name, known) or (f"known: {', '.join(known)}" if known else "there are none")
    return ValueError(f"unknown {what} {shown(name)}{of and f' of {of}'}; {hint}")


def suggestion(name: object, known: Iterable[str]) -> str:
    """Return the question "did you mean 'relu'?" with the nearest known name, or "" if none is near."""
    if name is None:
        return ""
    near = difflib.get_close_matches(shown(name).strip("'"), sorted(known), n=1)
    return f"did you mean {near[0]!r}?" if near else ""
