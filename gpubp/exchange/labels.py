"""The labels of a classifier, as files have them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends import Array
from ..kernels.messages import shown

__all__ = ["label_values"]


def label_values(classifier: Any) -> Array:
    """Convert a classifier's classes to int64, also bools and floats, or to an object array of str.

    Raises
    ------
    ValueError
        If a class is a number that is not an int64.
    """
    classes = classifier._encoder.classes
    if classes.dtype.kind not in "biuf":
        return np.array([str(label) for label in classes], object)
    labels = classes.astype(np.int64)
    if not (labels == classes).all():
        wrong = shown(classes[labels != classes][0].item())
        raise ValueError(f"classes_ has {wrong}, expected whole numbers below 2**63")
    return labels
