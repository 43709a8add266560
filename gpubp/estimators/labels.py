"""What a classifier's y means: its classes or labels, and the targets for the network."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from ..arrays import dense, is_sparse, to_host
from ..kernels import Cost
from ..kernels.messages import shortened, shown
from ..registry import get_cost
from .base import Task
from .data import on_host
from .losses import is_softmax, output_for_classes

__all__ = ["LabelEncoder", "classification_task", "is_multilabel"]


def is_multilabel(y: Any) -> bool:
    """Whether each row of y has several labels, in columns of 0 and 1."""
    return bool(type_of_target(on_host("y", y), input_name="y") == "multilabel-indicator")


class LabelEncoder(NamedTuple):
    """Converts classes or labels to the network's targets.

    Attributes
    ----------
    classes : array of shape (n_classes,)
        The classes, or the numbers of the labels' columns.
    multilabel : bool
        Whether each row has several labels.
    n_outputs : int
        The width of the output layer.
    takes_indices : bool
        Whether the cost takes the index of each row's class. Otherwise it takes numbers for each output.
    label_smoothing : float
        ε: if the cost takes numbers, a target y becomes (1 - ε) y + ε / n, where n is the number of
        classes, or 2 for labels.
    dtype : dtype or str
        The dtype of targets that are numbers.
    """

    classes: Any
    multilabel: bool
    n_outputs: int
    takes_indices: bool
    label_smoothing: float
    dtype: Any

    def plain(self) -> dict[str, Any]:
        """Return the arguments of an encoder like this one, for pickles."""
        return self._asdict() | {"dtype": str(self.dtype)}

    def codes(self, y: Any) -> Any:
        """Convert y to int codes on the host: the index of each row's class, or 0 and 1 for each label."""
        y = dense(to_host(y))
        return (y != 0).astype(np.int64) if self.multilabel else np.searchsorted(self.classes, y)

    def checked_codes(self, name: str, y: Any) -> Any:
        """Convert an array of this name to codes, after a check.

        Raises
        ------
        ValueError
            If it is of another kind than the y of `fit`, or has other classes or labels.
        """
        y = dense(to_host(y))
        if is_multilabel(y) != self.multilabel:
            kind = "columns of labels" if self.multilabel else "classes"
            raise ValueError(f"{name} is {shown(y)}, expected {kind}, as y of fit had")
        check_known_classes(name, _classes_in(y), self.classes)
        if self.multilabel and y.shape[1] != len(self.classes):
            raise ValueError(f"{name} has {y.shape[1]} columns, expected {len(self.classes)}")
        return self.codes(y)

    def targets(self, codes: Any) -> Any:
        """Convert codes to targets of shape (n_samples,) or (n_samples, n_outputs)."""
        if self.takes_indices:
            return codes
        if codes.ndim == 1:
            codes = codes[:, None] if self.n_outputs == 1 else np.eye(self.n_outputs)[codes]
        choices = 2 if self.multilabel else max(2, self.n_outputs)
        smoothed = (1 - self.label_smoothing) * codes + self.label_smoothing / choices
        return smoothed.astype(self.dtype)


def classification_task(estimator: Any, y: Any, dtype: Any, goes_on: bool, classes: Any) -> Task:
    """Find the classes in y, the targets, the output layer and the cost.

    Parameters
    ----------
    estimator : MLPClassifier
        The classifier.
    y : array or sparse matrix of shape (n_samples,) or (n_samples, n_labels)
        Classes, or columns of labels.
    dtype : dtype
        The dtype of the network.
    goes_on : bool
        Whether the classifier is fitted and keeps its classes.
    classes : array of shape (n_classes,) or None
        All classes, if a user has given them.

    Returns
    -------
    Task
        With the classifier's attributes that depend on y.
    """
    sparse, y = is_sparse(y), dense(to_host(y))
    kind = type_of_target(y, input_name="y")
    if kind.endswith("multioutput"):
        raise ValueError(
            "Multioutput target data is not supported with label binarization: y has"
            f" {y.shape[1]} columns of classes, expected one, or columns of 0 and 1 (labels)"
        )
    multilabel = kind == "multilabel-indicator"
    present = _classes_in(y)
    classes = on_host("classes", classes)
    known = _known_classes(estimator, present, goes_on, classes)
    if goes_on and multilabel != estimator.multilabel_:
        if multilabel:
            raise ValueError("The object was not fitted with multilabel input.")
        raise ValueError("y holds classes, expected columns of labels, as the last y had")
    several = len(known) > 2 and not multilabel
    output, cost = output_for_classes(estimator.loss, estimator.output_activation, several)
    if multilabel:
        _check_labels_have(estimator, cost)
        n_outputs = len(known)
    elif several or cost.targets == "class" or is_softmax(output):
        n_outputs = max(2, len(known))
    else:
        n_outputs = 1
    takes_indices, smoothing = cost.targets == "class", float(estimator.label_smoothing)
    if takes_indices and smoothing:
        cost = get_cost(cost, label_smoothing=smoothing)
    encoder = LabelEncoder(known, multilabel, n_outputs, takes_indices, smoothing, dtype)
    attributes = {"_encoder": encoder, "_has_sparse_labels": sparse}
    targets = encoder.targets(encoder.codes(y))
    return Task(targets, n_outputs, output, cost, attributes, classes=known)


def _check_labels_have(estimator: Any, cost: Cost) -> None:
    """Check that the output and the cost of each label do not depend on the row's other labels."""
    if is_softmax(estimator.output_activation):
        raise ValueError(
            f"output_activation is {shown(estimator.output_activation)}, expected one that computes each"
            " output alone where y has several labels for each row"
        )
    if cost.targets == "class":
        raise ValueError(
            f"loss is {shown(estimator.loss)}, expected one that is not for classes where y has several"
            " labels for each row"
        )


def _classes_in(y: Any) -> Any:
    """Return the classes in y, sorted; strings of an object array become an array of strings."""
    try:
        return unique_labels(y)
    except TypeError as error:  # None beside strings, for example
        raise TypeError(f"y holds classes that cannot be sorted: {error}") from None
    except ValueError:
        check_classification_targets(y)  # its message says more
        raise


def _known_classes(estimator: Any, present: Any, goes_on: bool, classes: Any) -> Any:
    """Return the argument `classes`, the classes of the last fit, or those present in y."""
    if not goes_on and classes is None:
        return present
    known = estimator._encoder.classes if goes_on else unique_labels(classes)
    if goes_on and classes is not None and not np.array_equal(known, unique_labels(classes)):
        raise ValueError(
            f"`classes={shown(classes)}` is not the same as on last call to partial_fit,"
            f" was: {shown(known)}"
        )
    if goes_on and estimator.warm_start and not np.array_equal(present, known):
        raise ValueError(
            "warm_start can only be used where `y` has the same classes as in the previous call to"
            f" fit. Previously got {shortened(known)}, `y` has {shortened(present)}"
        )
    check_known_classes("y", present, known)
    return known


def check_known_classes(name: str, present: Any, known: Any) -> None:
    """Check that all classes present in the array of this name are known."""
    if len(np.setdiff1d(present, known)):
        raise ValueError(
            f"`{name}` has classes not in `self.classes_`. `self.classes_` has {shortened(known)}."
            f" '{name}' has {shortened(present)}."
        )
