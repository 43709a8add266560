"""gpubp's exceptions, and the error for an unknown name.

This module imports nothing of gpubp but `kernels.messages` and `synonyms`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from .kernels.messages import shown
from .synonyms import our_argument, our_name

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
    """Make an error that tells gpubp's name or the nearest one, or lists all names if none is near.

    For example: "unknown activation 'rellu'; did you mean 'relu'?" and "unknown activation 'swish'; gpubp
    calls it 'silu'"; with `of`, "unknown parameter 'slop' of activation 'leaky_relu'; did you mean
    'slope'?".
    """
    known = sorted(known)
    listed = f"known: {', '.join(known)}" if known else "there are none"
    hint = suggestion(name, known, what) or listed
    return ValueError(f"unknown {what} {shown(name)}{of and f' of {of}'}; {hint}")


def suggestion(name: object, known: Iterable[str], what: str = "") -> str:
    """Return what the user may have meant, or "" if no known name is near.

    Parameters
    ----------
    name : object
        The name that is not known.
    known : iterable of str
        The known names.
    what : str, default ""
        The kind of the names, if other libraries' names are known for it: "activation", for example, or
        "parameter".

    Returns
    -------
    str
        "gpubp calls it 'silu'" or "did you mean 'relu'?", for example.
    """
    known = sorted(known)
    if isinstance(name, str):
        ours = our_argument(name, known) if what == "parameter" else ()
        ours = ours or [n for n in [our_name(what, name, known)] if n]
        if ours:
            return f"gpubp calls it {ours[0]!r}"
    if name is None:
        return ""
    written = shown(name).strip("'")
    near = [
        n for text in (written, written.lower()) for n in difflib.get_close_matches(text, known, 1)
    ]
    return f"did you mean {near[0]!r}?" if near else ""
