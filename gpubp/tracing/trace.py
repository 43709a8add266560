"""Trace: what a forward and backward pass of one row has computed."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, overload

import numpy as np

from ..files import write_whole
from ..kernels.typing import Array
from .page import notebook, page

__all__ = ["FORMAT", "MOST_PARAMETERS", "Step", "Trace", "check_fits_page"]

FORMAT = "gpubp trace 1"
MOST_PARAMETERS = 20_000
"""The most parameters of a network that a page of HTML shows; it is then about 1 MB large."""

Phase = Literal["forward", "cost", "backward", "update"]


@dataclass(frozen=True)
class Step:
    """One equation of a trace.

    Attributes
    ----------
    id : str
        A name that no other step of the trace has.
    phase : {"forward", "cost", "backward", "update"}
        The part of the pass.
    layer : int
        The layer, from 1.
    operation : str
        The kind of the equation: "affine", "activation", "softmax", "cost", "cost_derivative", "slope",
        "output_delta", "output_delta_fused", "output_delta_softmax", "propagate", "delta",
        "weight_gradient", "bias_gradient", "input_gradient" or "update".
    title, equation, text : str
        What a reader is told.
    code : str or None
        The function of gpubp that has the equation, such as "backprop.forward".
    reads : tuple of str
        The names of the values that the equation needs.
    terms : tuple of (str, float)
        The cost's terms by the names of the outputs; for other steps empty.
    writes : str
        The name of the value that it computes; by default it is `id`.
    """

    id: str
    phase: Phase
    layer: int
    operation: str
    title: str
    equation: str
    text: str
    code: str | None
    reads: tuple[str, ...]
    terms: tuple[tuple[str, Any], ...] = ()
    writes: str = ""

    def __post_init__(self) -> None:
        if not self.writes:
            object.__setattr__(self, "writes", self.id)

    def to_dict(self) -> dict[str, Any]:
        """Convert the step to text, numbers and lists.

        Returns
        -------
        dict
            The attributes by their names; `phase` is called "pass", and there are "terms" only of the cost.
        """
        told = {
            "id": self.id, "pass": self.phase, "layer": self.layer, "operation": self.operation,
            "title": self.title, "equation": self.equation, "text": self.text, "code": self.code,
            "reads": list(self.reads), "writes": self.writes,
        }  # fmt: skip
        if self.terms:
            told["terms"] = [[name, _plain(value)] for name, value in self.terms]
        return told


@dataclass(frozen=True, eq=False, repr=False)
class Trace:
    """One forward and backward pass of one row, each equation with its numbers.

    `Network.trace` makes it. `print` shows it as tables of text, a notebook as a page in which each number
    can be followed.

    Attributes
    ----------
    title : str
        One line.
    sizes : tuple of int
        Layer widths, starting with the input.
    activations : tuple of str
        The activation of each layer except the input, with its parameters.
    activation_formulas : tuple of str
        Their formulas.
    cost, cost_formula : str
        The cost, with its parameters, and its formula.
    dtype, backend : str
        The dtype and the backend that have computed the numbers.
    input_names, output_names : tuple of str
        The names of the inputs and of the outputs.
    learning_rate : float or None
        The rate of the gradient descent step; None if there is none.
    prediction : str or None
        What the network predicts, and what the target says, in a sentence; None if there is none to say.
    notes : tuple of str
        What is particular about these numbers, in sentences.
    steps : tuple of Step
        The equations in the order of computing.
    values : mapping of str
        The numbers by their names.

    Examples
    --------
    >>> import gpubp
    >>> network, x, y = gpubp.worked_example()
    >>> trace = network.trace(x, y)
    >>> trace
    Trace(sizes=(3, 4, 2), 16 steps, cost=0.15625)
    >>> [step.equation for step in trace.steps[:4]]
    ['z¹ = w¹ x + b¹', 'a¹ = σ(z¹)', 'z² = w² a¹ + b²', 'a² = σ(z²)']
    >>> trace.values["delta2"]
    array([-0.046875,  0.125   ])
    """

    title: str
    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    activation_formulas: tuple[str, ...]
    cost: str
    cost_formula: str
    dtype: str
    backend: str
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    learning_rate: float | None
    prediction: str | None
    notes: tuple[str, ...]
    steps: tuple[Step, ...]
    _values: dict[str, Any]

    def __post_init__(self) -> None:
        for value in self._values.values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False

    @property
    def values(self) -> Mapping[str, Any]:
        """The numbers by their names.

        Read-only arrays of shape (n,) or (n_out, n_in) in the network's dtype, costs as float, and None for
        what does not exist, such as biases. There are "x", "y", "cost", "cost_derivative",
        "input_gradient", and for a layer l from 1 "wl", "bl", "zl", "al", "slopel" (σ′), "propagatedl"
        (∂C/∂a of a hidden layer), "deltal", "weight_gradientl", "bias_gradientl", and with a learning rate
        "new_wl", "new_bl" and "new_cost".
        """
        return MappingProxyType(self._values)

    def __repr__(self) -> str:
        cost = self._values["cost"]
        return f"Trace(sizes={self.sizes}, {len(self.steps)} steps, cost={cost:g})"

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self, *, digits: int = 4, width: int = 100) -> str:
        """Return the trace as tables of text.

        Of matrices and vectors with more than 12 rows or columns, and of matrices that are too wide, the
        first and the last are shown.

        Parameters
        ----------
        digits : int, default 4
            The number of decimal places.
        width : int, default 100
            The most characters of a line, unless numbers have so many digits; at least 60.

        Returns
        -------
        str
            Lines of text.

        Raises
        ------
        ValueError
            If `digits` is not a whole number from 0 to 17, or `width` is not one of at least 60.

        Examples
        --------
        >>> import gpubp
        >>> network, x, y = gpubp.worked_example()
        >>> print(network.trace(x, y).to_text(digits=2)[:34])
        Backpropagation in a 3-4-2 network
        """
        from .text import lines_of  # noqa: PLC0415 (it imports this module)

        return "\n".join(line for line, _ in lines_of(self, digits, width))

    def show(self, file: Any = None, *, digits: int = 4) -> None:
        """Print the trace as tables of text, as wide as the terminal, with colours if rich is installed.

        Parameters
        ----------
        file : file, optional
            Where to print; by default standard output.
        digits : int, default 4
            The number of decimal places.

        Raises
        ------
        ValueError
            If `digits` is not a whole number from 0 to 17.

        Examples
        --------
        >>> import io
        >>> import gpubp
        >>> network, x, y = gpubp.worked_example()
        >>> file = io.StringIO()
        >>> network.trace(x, y).show(file)
        >>> print(file.getvalue().splitlines()[0])
        Backpropagation in a 3-4-2 network
        """
        from .showing import show  # noqa: PLC0415 (it imports this module)

        show(self, sys.stdout if file is None else file, digits)

    def to_dict(self) -> dict[str, Any]:
        """Convert the trace to text, numbers and lists, for JSON.

        Numbers have as many digits as their dtype needs. NaN and infinity, which JSON does not have, are
        the strings "nan", "inf" and "-inf".

        Returns
        -------
        dict
            The attributes by their names, with "format" for the version of this form. "values" has numbers
            and lists of them, "steps" what `Step.to_dict` returns.

        Examples
        --------
        >>> import gpubp
        >>> network, x, y = gpubp.worked_example()
        >>> network.trace(x, y).to_dict()["values"]["x"]
        [1.0, 2.0, -1.0]
        """
        return {
            "format": FORMAT,
            "title": self.title,
            "sizes": list(self.sizes),
            "activations": list(self.activations),
            "activation_formulas": list(self.activation_formulas),
            "cost": self.cost,
            "cost_formula": self.cost_formula,
            "dtype": self.dtype,
            "backend": self.backend,
            "input_names": list(self.input_names),
            "output_names": list(self.output_names),
            "learning_rate": self.learning_rate,
            "prediction": self.prediction,
            "notes": list(self.notes),
            "values": {name: _plain(value) for name, value in self._values.items()},
            "steps": [step.to_dict() for step in self.steps],
        }

    @overload
    def to_html(self, path: None = None) -> str: ...
    @overload
    def to_html(self, path: Any) -> None: ...
    def to_html(self, path: Any = None) -> str | None:
        """Make a page of HTML in which each number can be followed. It needs no other file and no network.

        Parameters
        ----------
        path : path-like, optional
            The file to write, whole or not at all; by default the page is returned.

        Returns
        -------
        str or None
            The page; None with a `path`.

        Raises
        ------
        ValueError
            If the network has more than 20,000 parameters.
        TypeError
            If `path` is no path.
        OSError
            If the file cannot be written; `filename` is the path.

        Examples
        --------
        >>> import gpubp
        >>> network, x, y = gpubp.worked_example()
        >>> network.trace(x, y, learning_rate=0.5).to_html("trace.html")
        >>> with open("trace.html", encoding="utf-8") as file:
        ...     print(file.readline(), end="")
        <!DOCTYPE html>
        """
        check_fits_page(self._parameters)
        text = page(self.to_dict())
        if path is None:
            return text
        write_whole(path, text.encode())
        return None

    @property
    def _parameters(self) -> int:
        names = [f"{part}{k}" for part in "wb" for k in range(1, len(self.sizes))]
        return sum(np.size(self._values[name]) for name in names if self._values[name] is not None)

    def _repr_html_(self) -> str | None:
        if self._parameters > MOST_PARAMETERS:
            return None  # a notebook then shows the repr
        return notebook(self.to_dict())


def check_fits_page(parameters: int) -> None:
    """Check that a page can show a network with so many parameters, else raise a ValueError."""
    if parameters > MOST_PARAMETERS:
        raise ValueError(
            f"the network has {parameters:,} parameters, expected at most {MOST_PARAMETERS:,} for a page;"
            " print shows the trace as text"
        )


def _plain(value: Array | np.generic | float | None) -> Any:
    """Convert numbers to lists of Python's floats, with the digits that their dtype needs."""
    if isinstance(value, np.ndarray):
        return [_plain(part) for part in value]
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number):
        return str(number)
    # The shortest text that means this number in its dtype: 0.1 in float32, not 0.10000000149011612.
    return float(str(value)) if isinstance(value, np.generic) else number
