"""Class weights: factors that depend on the class, for the sample weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from ..arrays import home_of, move, to_host
from ..backends import Array
from ..kernels.messages import shown
from ..validation import check_number
from .labels import LabelEncoder

__all__ = ["ClassWeights"]


def class_factors(
    class_weight: Any, codes: Any, classes: Any, sample_weight: Array | None
) -> list[Any]:
    """Compute the factor of each class.

    Parameters
    ----------
    class_weight : "balanced", dict or list of dict
        The parameter; a list has a dict for each label.
    codes : int array of shape (n_samples,) or (n_samples, n_labels)
        The index of each row's class, or 0 and 1 for each label.
    classes : array of shape (n_classes,)
        The class of each index; unused with labels.
    sample_weight : array of shape (n_samples,) or None
        Sample weights, which "balanced" counts instead of rows.

    Returns
    -------
    list of arrays of shape (n_classes,)
        The factors; with labels an array of shape (2,) for each label.

    Raises
    ------
    ValueError
        If class_weight does not fit the classes or the labels, or holds a negative number.
    """
    if codes.ndim == 1:
        if isinstance(class_weight, list):
            raise ValueError(
                f"class_weight is {shown(class_weight)}, expected a dict or 'balanced' where y has no"
                " several labels for each row"
            )
        return [_factors(class_weight, codes, classes, sample_weight)]
    count = codes.shape[1]
    if isinstance(class_weight, dict):
        raise ValueError(
            "For multi-output, class_weight should be a list of dicts, or the string 'balanced'. It is"
            f" {shown(class_weight)}, expected {count} dicts, one for each label."
        )
    if isinstance(class_weight, list) and len(class_weight) != count:
        raise ValueError(
            "For multi-output, number of elements in class_weight should match number of outputs. It"
            f" has {len(class_weight)} elements, expected {count}, one for each label."
        )
    each = class_weight if isinstance(class_weight, list) else [class_weight] * count
    zero_or_one = np.arange(2)
    columns = zip(each, codes.T, strict=True)
    return [_factors(one, column, zero_or_one, sample_weight) for one, column in columns]


def _factors(class_weight: Any, codes: Any, classes: Any, sample_weight: Array | None) -> Any:
    if isinstance(class_weight, str):
        counts = np.bincount(codes, weights=to_host(sample_weight), minlength=len(classes))
        present = counts > 0  # perhaps no row has a label, or only rows of weight 0 have a class
        factors = np.ones(len(classes))
        factors[present] = counts.sum() / (present.sum() * counts[present])
        return factors
    if not isinstance(class_weight, dict):
        raise ValueError(f"class_weight holds {shown(class_weight)}, expected dicts")
    for weight in class_weight.values():
        check_number("each of class_weight", weight, 0, math.inf)
    try:
        return compute_class_weight(class_weight, classes=classes, y=classes[codes])
    except ValueError as error:
        keys = shown(list(class_weight))
        raise ValueError(f"{error}, whose keys are {keys}, expected classes of y") from None


def times_factors(sample_weight: Array | None, codes: Any, factors: list[Any]) -> Array:
    """Multiply sample weights by the factors of the rows' classes.

    Parameters
    ----------
    sample_weight : array of shape (n_samples,) or None
        The sample weights; None stands for ones.
    codes : int array of shape (n_samples,) or (n_samples, n_labels)
        As in `class_factors`. The factors of a row's labels are multiplied.
    factors : list of arrays
        What `class_factors` has returned.

    Returns
    -------
    array of shape (n_samples,)
        The weights, on the device of `sample_weight`.
    """
    columns = zip(factors, np.atleast_2d(codes.T), strict=True)
    product = np.prod([each[column] for each, column in columns], axis=0)
    if sample_weight is None:
        return product
    home = home_of(sample_weight)
    with home.use():
        return sample_weight * move(product, home)


class ClassWeights:
    """The part of `MLPClassifier` that multiplies sample weights by class weights."""

    class_weight: Any
    _encoder: LabelEncoder

    def _targets_and_weights(
        self, name: str, y: Any, sample_weight: Array | None
    ) -> tuple[Array, Array | None]:
        codes, factors = self._encoder.checked_codes(name, y), self._class_factors
        targets = self._encoder.targets(codes)
        return targets, times_factors(sample_weight, codes, factors) if factors else sample_weight

    def _weighted_by_class(self, y: Any, sample_weight: Array | None) -> Array | None:
        self._class_factors: list[Any] = []
        if self.class_weight is None:
            return sample_weight
        codes = self._encoder.codes(y)
        self._class_factors = class_factors(
            self.class_weight, codes, self._encoder.classes, sample_weight
        )
        weights = times_factors(sample_weight, codes, self._class_factors)
        if not bool((weights > 0).any()):
            raise ValueError(
                f"class_weight is {shown(self.class_weight)}, expected a row whose weight is not 0"
            )
        return weights
