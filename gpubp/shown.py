"""Short reprs: functions show their names, objects show what differs from their defaults."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from typing import Any

import numpy as np

__all__ = ["name_of", "repr_of_changed"]


def repr_of_changed(thing: Any, always: Collection[str] = ()) -> str:
    """Write the call that makes a dataclass, with the arguments that differ from their defaults.

    Parameters
    ----------
    thing : dataclass
        An object whose arguments are its fields.
    always : collection of str, default ()
        The arguments that are shown whatever they are.

    Returns
    -------
    str
        "Adam(learning_rate=0.001, clip_norm=1.0)", for example.
    """
    values = [(item, getattr(thing, item.name)) for item in fields(thing) if item.init]
    shown = [
        f"{item.name}={_plain(value)!r}"
        for item, value in values
        if item.name in always or value != item.default
    ]
    return f"{type(thing).__name__}({', '.join(shown)})"


def name_of(function: Any) -> str:
    """Return the name of a function, or of the class of another callable object."""
    return str(getattr(function, "__qualname__", type(function).__name__)).rpartition("<locals>.")[
        2
    ]


def _plain(value: Any) -> Any:
    """Convert a number of NumPy, whose repr is a call of NumPy's, to Python's."""
    return value.item() if isinstance(value, np.generic) else value
