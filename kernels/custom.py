"""Custom activations and costs: checks of their arguments, and of what their functions return."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .messages import shortened, shown
from .typing import Array

__all__ = ["CustomFunction", "check_choice", "check_custom_name", "check_interval", "check_texts"]


@dataclass(frozen=True)
class CustomFunction:
    """A custom entry's function (xp, array, ...) -> array; what it returns is checked at every call.

    Without the check, NumPy would spread a result of another shape over the whole array.

    Attributes
    ----------
    owner : str
        The activation or cost, for error messages: "activation 'softsign'".
    role : str
        The argument that gave the function: "function" or "derivative".
    function : callable
        The function.
    """

    owner: str
    role: str
    function: Callable[..., Any]

    @classmethod
    def of(cls, owner: str, role: str, function: Any, arguments: str) -> CustomFunction:
        """Check that `function` takes these arguments, such as "xp, z", and wrap it."""
        expected = f"expected a function of ({arguments})"
        if not callable(function):
            raise TypeError(f"{role} of {owner} is {shown(function)}, {expected}")
        try:
            signature = inspect.signature(function)
        except (ValueError, TypeError):  # some functions written in C have no signature
            return cls(owner, role, function)
        try:
            signature.bind(*arguments.split(", "))
        except TypeError:
            raise TypeError(f"{role} of {owner} takes {shortened(signature)}, {expected}") from None
        return cls(owner, role, function)

    def __call__(self, xp: Any, *arrays: Array) -> Array:
        """Compute the function; a number becomes an array."""
        given, like = self.function(xp, *arrays), arrays[0]
        if isinstance(given, int | float):
            return xp.full_like(like, given)
        dtype, shape = getattr(given, "dtype", None), getattr(given, "shape", None)
        if getattr(dtype, "kind", "") in tuple("fiub") and shape in (like.shape, ()):
            return given if shape else xp.full_like(like, given)
        came = shown(given) if shape is None else f"{dtype} of shape {shape}"
        raise ValueError(
            f"{self.role} of {self.owner} gave {came}, expected real numbers of shape {like.shape}"
        )


def check_custom_name(kind: str, name: str, built_in: Mapping[str, Any]) -> None:
    """Refuse a custom entry without a name, or with a built-in name, which would select its kernels."""
    if not isinstance(name, str) or not name or name in built_in:
        is_what = "a built-in one's" if isinstance(name, str) and name else "none"
        raise ValueError(
            f"name is {shown(name)}, which is {is_what}, expected a new one for your {kind}"
        )


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Check that `value` is one of these words."""
    if not isinstance(value, str) or value not in choices:
        *others, last = map(repr, choices)
        raise ValueError(f"{name} is {shown(value)}, expected {', '.join(others)} or {last}")


def check_texts(**texts: Any) -> None:
    """Check that CUDA texts are strings."""
    for name, text in texts.items():
        if not isinstance(text, str):
            raise TypeError(f"{name} is {shown(text)}, expected CUDA text, or '' for none")


def check_interval(name: str, interval: Any) -> tuple[float, float]:
    """Return the ends of an interval: two numbers, the lower one first."""
    try:
        low, high = map(float, interval)
    except (TypeError, ValueError, OverflowError):
        low, high = 1.0, 0.0
    if not low < high:
        raise ValueError(f"{name} is {shown(interval)}, expected two numbers, the lower one first")
    return low, high
