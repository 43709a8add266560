"""The formulas of σ′ and ∂C/∂a that a reader is shown are those that the twins compute."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

from gpubp.kernels import ACTIVATIONS, COSTS

FUNCTIONS = {
    "exp": math.exp, "log": math.log, "tanh": math.tanh, "cos": math.cos, "Φ": ndtr, "π": math.pi,
    "sqrt": math.sqrt, "sign": np.sign, "min": min, "max": max,
}  # fmt: skip


def value_of(formula: str, **given: Any) -> float:
    """Compute a formula: "a (1 - a)", "t + z, t = tanh(z)", "1 if a > 0 else slope", "0 if z < 0, z"."""
    names: dict[str, Any] = FUNCTIONS | given
    clauses = re.split(r", (?![^(]*\))", formula)
    for clause in reversed(clauses):  # what a letter stands for comes after its use
        if letter := re.fullmatch(r"(\w) = (.*)", clause):
            names[letter[1]] = computed(letter[2], names)
    cases = [clause for clause in clauses if not re.match(r"\w = ", clause)]
    for case in cases[:-1]:
        result, condition = case.split(" if ")
        if computed(condition.replace(" = ", " == "), names):
            return float(computed(result, names))
    last = cases[-1].removeprefix("else ")
    return float(computed(last.partition(" if ")[0] if len(cases) > 1 else last, names))


def computed(text: str, names: dict[str, Any]) -> Any:
    text = text.replace("²", "**2").replace("³", "**3").replace("√", "sqrt")
    text = re.sub(r"sqrt\((\d?π?/?\d?π?)\)", lambda m: f"sqrt({m[1].replace('2π', '2*π')})", text)
    words = {"if", "else"}

    def times(match: re.Match[str]) -> str:
        before = re.search(r"\w+$", text[: match.start()])
        after = re.match(r"\w+", text[match.end() :])
        if (before and before[0] in words) or (after and after[0] in words):
            return " "
        return " * "

    return eval(re.sub(r"(?<=[\w)]) (?=[\w(])", times, text), {"__builtins__": {}}, names)


@pytest.mark.parametrize("name", [name for name, sigma in ACTIVATIONS.items() if not sigma.rowwise])
def test_the_slope_of_an_activation(name: str) -> None:
    sigma = ACTIVATIONS[name]
    z = np.array([-4.0, -1.3, -0.2, 0.4, 0.9, 2.5, 5.0])
    a, slope, *s = np.empty((4, len(z)))
    assert sigma.numpy is not None and sigma.numpy_derivative is not None
    sigma.numpy(z, a, tuple(s), **sigma.parameters)
    sigma.numpy_derivative(a if sigma.reads == "a" else z, slope, tuple(s), **sigma.parameters)
    for k in range(len(z)):
        found = value_of(sigma.derivative_formula, z=z[k], a=a[k], **sigma.parameters)
        assert found == pytest.approx(slope[k], rel=1e-9, abs=1e-12), (z[k], a[k])


@pytest.mark.parametrize("name", COSTS)
def test_the_derivative_of_a_cost(name: str) -> None:
    cost = COSTS[name]
    a, y = np.array([0.2, 0.5, 0.9, 0.5]), np.array([0.9, 0.0, 0.3, 0.5])
    if cost.domain == (-math.inf, math.inf):
        a, y = 4 * a, -3 * y
    g, *s = np.empty((3, len(a)))
    assert cost.numpy_derivative is not None
    cost.numpy_derivative(a, y, g, tuple(s), **cost.parameters)
    for k in range(len(a)):
        found = value_of(cost.derivative_formula, a=a[k], y=y[k], **cost.parameters)
        assert found == pytest.approx(g[k], rel=1e-9, abs=1e-12)


def test_the_formula_of_softmax_is_not_elementwise() -> None:
    assert ACTIVATIONS["softmax"].derivative_formula == ""
