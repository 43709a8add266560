"""The C++ texts of the CPU's kernels: files of this folder, with functions of a table entry before them.

A parameter of an entry, such as a slope, is an argument of its kernels. So one kernel serves all values of
it. CUDA's kernels have it as a constant (`device_function`), because NVRTC compiles each of them anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

import numpy as np

from ..activations import Activation
from ..costs import Cost
from ..cuda.text import text_of as cuda_text_of
from ..output_head import OutputHead
from ..typing import Array
from ..update_rules import Update

__all__ = [
    "WIDE",
    "activation_text",
    "base_parts",
    "base_text",
    "dropout_text",
    "is_custom",
    "joined",
    "output_delta_text",
    "parameters_of",
    "parts",
    "row_costs_text",
    "text_of",
    "update_text",
]

RUNTIME = "shards.cpp"
BASE = (RUNTIME, "columns.cpp", "batch.cpp", "softmax.cpp", "matmul.cpp", "sparse.cpp", "sums.cpp",
        "arithmetic.cpp")  # fmt: skip
"""The files of the base library, which contains no text of a table entry. The runtime comes first."""

PARTS = 3
"""The base library is compiled in so many parts at the same time. In the order of BASE each takes as long
as the others."""

WIDE = """\
#if defined(__AVX512VBMI__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("prefer-vector-width=512")
#endif
"""
"""The start of a text with table entries. For most processors with AVX-512 GCC prefers vectors of 256 bits,
which makes activations slower by a fifth; those without VBMI lower their clock for wider ones."""

CUSTOM = "// with a user's text\n"
"""The start of a text that contains a custom activation's or a custom cost's."""

AS_WRITTEN = """\
#if defined(__clang__)
#pragma clang fp reassociate({})
#endif
"""
"""Clang writes ρ v + (1 - ρ) g² as ρ (v - g²) + g², which loses a digit. An update has no sum that needs
another order to become vectors."""

MOST_PARAMETERS = 2
"""The most parameters of an activation, and of a cost (kernel.h has twice as many)."""


@cache
def text_of(file: str) -> str:
    """Read a file of this folder."""
    return (resources.files(__package__) / file).read_text(encoding="utf-8")


def base_text() -> str:
    """Return the text of the runtime and of all kernels that contain no table entry."""
    return "\n".join(map(text_of, BASE))


def base_parts() -> list[str]:
    """Return the text of the base in parts. None of them needs what another one defines."""
    groups = (BASE[k::PARTS] for k in range(PARTS))
    return ["\n".join(map(text_of, files)) for files in groups if files]


def is_custom(text: str) -> bool:
    """Whether a text contains a custom activation's or a custom cost's."""
    return text.startswith(CUSTOM)


def joined(text: str) -> str:
    """Join the .h files and `text`. Its directives come first; the rest is in a namespace."""
    wide = WIDE if text.startswith(WIDE) else ""
    directives, body = parts(text.removeprefix(WIDE))
    inside = "\n".join((text_of("math.h"), text_of("vectors.h"), body))
    start = "\n".join((*directives, text_of("kernel.h")))
    return f"{wide}{start}namespace kernels {{\n{inside}\n}}\n"


def parts(text: str) -> tuple[list[str], str]:
    """Part a text into its #include directives and the rest, which may be put into a namespace."""
    lines = text.splitlines()
    directives = [line for line in lines if line.startswith("#include ")]
    return directives, "\n".join(line for line in lines if not line.startswith("#include "))


def activation_text(activation: Activation) -> str:
    """Return the text of an elementwise activation's kernels; "" if σ or σ′ has no text."""
    if not (activation.has_cuda and activation.has_cuda_derivative):
        return ""
    function = _function("activation", "z", activation.cuda, activation.parameters)
    functions = function + _derivative(activation)
    return _marked(functions, activation) + text_of("activation.cpp")


def output_delta_text(head: OutputHead) -> str:
    """Return the text of the kernels of δ^L; "" if a derivative has no text.

    If softmax is the activation and not the cost's partner, it is scale ∂C/∂a.
    """
    functions = _delta_functions(head)
    return functions and functions + text_of("output_delta.cpp")


def row_costs_text(head: OutputHead) -> str:
    """Return the text of the kernels of a row's cost; "" if the cost has no text."""
    body = head.cost_body
    if not body:
        return ""
    parameters, first = head.cost.parameters, MOST_PARAMETERS
    function = _function("cost", "z a y", body, parameters, first)
    return _marked(function, head.cost) + text_of("row_costs.cpp")


def update_text(update: Update, plain: bool) -> str:
    """Return the text of an update's kernels; a `plain` one clips, penalises and decays nothing."""
    is_plain = f"constexpr bool PLAIN = {str(plain).lower()};\n"
    text = cuda_text_of("update.cuh") + update.apply_text + is_plain + text_of("update.cpp")
    return AS_WRITTEN.format("off") + text + AS_WRITTEN.format("on")


def dropout_text() -> str:
    """Return the text of dropout's kernels."""
    return cuda_text_of("philox.cuh") + text_of("dropout.cpp")


def parameters_of(activation: Activation | None, cost: Cost | None = None) -> Array | None:
    """Return the parameters of an activation and a cost as kernels read them; None if there are none."""
    entries = [
        list(entry.parameters.values()) if entry is not None else [] for entry in (activation, cost)
    ]
    if not any(entries):
        return None
    return np.array([value for own in entries for value in (own + [0.0] * 2)[:MOST_PARAMETERS]])


def _delta_functions(head: OutputHead) -> str:
    activation, cost = head.activation, head.cost
    arguments = "a y scale v"
    if head.is_canonical:
        return _function("delta_of", arguments, "return (a - y) * scale;")
    has_derivative = head.goes_by_rows or activation.has_cuda_derivative
    if not (has_derivative and cost.has_cuda_derivative):
        return ""
    text = _function(
        "cost_derivative", "a y", cost.cuda_derivative, cost.parameters, MOST_PARAMETERS
    )
    formula = "cost_derivative(a, y, parameters)"
    if not head.goes_by_rows:
        text += _derivative(activation)
        formula += " * derivative(v, parameters)"
    text += _function("delta_of", arguments, f"return ({formula}) * scale;")
    return _marked(text, cost) if head.goes_by_rows else _marked(text, activation, cost)


def _marked(functions: str, *entries: Activation | Cost) -> str:
    """Mark functions as custom if one of the entries that they are made from is."""
    return CUSTOM * any(entry.function is not None for entry in entries) + functions


def _derivative(activation: Activation) -> str:
    body, parameters = activation.cuda_derivative, activation.parameters
    return _function("derivative", activation.reads, body, parameters)


def _function(
    name: str,
    arguments: str,
    body: str,
    parameters: Mapping[str, float] | None = None,
    first: int = 0,
) -> str:
    """Return the text of a function whose parameters are the numbers from `first` on."""
    head = "".join(f"T {argument}, " for argument in arguments.split())
    declared = "".join(
        f"const T {key} = parameters.values[{first + k}]; "
        for k, key in enumerate(parameters or {})
    )
    return (
        f"template <typename T> INLINE T {name}({head}const Parameters<T>& parameters)"
        f" {{ {declared}{body} }}\n"
    )
