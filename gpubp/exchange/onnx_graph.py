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
    """A graph of ONNX nodes, to which a custom activation adds its own.

    A tensor is known by its name, a str. `Network.to_onnx`, and the methods and functions like it, make the
    graph and hand it to the functions of `custom`. These call `node` and `constant`.

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

    Raises
    ------
    TypeError
        If the dtype is none of NumPy's.

    Examples
    --------
    A custom activation ``z / (1 + |z|)``, for NumPy and for ONNX:

    >>> import gpubp, numpy as np, onnxruntime
    >>> softsign = gpubp.Activation.from_functions(
    ...     "softsign", lambda xp, z: z / (1 + abs(z)), lambda xp, z: (1 + abs(z)) ** -2
    ... )
    >>> def add_softsign(graph, z):
    ...     return graph.node("Div", z, graph.node("Add", graph.constant(1.0), graph.node("Abs", z)))
    >>> network = gpubp.Network((2, 3, 1), hidden=softsign, backend="numpy", seed=0)
    >>> network.to_onnx("network.onnx", custom={"softsign": add_softsign})
    >>> session = onnxruntime.InferenceSession("network.onnx", providers=["CPUExecutionProvider"])
    >>> x = np.array([[0.5, -1.0]], np.float32)
    >>> bool(np.allclose(session.run(None, {"x": x})[0], network.predict(x), atol=1e-6))
    True
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

        Raises
        ------
        ImportError
            If the package onnx is not installed.

        Examples
        --------
        >>> import gpubp.exchange
        >>> graph = gpubp.exchange.Graph("float32")
        >>> graph.node("Tanh", "x"), graph.node("LeakyRelu", "x", alpha=0.5)
        ('network.tanh', 'network.leakyrelu')
        >>> [node.op_type for node in graph.nodes]
        ['Tanh', 'LeakyRelu']
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

        Examples
        --------
        >>> import gpubp.exchange
        >>> graph = gpubp.exchange.Graph("float32")
        >>> graph.constant(0.5), graph.constant(0.5), graph.constant(2.0)
        ('constants.0.5', 'constants.0.5', 'constants.2.0')
        >>> str(graph.constants["constants.0.5"].dtype)
        'float32'
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
        """Find a name that no tensor has, and take it.

        Parameters
        ----------
        name : str
            The name to begin with.

        Returns
        -------
        str
            The name, or the name with a number if it is taken.

        Examples
        --------
        >>> import gpubp.exchange
        >>> graph = gpubp.exchange.Graph("float32")
        >>> graph.unused("half"), graph.unused("half")
        ('half', 'half_2')
        """
        number, chosen = 1, name
        while chosen in self._names:
            number += 1
            chosen = f"{name}_{number}"
        self._names.add(chosen)
        return chosen

    def renamed(self, tensor: str, name: str) -> str:
        """Give the output of a node another name, where it is written and where it is read.

        Parameters
        ----------
        tensor : str
            The name of the tensor.
        name : str
            The new name.

        Returns
        -------
        str
            The new name.

        Examples
        --------
        >>> import gpubp.exchange
        >>> graph = gpubp.exchange.Graph("float32")
        >>> tanh = graph.node("Tanh", "x")
        >>> output = graph.renamed(tanh, "output")
        >>> tanh, output, list(graph.nodes[0].output)
        ('network.tanh', 'output', ['output'])
        """
        for node in reversed(self.nodes):
            for names in (node.input, node.output):
                names[:] = [name if one == tensor else one for one in names]
            if name in node.output:  # no earlier node reads it
                break
        return name

    def add_node(
        self, operator: str, inputs: tuple[str, ...], output: str, attributes: dict[str, Any]
    ) -> None:
        """Add a node whose output has a given name; the node has it too.

        Parameters
        ----------
        operator : str
            One of ONNX's operators.
        inputs : tuple of str
            The names of its input tensors.
        output : str
            The name of its output tensor, as `unused` gives it.
        attributes : dict of str to object
            The operator's attributes.

        Raises
        ------
        ImportError
            If the package onnx is not installed.

        Examples
        --------
        >>> import gpubp.exchange
        >>> graph = gpubp.exchange.Graph("float32")
        >>> graph.add_node("LeakyRelu", ("x",), "y", {"alpha": 0.5})
        >>> graph.nodes[0].op_type, list(graph.nodes[0].input), graph.nodes[0].name
        ('LeakyRelu', ['x'], 'y')
        """
        make_node = import_onnx().helper.make_node
        self.nodes.append(make_node(operator, inputs, [output], output, **attributes))

    def add_constant(self, name: str, array: Array) -> None:
        """Add a constant tensor of a given name.

        Parameters
        ----------
        name : str
            The name, as `unused` gives it.
        array : array
            The values.

        Examples
        --------
        >>> import gpubp.exchange, numpy as np
        >>> graph = gpubp.exchange.Graph("float32")
        >>> graph.add_constant("slopes", np.array([0.1, 0.2], np.float32))
        >>> graph.constants["slopes"].shape
        (2,)
        """
        self.constants[name] = array
