"""What a classifier's y means: its classes or labels, and the targets for the network."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from ..arrays import dense, is_sparse, to_host
from ..kernels.messages import shortened, shown
from .base import Task

__all__ = ["classification_task", "is_multilabel"]


def is_multilabel(y: Any) -> bool:
    """Whether each row of y has several labels, in columns of 0 and 1."""
    return bool(type_of_target(to_host(y), input_name="y") == "multilabel-indicator")


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
    known = _known_classes(estimator, present, goes_on, classes)
    if goes_on and multilabel != estimator._multilabel:
        if multilabel:
            raise ValueError("The object was not fitted with multilabel input.")
        raise ValueError("y holds classes, expected columns of labels, as the last y had")
    attributes = {"classes_": known, "_has_sparse_labels": sparse}
    if multilabel:
        targets = (y != 0).astype(dtype)
        return Task(targets, len(known), "logistic", "binary_cross_entropy", attributes)
    codes = np.searchsorted(known, y)
    if len(known) <= 2:
        targets = codes[:, None].astype(dtype)
        return Task(targets, 1, "logistic", "binary_cross_entropy", attributes)
    return Task(codes, len(known), "softmax", "cross_entropy", attributes)


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
    known = estimator.classes_ if goes_on else unique_labels(classes)
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
    if len(np.setdiff1d(present, known)):
        raise ValueError(
            f"`y` has classes not in `self.classes_`. `self.classes_` has {shortened(known)}."
            f" 'y' has {shortened(present)}."
        )
    return known
