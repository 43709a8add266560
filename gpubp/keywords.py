"""Tell a user which argument a wrong keyword stands for.

Python's own message for ``Adam(lr=0.1)`` ends with the name that was wrong. The one here says what is
right: "Adam has no argument 'lr'; did you mean 'learning_rate'?".
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import ParamSpec, TypeVar

from .kernels.messages import LONGEST, shown
from .synonyms import our_argument

__all__ = ["tells_keywords", "tells_keywords_of_call"]

_Arguments = ParamSpec("_Arguments")
_Class = TypeVar("_Class", bound=type)
_Result = TypeVar("_Result")

_CALLS: dict[str, tuple[str, ...]] = {}
"""The arguments of what is decorated here, by what a user writes: "Adam", "Trainer.fit"."""

_ELSEWHERE = (
    *("Network", "Trainer", "Trainer.fit", "Adam", "AdamW", "SGD", "RMSProp"),
    *("EarlyStopping", "Checkpoint"),
)
"""Where an argument is looked for that a call does not have."""


def tells_keywords(kind: _Class) -> _Class:
    """Make a class refuse an unknown keyword by naming the right one; its signature stays as it is.

    A decorator above `dataclass`. A subclass with an `__init__` of its own is decorated itself.
    """
    # A dataclass gets its __init__ after __init_subclass__ has run: only a decorator sees it.
    kind.__init__ = _telling(kind.__name__, "", kind.__init__)  # type: ignore[misc]
    return kind


def tells_keywords_of_call(
    method: Callable[_Arguments, _Result],
) -> Callable[_Arguments, _Result]:
    """Make a method refuse an unknown keyword by naming the right one."""
    return _telling(method.__qualname__, f".{method.__name__}", method)


def _telling(
    owner: str, suffix: str, call: Callable[_Arguments, _Result]
) -> Callable[_Arguments, _Result]:
    """Check keywords; a message names the object's class, which may be a subclass, and the suffix."""
    names = tuple(name for name in inspect.signature(call).parameters if name != "self")
    known, _CALLS[owner] = frozenset(names), names

    @wraps(call)
    def checked(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        if not known.issuperset(kwargs):
            kind, name = type(args[0]).__name__, next(name for name in kwargs if name not in known)
            hint = _hint(name, names, kind if suffix else "")
            raise TypeError(f"{kind}{suffix} has no argument {shown(name)}; {hint}")
        return call(*args, **kwargs)

    return checked


def _hint(name: str, known: Sequence[str], kind: str) -> str:
    """Return which argument is meant: of this call, its class or another call, else all that there are."""
    ours = our_argument(name, known)
    if ours:
        return f"did you mean {' and '.join(map(repr, ours))}?"
    for places in ([kind], _ELSEWHERE):
        for find in (lambda arguments: [name] * (name in arguments), partial(our_argument, name)):
            for call in places:
                if found := find(_CALLS.get(call, ())):
                    return f"did you mean {call}({', '.join(f'{ours}=...' for ours in found)})?"
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else _listed(known)


def _listed(known: Sequence[str]) -> str:
    """List the arguments, as many as fit a message."""
    text, count = known[0], 1
    while count < len(known) and len(text) < LONGEST:
        text, count = f"{text}, {known[count]}", count + 1
    return f"known: {text}{', ...' * (count < len(known))}"
