"""Training with the elementwise form of kernels beside training with their form by rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from replays import LABELS, X, replays_of, train

from gpubp.backends import Backend
from gpubp.backends.cupy import open_cupy
from gpubp.kernels.cuda import launch
from gpubp.kernels.typing import Array

BOTH = {"bias_activate", "multiply_by_derivative", "output_delta"}
CASES: dict[str, dict[str, Any]] = {
    "float32": {},
    "float64": {"dtype": "float64"},
    "huber": {"output": "tanh", "cost": "huber", "hidden": "gelu"},
    "no biases": {"biases": False},
    "bfloat16": {"precision": "bfloat16", "hidden": "gelu"},
    "float16": {"precision": "float16"},
}


def data() -> tuple[Array, Array]:
    return X, np.eye(3, dtype=np.float32)[LABELS]


def note(monkeypatch: pytest.MonkeyPatch, function: str) -> set[str]:
    """Let a function of launch.py note the names of the kernels that it is asked for."""
    asked: set[str] = set()
    original = getattr(launch, function)

    def noting(cupy: Any, name: str, *arguments: Any, **types: Any) -> Any:
        asked.add(name)
        return original(cupy, name, *arguments, **types)

    monkeypatch.setattr(launch, function, noting)
    return asked


@pytest.mark.parametrize("graphs", [True, False], ids=["graphs", "launches"])
@pytest.mark.parametrize("case", CASES)
def test_both_forms_train_the_same_network(
    cuda_backend: Backend, case: str, graphs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "gpubp.kernels.matmul.SMALL_WORK", 0
    )  # so that no product is fused with them
    rows, elements = note(monkeypatch, "by_rows"), note(monkeypatch, "by_elements")
    options = {"network": {"output": "sigmoid", **CASES[case]}, "data": data}
    there = train(open_cupy(graphs=graphs, form="elementwise"), **options)
    assert (elements, rows & BOTH) == (BOTH, set())
    elements.clear()
    here = train(open_cupy(graphs=graphs, form="rows"), **options)
    assert (elements, rows & BOTH) == (set(), BOTH)
    assert replays_of(there) == replays_of(here) >= 1
    parameters = (cuda_backend.to_numpy(one.network.parameters) for one in (there, here))
    tolerance = 1e-12 if case == "float64" else 1e-5
    np.testing.assert_allclose(*parameters, rtol=tolerance, atol=tolerance)
