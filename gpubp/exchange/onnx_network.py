"""Networks as ONNX files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import gpubp

from ..files import write_whole
from ..kernels.messages import shortened
from ..network import storage
from .custom import check_custom
from .onnx_activations import ONNX_ACTIVATIONS, Builder
from .onnx_graph import IR_VERSION, OPSET, Graph, import_onnx

if TYPE_CHECKING:
    from ..network import Network

__all__ = ["Output", "add_network", "check_builders", "network_to_onnx", "write_model"]

LARGEST = 2**31 - 2**24
"""The most bytes of parameters; an ONNX file has at most 2 GiB."""


class Output(NamedTuple):
    """An output of a model.

    Attributes
    ----------
    name : str
        The name of the tensor.
    onnx_type : int
        ONNX's number of its type.
    width : int or None
        The number of columns; None for a tensor of shape (rows,).
    """

    name: str
    onnx_type: int
    width: int | None


def network_to_onnx(path: Any, network: Network, custom: Any) -> None:
    """Write a network as `Network.to_onnx` describes it."""
    graph = Graph(network.dtype)
    outputs = graph.renamed(add_network(graph, network, "x", custom), "output")
    write_model(path, graph, network, "x", [Output(outputs, graph.onnx_type, network.sizes[-1])])


def check_builders(network: Network, custom: Any) -> Mapping[str, Builder]:
    """Check the argument `custom` of `to_onnx`; return it as a mapping."""
    activations = [layer.activation for layer in network.layers]
    expected = "a function (graph, z) -> a"
    return check_custom(activations, custom, ONNX_ACTIVATIONS, callable, expected)


def add_network(graph: Graph, network: Network, x: str, custom: Any) -> str:
    """Add the nodes of a network.

    Parameters
    ----------
    graph : Graph
        The graph, of the network's dtype.
    network : Network
        The network.
    x : str
        The name of the input tensor, (rows, n_in).
    custom : mapping of str to callable, or None
        As in `Network.to_onnx`.

    Returns
    -------
    str
        The name of the tensor of outputs, (rows, n_out).

    Raises
    ------
    ValueError
        If an activation is custom and not in `custom`, a parameter is not finite, or the parameters are too
        large for a file.
    TypeError
        If an entry of `custom` is no function, or does not return the name of a tensor.
    """
    builders = {**ONNX_ACTIVATIONS, **check_builders(network, custom)}
    size = network.layout.size * network.dtype.itemsize
    if size > LARGEST:
        raise ValueError(
            f"the parameters of a network of sizes {network.sizes} need {size / 2**30:.1f} GiB,"
            f" expected less than {LARGEST / 2**30:.2f} GiB, for an ONNX file has at most 2"
        )
    tensors, _ = storage.content(network)
    a = x
    for k, layer in enumerate(network.layers):
        graph.place = f"layers.{k}"
        names = [f"{graph.place}.{part}" for part in ("weights", "biases")]
        arrays = [graph.constant(tensors[name], name) for name in names if name in tensors]
        z = graph.renamed(graph.node("Gemm", a, *arrays, transB=1), f"{graph.place}.z")
        activation = layer.activation
        made = builders[activation.name](graph, z, **activation.parameters)
        if not isinstance(made, str):
            raise TypeError(
                f"custom[{activation.name!r}] returned {shortened(made)}, expected the name of a tensor"
            )
        a = z if made == z else graph.renamed(made, f"{graph.place}.a")
    graph.place = "output"
    return a


def write_model(
    path: Any,
    graph: Graph,
    network: Network,
    x: str,
    outputs: Sequence[Output],
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write a model of this graph; after an error the old file, if any, is unchanged.

    Parameters
    ----------
    path : path-like
        The file to write.
    graph : Graph
        The graph.
    network : Network
        The network in it, which the file describes.
    x : str
        The name of the input, (rows, n_in).
    outputs : sequence of Output
        The outputs.
    more : mapping of str to object, optional
        What else the file says of itself, as JSON.

    Raises
    ------
    ValueError
        If the model is not valid: a user's function has added a node that does not fit.
    """
    onnx = import_onnx()
    helper, to_tensor = onnx.helper, onnx.numpy_helper.from_array

    def described(name: str, onnx_type: int, *width: int | None) -> Any:
        shape = ["rows", *(columns for columns in width if columns is not None)]
        return helper.make_tensor_value_info(name, onnx_type, shape)

    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "gpubp",
            [described(x, graph.onnx_type, network.sizes[0])],
            [described(*output) for output in outputs],
            [to_tensor(array, name) for name, array in graph.constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="gpubp",
        producer_version=gpubp.__version__,
        doc_string=repr(network),
    )
    metadata = storage.metadata_of(network)
    metadata |= {key: json.dumps(value) for key, value in (more or {}).items()}
    helper.set_model_props(model, metadata)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        raise ValueError(f"the model is not valid in ONNX: {shortened(error)}") from error
    write_whole(path, model.SerializeToString())
