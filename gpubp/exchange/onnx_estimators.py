"""Classifiers and regressors as ONNX files, with labels and probabilities as skl2onnx names them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends import Array
from .labels import label_values
from .onnx_graph import INT64, STRING, Graph
from .onnx_network import Output, add_network, write_model

__all__ = ["add_labels", "add_probabilities", "classifier_to_onnx", "regressor_to_onnx"]


def regressor_to_onnx(path: Any, regressor: Any, custom: Any) -> None:
    """Write a fitted regressor as `MLPRegressor.to_onnx` describes it."""
    network = regressor.network_
    graph = Graph(network.dtype)
    outputs = graph.renamed(add_network(graph, network, "X", custom), "variable")
    output = Output(outputs, graph.onnx_type, network.sizes[-1])
    write_model(path, graph, network, "X", [output], _features(regressor))


def classifier_to_onnx(path: Any, classifier: Any, custom: Any) -> None:
    """Write a fitted classifier as `MLPClassifier.to_onnx` describes it."""
    network = classifier.network_
    labels = label_values(classifier)
    graph = Graph(network.dtype)
    outputs = add_network(graph, network, "X", custom)
    label = graph.renamed(add_labels(graph, classifier, outputs, labels), "label")
    several = classifier.multilabel_
    label_type = INT64 if labels.dtype == np.int64 or several else STRING
    written = [Output(label, label_type, len(labels) if several else None)]
    if hasattr(classifier, "predict_proba"):
        name, width = "probabilities", max(2, network.sizes[-1])
        width = network.sizes[-1] if several else width
        outputs = add_probabilities(graph, classifier, outputs)
    else:
        name, width = "outputs", network.sizes[-1]
    written.append(Output(graph.renamed(outputs, name), graph.onnx_type, width))
    write_model(path, graph, network, "X", written, _features(classifier))


def _features(estimator: Any) -> dict[str, list[str]]:
    """Return the names of the columns of X, if it had some, for the file's metadata."""
    names = getattr(estimator, "feature_names_in_", None)
    return {} if names is None else {"feature_names": [str(name) for name in names]}


def add_labels(graph: Graph, classifier: Any, outputs: str, labels: Array) -> str:
    """Add the nodes that compute the label of each row, or the labels 0 and 1 of each column.

    Parameters
    ----------
    graph : Graph
        The graph.
    classifier : MLPClassifier
        The fitted classifier.
    outputs : str
        The name of the tensor of the network's outputs.
    labels : array of int64 or of str, shape (n_classes,)
        The classes, from `label_values`.

    Returns
    -------
    str
        The name of a tensor of shape (rows,), or (rows, n_labels) for several labels of each row.
    """
    width = classifier.network_.sizes[-1]
    if classifier.multilabel_ or width == 1:
        chosen = graph.node("Greater", outputs, graph.constant(0.5))
        chosen = graph.node("Cast", chosen, to=INT64)
    else:
        chosen = graph.node("ArgMax", outputs, axis=1, keepdims=0)
    if classifier.multilabel_:
        return chosen
    if width == 1:
        chosen = graph.node("Reshape", chosen, graph.constant(np.array([-1], np.int64)))
    # With a single class, every output means that class.
    table = labels[np.minimum(np.arange(max(2, width)), len(labels) - 1)]
    return graph.node("Gather", graph.constant(table, "classes"), chosen)


def add_probabilities(graph: Graph, classifier: Any, outputs: str) -> str:
    """Add the nodes that compute what `predict_proba` does from the network's outputs.

    Parameters
    ----------
    graph : Graph
        The graph.
    classifier : MLPClassifier
        The fitted classifier.
    outputs : str
        The name of the tensor of the network's outputs.

    Returns
    -------
    str
        The name of a tensor of shape (rows, n_classes).
    """
    width = classifier.network_.sizes[-1]
    if classifier.multilabel_ or classifier.out_activation_ == "softmax":
        return outputs
    one = graph.constant(1.0)
    if width == 1:
        return graph.node("Concat", graph.node("Sub", one, outputs), outputs, axis=1)
    axes = graph.constant(np.array([1], np.int64))
    total = graph.node("ReduceSum", outputs, axes, keepdims=1)
    none = graph.node("Equal", total, graph.constant(0.0))  # all outputs have rounded to 0
    shares = graph.node("Div", outputs, graph.node("Where", none, one, total))
    return graph.node("Where", none, graph.constant(1 / width), shares)
