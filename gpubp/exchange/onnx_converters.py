"""Converters of MLPClassifier and MLPRegressor for skl2onnx, which converts pipelines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backends import Array
from .labels import label_values
from .onnx_activations import Builder
from .onnx_estimators import add_labels, add_probabilities
from .onnx_graph import INT64, OPSET, STRING, Graph
from .onnx_network import add_network

__all__ = ["register_with_skl2onnx"]

CLASSIFIER_OPTIONS = {
    "zipmap": [True, False, "columns"],
    "nocl": [True, False],
    "output_class_labels": [False, True],
}


def register_with_skl2onnx(*, custom: Mapping[str, Builder] | None = None) -> None:
    """Let skl2onnx convert `MLPClassifier` and `MLPRegressor`, alone and in pipelines.

    After this call ``skl2onnx.to_onnx(pipeline, X)`` works. The network computes in its own dtype. A
    classifier has skl2onnx's options zipmap, nocl and output_class_labels. Another call replaces the
    converters.

    Parameters
    ----------
    custom : mapping of str to callable, optional
        Functions (graph, z) -> a for the custom activations of all networks, as in `Network.to_onnx`.

    Raises
    ------
    ImportError
        If skl2onnx or scikit-learn is not installed.

    Examples
    --------
    >>> import gpubp.exchange, onnxruntime, skl2onnx
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_iris(return_X_y=True)
    >>> X = X.astype("float32")
    >>> classifier = gpubp.MLPClassifier((10,), solver="lbfgs", tol=0.01, random_state=0)
    >>> pipeline = make_pipeline(StandardScaler(), classifier).fit(X, y)
    >>> gpubp.exchange.register_with_skl2onnx()
    >>> content = skl2onnx.to_onnx(pipeline, X[:1]).SerializeToString()
    >>> session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    >>> label = session.run(None, {"X": X})[0]
    >>> bool((label == pipeline.predict(X)).all())
    True
    """
    try:
        from skl2onnx import update_registered_converter  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            "register_with_skl2onnx needs the package skl2onnx; pip install skl2onnx"
        ) from error
    from ..estimators import MLPClassifier, MLPRegressor  # noqa: PLC0415

    def convert_classifier(scope: Any, operator: Any, container: Any) -> None:
        _convert_classifier(scope, operator, container, custom)

    def convert_regressor(scope: Any, operator: Any, container: Any) -> None:
        _convert_regressor(scope, operator, container, custom)

    update_registered_converter(
        MLPClassifier,
        "GpubpMLPClassifier",
        _set_classifier_types,
        convert_classifier,
        options=CLASSIFIER_OPTIONS,
    )
    update_registered_converter(
        MLPRegressor, "GpubpMLPRegressor", _set_regressor_types, convert_regressor
    )


class ConverterGraph(Graph):
    """A graph whose nodes and constants go to skl2onnx's container.

    Parameters
    ----------
    dtype : dtype
        The network's dtype.
    scope, container : object
        The first two of skl2onnx's arguments of a converter that are not the operator.
    """

    def __init__(self, dtype: Any, scope: Any, container: Any) -> None:
        super().__init__(dtype)
        self._scope, self._container = scope, container
        if container.target_opset < OPSET:
            raise ValueError(
                f"target_opset is {container.target_opset}, expected at least {OPSET} for gpubp"
            )

    def unused(self, name: str) -> str:
        return str(self._scope.get_unique_variable_name(name))

    def renamed(self, tensor: str, name: str) -> str:
        return tensor  # skl2onnx's names are unique in the whole model

    def add_node(
        self, operator: str, inputs: tuple[str, ...], output: str, attributes: dict[str, Any]
    ) -> None:
        name = self._scope.get_unique_operator_name(output)
        self._container.add_node(operator, list(inputs), output, name=name, **attributes)

    def add_constant(self, name: str, array: Array) -> None:
        self.constants[name] = array
        kind = STRING if array.dtype == object else INT64
        kind = self.onnx_type if array.dtype == self.dtype else kind
        self._container.add_initializer(name, kind, array.shape, array.ravel())


def _set_classifier_types(operator: Any) -> None:
    """Tell skl2onnx the types and shapes of a classifier's outputs."""
    from skl2onnx.common import data_types, utils  # noqa: PLC0415

    utils.check_input_and_output_numbers(operator, input_count_range=1, output_count_range=2)
    classifier, rows = operator.raw_operator, operator.inputs[0].get_first_dimension()
    labels = _labels(operator.scope_inst, classifier)
    kind = data_types.StringTensorType if labels.dtype == object else data_types.Int64TensorType
    several = classifier.multilabel_
    if several:
        kind = data_types.Int64TensorType
    operator.outputs[0].set_type(kind([rows, len(labels)] if several else [rows]))
    operator.outputs[1].type.shape = [rows, None]


def _convert_classifier(scope: Any, operator: Any, container: Any, custom: Any) -> None:
    classifier = operator.raw_operator
    graph, outputs = _network(scope, operator, container, custom)
    label = add_labels(graph, classifier, outputs, _labels(scope, classifier))
    if hasattr(classifier, "predict_proba"):
        outputs = add_probabilities(graph, classifier, outputs)
    _finish(graph, "Identity", label, operator.outputs[0])
    _finish(graph, "Cast", outputs, operator.outputs[1])


def _set_regressor_types(operator: Any) -> None:
    """Tell skl2onnx the shape of a regressor's outputs."""
    from skl2onnx.common import utils  # noqa: PLC0415

    utils.check_input_and_output_numbers(operator, input_count_range=1, output_count_range=1)
    rows, width = operator.inputs[0].get_first_dimension(), operator.raw_operator.network_.sizes[-1]
    operator.outputs[0].type.shape = [rows, width]


def _convert_regressor(scope: Any, operator: Any, container: Any, custom: Any) -> None:
    graph, outputs = _network(scope, operator, container, custom)
    _finish(graph, "Cast", outputs, operator.outputs[0])


def _labels(scope: Any, classifier: Any) -> Array:
    """Return the labels; with the option nocl, the numbers of the classes."""
    if scope.get_options(classifier, {"nocl": False})["nocl"]:
        return np.arange(len(classifier.classes_))
    return label_values(classifier)


def _network(scope: Any, operator: Any, container: Any, custom: Any) -> tuple[Graph, str]:
    """Add the network of an estimator; return its graph and the tensor of its outputs."""
    network = operator.raw_operator.network_
    graph = ConverterGraph(network.dtype, scope, container)
    names = {layer.activation.name for layer in network.layers}
    needed = {name: builder for name, builder in (custom or {}).items() if name in names}
    x = graph.node("Cast", operator.inputs[0].full_name, to=graph.onnx_type)
    return graph, add_network(graph, network, x, needed)


def _finish(graph: Graph, operator: str, tensor: str, output: Any) -> None:
    """Give a tensor the name of an output; its numbers are cast to the type that skl2onnx has chosen."""
    from skl2onnx.common.data_types import guess_proto_type  # noqa: PLC0415

    attributes = {"to": guess_proto_type(output.type)} if operator == "Cast" else {}
    graph.add_node(operator, (tensor,), output.full_name, attributes)
