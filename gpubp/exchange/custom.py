"""Custom activations in exports: what a user gives for them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from ..errors import unknown_name
from ..kernels import Activation
from ..kernels.messages import shown

__all__ = ["check_custom"]


def check_custom(
    activations: Iterable[Activation],
    custom: Any,
    built_in: Collection[str],
    is_valid: Callable[[Any], bool],
    expected: str,
) -> Mapping[str, Any]:
    """Check the argument `custom` of an export.

    Parameters
    ----------
    activations : iterable of Activation
        The network's activations.
    custom : mapping of str, or None
        What stands for each custom activation, by its name.
    built_in : collection of str
        The names of the activations that the export knows.
    is_valid : callable
        Whether an entry of `custom` is of the right kind.
    expected : str
        The right kind, for messages: "a function (graph, z) -> a".

    Returns
    -------
    mapping of str
        The argument; of None, an empty one.

    Raises
    ------
    TypeError
        If `custom` is no mapping, or an entry is of another kind.
    ValueError
        If a custom activation has no entry, or an entry belongs to none.
    """
    custom = {} if custom is None else custom
    if not isinstance(custom, Mapping):
        raise TypeError(f"custom is {shown(custom)}, expected a dict with {expected} for each name")
    needed = [a.name for a in activations if a.function is not None or a.name not in built_in]
    for name, entry in custom.items():
        if name not in needed:
            raise unknown_name("custom activation", name, needed, "this network")
        if not is_valid(entry):
            raise TypeError(f"custom[{name!r}] is {shown(entry)}, expected {expected}")
    for name in needed:
        if name not in custom:
            raise ValueError(
                f"activation {shown(name)} is custom, expected {expected} for it in custom"
            )
    return custom
