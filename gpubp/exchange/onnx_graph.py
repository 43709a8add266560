"""Graph: the nodes and constants of an ONNX model while it is built."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends import Array

__all__ = ["DOUBLE", "FLOAT", "INT64", "IR_VERSION", "OPSET", "STRING", "Graph", "import_onnx"]

OPSET = 13
"""The version of ONNX's operators: the lowest with every operator here in its form of today."""
IR_VERSION = 7
"""The version of ONNX's file format that came with these operators."""
FLOAT, INT64, STRING, DOUBLE = 1, 7, 8, 11
"""ONNX's numbers of the types."""


def import_onnx() -> Any:
    """Import the package onnx, or raise an ImportError that says how to install it."""
    try:
        import onnx  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("to_onnx needs the package onnx; pip install 'gpubp[onnx]'") from error
    return onnx


class Graph:
    """A graph of ONNX nodes. A tensor is known by its name, a str.

    Parameters
    ----------
    dtype : dtype
        float32 or float64, the type of the network's tensors.

    Attributes
    ----------
    dtype : numpy.dtype
        The parameter.
    place : str
        What new names begin with, such as "layers.0".
    nodes : list of onnx.NodeProto
        The nodes, in the order of the computation.
    constants : dict of str to array
        The constant tensors by name.
    """

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self.place = "network"
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self._names: set[str] = set()
        self._numbers: dict[float, str] = {}

    @property
    def onnx_type(self) -> int:
        """ONNX's number of the dtype."""
        return DOUBLE if self.is_double else FLOAT

    @property
    def is_double(self) -> bool:
        """Whether the dtype is float64, which ONNX Runtime does not know in all operators."""
        return bool(self.dtype == np.float64)

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node.

        Parameters
        ----------
        operator : str
            One of ONNX's operators, such as "Tanh".
        *inputs : str
            The names of its input tensors.
        **attributes
            The operator's attributes.

        Returns
        -------
        str
            The name of its output tensor.
        """
        name = self.unused(f"{self.place}.{operator.lower()}")
        self.add_node(operator, inputs, name, attributes)
        return name

    def constant(self, value: Any, name: str | None = None) -> str:
        """Add a constant tensor.

        Parameters
        ----------
        value : float or array
            A number, which gets the graph's dtype, or an array of any dtype.
        name : str, optional
            The name; by default it is made of the value.

        Returns
        -------
        str
            The name of the tensor. The same number has the same name.
        """
        array = np.asarray(value, None if isinstance(value, np.ndarray) else self.dtype)
        if name is None and array.ndim == 0:
            if value not in self._numbers:
                self._numbers[value] = self.unused(f"constants.{value!r}")
                self.add_constant(self._numbers[value], array)
            return self._numbers[value]
        name = self.unused(name or f"{self.place}.constant")
        self.add_constant(name, array)
        return name

    def unused(self, name: str) -> str:
        """Return this name, or the name with a number if it is taken."""
        number, chosen = 1, name
        while chosen in self._names:
            number += 1
            chosen = f"{name}_{number}"
        self._names.add(chosen)
        return chosen

    def renamed(self, tensor: str, name: str) -> str:
        """Give the output of a node another name, and return it."""
        for node in reversed(self.nodes):
            for names in (node.input, node.output):
                names[:] = [name if one == tensor else one for one in names]
            if name in node.output:  # no earlier node reads it
                break
        return name

    def add_node(
        self, operator: str, inputs: tuple[str, ...], output: str, attributes: dict[str, Any]
    ) -> None:
        """Add a node whose output has this name; the node has it too."""
        make_node = import_onnx().helper.make_node
        self.nodes.append(make_node(operator, inputs, [output], output, **attributes))

    def add_constant(self, name: str, array: Array) -> None:
        """Add a constant of this name."""
        self.constants[name] = array
