"""What the values of a trace are called in equations and tables."""

from __future__ import annotations

import re

__all__ = ["numbered", "raised", "symbol"]

_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")

_SYMBOLS = {
    "w": "w{}", "b": "b{}", "z": "z{}", "a": "a{}", "slope": "σ′(z{})", "propagated": "e{}", "delta": "δ{}",
    "weight_gradient": "∂C/∂w{}", "bias_gradient": "∂C/∂b{}", "new_w": "new w{}", "new_b": "new b{}",
    "cost_derivative": "∂C/∂a", "input_gradient": "∂C/∂x", "cost": "C", "x": "x", "y": "y",
}  # fmt: skip


def raised(name: str, number: int) -> str:
    """Return a name with the number of a layer: w²."""
    return f"{name}{str(number).translate(_RAISED)}"


def numbered(name: str, count: int) -> tuple[str, ...]:
    """Return names with the numbers of neurons: x₁, x₂, ..."""
    return tuple(f"{name}{str(k).translate(_LOWERED)}" for k in range(1, count + 1))


def symbol(key: str) -> str:
    """Return the symbol of a value of a trace: "δ²" for "delta2"."""
    name, number = re.fullmatch(r"(.*?)(\d*)", key).groups()  # type: ignore[union-attr]
    return _SYMBOLS[name].format(number.translate(_RAISED))
