"""The file of a model: skops' format, which holds no code.

It contains scikit-learn's transformers, and numbers and text: the description of the columns, and of the
network its arguments and parameters. skops builds no type that is not scikit-learn's, NumPy's or in
`TRUSTED`. All else is checked here, and by `gpubp.Network`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, fields
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer

from ..backends import get_backend
from ..data_validation import check_finite
from ..errors import CorruptFileError
from ..files import about_file, check_is_file, file_name, write_whole
from ..kernels.messages import shortened
from ..network import Network
from .columns import Column
from .model import Model
from .preparation import prepared, two_rows
from .targets import Target

__all__ = ["load", "save"]

FORMAT = "gpubp table model 1"
TRUSTED = ("gpubp.tables.dates.DateParts", "numpy.dtype")
"""The types that a file may hold in addition to those that skops knows to be harmless."""


def save(model: Model, path: Any) -> None:
    """Write a model to a file; see `Model.save`."""
    network = model.network
    parameters = network.backend.to_numpy(network.parameters)
    check_finite("the network's parameters", parameters)
    target = asdict(model.target) | {"classes": list(model.target.classes)}
    content = {
        "format": FORMAT,
        "columns": [asdict(c) | {"categories": list(c.categories)} for c in model.columns],
        "target": target,
        "preparation": model.preparation,
        "network": {
            "sizes": list(network.sizes),
            "hidden": network.layers[0].activation.name if len(network.layers) > 1 else "relu",
            "dropout": float(network.layers[0].dropout) if len(network.layers) > 1 else 0.0,
            "dtype": str(network.dtype),
            "precision": network.precision,
            "parameters": parameters,
        },
        "training": dict(model.training),
    }
    write_whole(path, _skops().dumps(content))


def load(path: Any, *, backend: str = "auto") -> Model:
    """Read a model that `Model.save` has written. Nothing in the file is executed.

    Parameters
    ----------
    path : path-like
        The file.
    backend : str, default "auto"
        The backend of its network.

    Returns
    -------
    Model
        The model.

    Raises
    ------
    CorruptFileError
        If the file is damaged, is not such a model, or holds types that are not known to be harmless.
    OSError
        If the file cannot be read.

    See Also
    --------
    Model.save : Writes the file.

    Examples
    --------
    >>> import gpubp.tables
    >>> rows = {"petal": [1.4, 1.3, 1.5, 1.7, 4.7, 4.5, 4.9, 4.0] * 5}
    >>> rows["kind"] = (["setosa"] * 4 + ["virginica"] * 4) * 5
    >>> model = gpubp.tables.train(rows, "kind", hidden=(), learning_rate=0.1, epochs=30)
    >>> model.save("iris.skops")
    >>> again = gpubp.tables.load("iris.skops")
    >>> again.columns == model.columns, again.training == model.training
    (True, True)
    >>> again.predict({"petal": [5.0]}).tolist()
    ['virginica']
    """
    path = file_name(path)
    if backend != "auto":
        get_backend(backend)
    check_is_file(path, "a model")
    with open(path, "rb") as file:
        data = file.read()
    if not data.startswith(b"PK"):
        kind = " (a pickle is never opened)" if data.startswith(b"\x80") else ""
        raise _corrupt(
            path, f"is not a model{kind}, expected a file that `gpubp train` has written"
        )
    io = _skops()
    try:
        types = io.get_untrusted_types(data=data)
    except Exception as error:
        raise _corrupt(path, f"is damaged or not a model: {shortened(error)}") from None
    unknown = sorted(set(types) - set(TRUSTED))
    if unknown:
        named = ", ".join(unknown[:4]) + (", ..." if len(unknown) > 4 else "")
        raise _corrupt(
            path, f"holds {named}, expected only what `gpubp train` writes; it was not opened"
        )
    try:
        content = io.loads(data, trusted=list(types))
    except Exception as error:
        raise _corrupt(path, f"is damaged: {type(error).__name__}: {shortened(error)}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _corrupt(path, "is a skops file, but not a model that `gpubp train` has written")
    try:
        return _model(content, backend)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise _corrupt(path, f"is not a whole model: {type(error).__name__}: {error}") from None


def _skops() -> Any:
    """Import skops when it is needed: it imports every module of scikit-learn, which takes a second."""
    from skops import io  # noqa: PLC0415

    return io


def _model(content: dict[str, Any], backend: str) -> Model:
    columns = [_made(Column, c, categories=tuple(c["categories"])) for c in content["columns"]]
    target = _made(Target, content["target"], classes=tuple(content["target"]["classes"]))
    preparation = content["preparation"]
    if not isinstance(preparation, ColumnTransformer):
        raise ValueError("its preparation is no ColumnTransformer")
    described = dict(content["network"])
    parameters, sizes = described.pop("parameters"), described["sizes"]
    expected = sum(n_out * (n_in + 1) for n_in, n_out in pairwise(sizes))
    if np.shape(parameters) != (expected,):
        raise ValueError(f"its network has {np.size(parameters)} parameters, expected {expected}")
    if sizes[0] != len(preparation.get_feature_names_out()):
        raise ValueError("its network has other inputs than its columns give")
    if sizes[-1] != (len(target.classes) or 1) or not math.isfinite(target.mean * target.scale):
        raise ValueError("its network has other outputs than its target")
    check_finite("its parameters", parameters)
    hidden = len(sizes) > 2
    network = Network(
        sizes,
        hidden=described["hidden"],
        dropout=described["dropout"] if hidden else 0.0,
        output="softmax" if target.classifies else "identity",
        dtype=described["dtype"],
        precision=described["precision"],
        backend=backend,
        initializer="zeros",
    )
    network.parameters = parameters
    _try(columns, preparation, sizes[0])
    return Model(columns, target, preparation, network, dict(content["training"]))


def _try(columns: list[Column], preparation: Any, inputs: int) -> None:
    """Prepare two rows: transformers of a changed file, or of another scikit-learn, may fail."""
    try:
        x = prepared(preparation, two_rows(columns), np.float64)
    except Exception as error:
        raise ValueError(f"its transformers fail: {shortened(error)}") from None
    if x.shape != (2, inputs):
        raise ValueError(f"its transformers make inputs of shape {x.shape}, expected (2, {inputs})")


def _made(kind: Any, described: dict[str, Any], **changed: Any) -> Any:
    names = {item.name for item in fields(kind)}
    if described.keys() != names:
        raise ValueError(f"its {kind.__name__.lower()} has other entries than expected")
    return kind(**described | changed)


def _corrupt(path: str, what: str) -> CorruptFileError:
    return CorruptFileError(about_file(path, what))
