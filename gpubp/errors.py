"""Errors that are not plain ValueError or TypeError, and the sentence for a name that is unknown."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["BackendUnavailableError", "DivergenceError", "unknown_name"]


class BackendUnavailableError(RuntimeError):
    """A backend was asked for by name and cannot run here; the message says what is missing."""


class DivergenceError(ArithmeticError):
    """The cost stopped being finite during training.

    The network holds the last good parameters again; `epoch` and `history` tell how far it came.
    """

    def __init__(self, message: str, epoch: int, history: object) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.history = history


def unknown_name(what: str, name: object, known: Iterable[str]) -> ValueError:
    """'hidden: unknown activation 'rellu'; did you mean 'relu'?', or the list where none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"known: {', '.join(known)}" if known else "there are none"
    hint = f"did you mean {near[0]!r}?" if near else hint
    return ValueError(f"unknown {what} {name!r}; {hint}")
