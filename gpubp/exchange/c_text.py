"""C text: names, numbers and strings, and the bodies of functions in float or double.

The activations have one text, in `kernels/activations.py`: that of CUDA. Its bodies are C as well, except
for T(...), which converts to the type, and for overloaded functions such as exp.
"""

from __future__ import annotations

import re
import string
import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..backends import Array
from ..kernels.messages import shown

__all__ = ["body_in", "c_array", "c_comment", "c_number", "c_string", "c_type", "check_c_name"]

# Functions of <math.h> on one number or two, whose float form ends in f.
_FUNCTIONS = (
    "acos|acosh|asin|asinh|atan|atan2|atanh|cbrt|ceil|copysign|cos|cosh|erf|erfc|exp|exp2|expm1|fabs"
    "|floor|fmax|fmin|fmod|hypot|lgamma|log|log10|log1p|log2|pow|round|sin|sinh|sqrt|tan|tanh|tgamma"
    "|trunc"
)
_OVERLOADED = {"abs": "fabs", "max": "fmax", "min": "fmin"}
_CALL = re.compile(rf"(?<!\w)({_FUNCTIONS}|{'|'.join(_OVERLOADED)})(?=\s*\()")
_SIMPLE = f"{string.ascii_letters}{string.digits} _-+.,:;/()".encode()
_IN_ASCII = str.maketrans(
    {"Φ": "Phi", "√": "sqrt", "π": "pi", "Σ": "sum", "²": "^2", "³": "^3"}  # in formulas
)
_NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


def c_type(dtype: Any) -> str:
    """Return C's name of float32 or float64."""
    return "double" if np.dtype(dtype) == np.float64 else "float"


def check_c_name(name: Any) -> str:
    """Check the argument `name`: letters, digits and underscores, a letter first.

    Raises
    ------
    TypeError
        If it is no str.
    ValueError
        If it is another str.
    """
    expected = "expected a name in C: letters, digits and underscores, a letter first"
    if not isinstance(name, str):
        raise TypeError(f"name is {shown(name)}, {expected}")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(f"name is {shown(name)}, {expected}")
    return name


def body_in(text: str, dtype: Any) -> str:
    """Convert the body of a function of T, as in CUDA, to C.

    Parameters
    ----------
    text : str
        The body: ``"return z / (T(1) + fabs(z));"``.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    str
        The body in float or double, without the common indentation.
    """
    suffix = "f" if np.dtype(dtype) == np.float32 else ""
    lines = textwrap.dedent(text).strip()
    lines = re.sub(rf"\bT\(({_NUMBER})\)", lambda m: c_number(m[1], dtype), lines)
    lines = re.sub(r"\bT(?=\()", f"({c_type(dtype)})", lines)
    lines = re.sub(r"\bT\b", c_type(dtype), lines)
    return _CALL.sub(lambda m: _OVERLOADED.get(m[1], m[1]) + suffix, lines)


def c_number(value: Any, dtype: Any) -> str:
    """Write a finite number, or digits, as a constant of C.

    The constant has the fewest digits from which C reads the same number.
    """
    digits = str(value if isinstance(value, str) else np.dtype(dtype).type(value))
    if not re.search(r"[.eE]", digits):
        digits += ".0"
    return f"{digits}f" if np.dtype(dtype) == np.float32 else digits


def c_array(values: Array) -> Iterator[str]:
    """Yield the lines of numbers between the braces of an array, a row of `values` after another.

    Parameters
    ----------
    values : array of shape (rows, columns)
        Finite numbers in float32 or float64.

    Yields
    ------
    str
        A line, indented.
    """
    end, count = ("f,", 6) if values.dtype == np.float32 else (",", 4)
    for row in values:
        numbers = row.astype(str).tolist()  # the shortest digits, with a point or an exponent
        for start in range(0, len(numbers), count):
            yield f"    {' '.join(number + end for number in numbers[start : start + count])}"


def c_string(text: str) -> str:
    """Write a string literal: other characters than simple ones are escaped bytes of UTF-8."""
    escaped = (chr(byte) if byte in _SIMPLE else f"\\{byte:03o}" for byte in text.encode("utf-8"))
    return f'"{"".join(escaped)}"'


def c_comment(text: str) -> str:
    """Make a text fit into a comment, in ASCII."""
    text = text.replace("*/", "* /").replace("/*", "/ *").translate(_IN_ASCII)
    return text.encode("ascii", "replace").decode()
