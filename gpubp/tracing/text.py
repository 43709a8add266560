"""A trace as lines of text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..validation import check_number
from .cells import aligned, significant_text, width_of
from .layout import EDGE, MOST, Term, beside, equation, table
from .symbols import numbered, symbol
from .trace import Step, Trace

__all__ = ["LEAST_WIDTH", "Line", "lines_of"]

INDENT = "    "
NOTATION = "notation: z¹ is z of layer 1, ᵀ transposes, ⊙ multiplies element by element"
LEAST_WIDTH, TEXT_WIDTH = 60, 100
"""The narrowest width, and that of sentences in wider terminals."""
MOST_SIGNIFICANT = 17
"""Significant digits with which no two different floats look alike."""
PASSES = {
    "forward": "Forward pass",
    "cost": "Cost",
    "backward": "Backward pass",
    "update": "Gradient descent step",
}

Line = tuple[str, str]
"""A line of text, and what it is: "title", "pass", "step", "equation", "text", "numbers" or ""."""


def lines_of(trace: Trace, digits: int, width: int) -> list[Line]:
    """Return the lines of a trace; see `Trace.to_text`."""
    check_number("digits", digits, 0, 17, whole=True, open_high=False)
    check_number("width", width, LEAST_WIDTH, float("inf"), whole=True)
    return list(_Writer(trace, int(digits), int(width)).lines())


class _Writer:
    """Writes one trace."""

    def __init__(self, trace: Trace, digits: int, width: int) -> None:
        self._trace, self._digits, self._width = trace, digits, width
        self._values, self._depth = trace.values, len(trace.activations)

    def lines(self) -> Iterator[Line]:
        """Yield the lines."""
        yield from self._head()
        phase = ""
        for number, step in enumerate(self._trace.steps, 1):
            if step.phase != phase:
                phase = step.phase
                yield "", ""
                yield f"── {PASSES[phase]} ".ljust(min(self._width, TEXT_WIDTH), "─"), "pass"
            yield "", ""
            yield from self._step(number, step)
        if "new_cost" in self._values:
            yield "", ""
            yield from self._text(self._after_the_step(), "")

    def _head(self) -> Iterator[Line]:
        trace = self._trace
        yield from self._text(trace.title, "title")
        yield "", ""
        for k, formula in enumerate(trace.activation_formulas, 1):
            name = "output layer" if k == self._depth else f"layer {k}"
            neurons = f"{trace.sizes[k]:,} neuron{'s' * (trace.sizes[k] > 1)}"
            activation = trace.activations[k - 1]
            yield from self._text(f"{name}: {neurons}, {activation}, {formula}", "")
        yield from self._text(f"cost: {trace.cost}, {trace.cost_formula}", "")
        yield from self._text(f"numbers: {trace.dtype}, computed by {trace.backend}", "")
        yield from self._text(NOTATION, "")
        for sentence in (trace.prediction, *trace.notes):
            if sentence:
                yield from self._text(sentence, "text")
        yield "", ""
        x = table(trace.input_names, [("x", self._values["x"])], self._digits)
        y = table(trace.output_names, [("y", self._values["y"])], self._digits)
        both = beside(x, y)
        fits = max(map(width_of, both)) <= self._width - len(INDENT)
        yield from self._numbers(both if fits else [*x, "", *y])
        if max(trace.sizes) > MOST:
            yield "", ""
            yield from self._text(
                f"Of layers with more than {MOST} neurons, the first {EDGE} and the last {EDGE} are shown;"
                f" … stands for the others. The widths are {', '.join(f'{n:,}' for n in trace.sizes)}.",
                "text",
            )

    def _step(self, number: int, step: Step) -> Iterator[Line]:
        yield f"{number:2}  {step.title}", "step"
        yield from self._text(step.equation, "equation", INDENT)
        yield from self._text(step.text, "text", INDENT)
        yield "", ""
        yield from self._numbers(_SHOWN[step.operation](self, step))

    def _text(self, sentence: str, kind: str, indent: str = "") -> Iterator[Line]:
        width = min(self._width, TEXT_WIDTH)
        for line in textwrap.wrap(
            sentence, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        ):
            yield line, kind

    def _numbers(self, lines: list[str]) -> Iterator[Line]:
        for line in lines:
            yield f"{INDENT}{line}".rstrip(), "numbers"

    def _equation(self, *terms: Term) -> list[str]:
        return equation(terms, self._digits, self._width - len(INDENT))

    def _term(self, operator: str, key: str) -> Term:
        return Term(operator, symbol(key), self._values[key])

    def _table(self, *keys: str) -> list[str]:
        names = self._names_of(keys[-1])
        columns = [(symbol(key), self._values[key]) for key in keys]
        return table(names, columns, self._digits)

    def _number(self, number: float) -> str:
        return aligned([number], self._digits)[0]

    def _names_of(self, key: str) -> tuple[str, ...] | None:
        """Return the names of a vector's elements: those of the outputs, or None for hidden neurons."""
        of_outputs = {
            f"{name}{self._depth}" for name in ("z", "a", "slope", "delta", "bias_gradient")
        }
        is_of_outputs = key in of_outputs or key == "cost_derivative"
        return self._trace.output_names if is_of_outputs else None

    def _affine(self, step: Step) -> list[str]:
        weights, a, *biases = step.reads
        terms = [("", weights), ("·", a), *(("+", key) for key in biases), ("=", step.writes)]
        return self._equation(*(self._term(*term) for term in terms))

    def _elementwise(self, step: Step) -> list[str]:
        return self._table(*step.reads, step.writes)

    def _cost(self, step: Step) -> list[str]:
        a, y = (self._values[key] for key in step.reads)
        columns = [(symbol(step.reads[0]), a), ("y", y), ("term", [v for _, v in step.terms])]
        lines = table(self._trace.output_names, columns, self._digits)
        return [*lines, "", f"C = {self._number(self._values['cost'])}"]

    def _jacobian(self, step: Step) -> list[str]:
        a, g = (self._values[key].astype(float) for key in step.reads)
        with np.errstate(all="ignore"):
            weighted = float(g @ a)
        shown = self._number(weighted)
        return [*self._elementwise(step), "", f"Σ ∂C/∂a {symbol(step.reads[0])} = {shown}"]

    def _transposed(self, step: Step) -> list[str]:
        weights, delta = step.reads
        transposed = Term("", f"({symbol(weights)})ᵀ", self._values[weights].T)
        return self._equation(transposed, self._term("·", delta), self._term("=", step.writes))

    def _input_gradient(self, step: Step) -> list[str]:
        names, lines = self._trace.input_names, self._transposed(step)
        if names == numbered("x", len(names)):
            return lines
        columns = [(symbol(key), self._values[key]) for key in ("x", "input_gradient")]
        return [*lines, "", *table(names, columns, self._digits)]

    def _outer(self, step: Step) -> list[str]:
        delta, a = step.reads
        row = Term("·", f"{symbol(a)}ᵀ", self._values[a][None])
        return self._equation(self._term("", delta), row, self._term("=", step.writes))

    def _update(self, step: Step) -> list[str]:
        eta, k = f"{self._trace.learning_rate:g}", step.layer
        lines: list[str] = []
        for name, gradient in ((f"w{k}", f"weight_gradient{k}"), (f"b{k}", f"bias_gradient{k}")):
            if self._values[name] is not None:
                terms = ("", name), (f"- {eta} ·", gradient), ("=", f"new_{name}")
                lines += [""] * bool(lines)
                lines += self._equation(*(self._term(*term) for term in terms))
        return lines

    def _after_the_step(self) -> str:
        costs = self._values["cost"], self._values["new_cost"]
        before, after = _told_apart(*costs, max(self._digits, 1))
        told = "With the new weights the cost of this row"
        if costs[1] < costs[0]:
            return f"{told} falls from {before} to {after}."
        if costs[1] - costs[0] > self._rounding(costs[0]):
            return f"{told} grows from {before} to {after}. The learning rate is too large for this row."
        return f"{told} is {after}; it was {before}."

    def _rounding(self, cost: float) -> float:
        """Return by how much a cost may grow only because numbers are rounded."""
        return 16 * float(np.finfo(self._trace.dtype).eps) * abs(cost)


def _told_apart(one: float, other: float, digits: int) -> tuple[str, str]:
    """Write two numbers with so many significant digits, and more if only these tell them apart."""
    texts = significant_text(one, digits), significant_text(other, digits)
    if one == other or texts[0] != texts[1] or digits >= MOST_SIGNIFICANT:
        return texts
    return _told_apart(one, other, digits + 1)


_SHOWN: dict[str, Any] = {
    "affine": _Writer._affine,
    "activation": _Writer._elementwise,
    "softmax": _Writer._elementwise,
    "cost": _Writer._cost,
    "cost_derivative": _Writer._elementwise,
    "slope": _Writer._elementwise,
    "output_delta": _Writer._elementwise,
    "output_delta_fused": _Writer._elementwise,
    "output_delta_softmax": _Writer._jacobian,
    "propagate": _Writer._transposed,
    "delta": _Writer._elementwise,
    "weight_gradient": _Writer._outer,
    "bias_gradient": _Writer._elementwise,
    "input_gradient": _Writer._input_gradient,
    "update": _Writer._update,
}
