"""What the tests of estimators share: small data, a quick classifier, networks compared, a mark."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpubp import MLPClassifier

not_converged = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def examples(rows: int = 120, classes: int = 3, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 6))
    return x, (x @ rng.normal(size=(6, classes))).argmax(axis=1)


def targets(columns: int, rows: int = 120) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, 6))
    y = np.tanh(x @ rng.normal(size=(6, columns)))
    return x, y[:, 0] if columns == 1 else y


def quick(**parameters: Any) -> MLPClassifier:
    return MLPClassifier((10,), random_state=0, **{"max_iter": 5, "batch_size": 30, **parameters})


def parameters_of(model: Any) -> Any:
    """The parameters of a fitted estimator's network, on the host."""
    return model.network_.backend.to_numpy(model.network_.parameters)


def assert_same_network(model: Any, other: Any) -> None:
    np.testing.assert_allclose(parameters_of(model), parameters_of(other), rtol=0, atol=1e-9)
