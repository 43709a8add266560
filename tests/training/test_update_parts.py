"""Updates of wide layers beside the backward pass: the same bits, and when they are made."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from single_steps import OPTIMIZERS
from small_networks import classes

from gpubp import Lion, Network, Optimizer, Trainer
from gpubp.backends import Array, Backend, cupy
from gpubp.kernels import ParameterArrays
from gpubp.layers import Layout
from gpubp.training.optimizer_state import OptimizerState
from gpubp.training.update_parts import UpdateParts

SIZES = (3, 16, 12, 5, 20, 3)  # 48, 192, 60, 100 and 60 weights, then 56 biases
X, Y = classes(43)
KINDS: dict[str, dict[str, Any]] = {
    "dropout": {"dropout": 0.3},
    "bfloat16": {"dtype": "float32", "precision": "bfloat16"},
    "tf32": {"dtype": "float32", "precision": "tf32"},
    "no biases": {"biases": False},
}
WHOLE: dict[str, dict[str, Any]] = {
    "float16": {"dtype": "float32", "precision": "float16"},
    "clip_norm": {},
    "apart": {},
}


@pytest.fixture(autouse=True)
def narrow_layers_are_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpubp.training.update_parts.LEAST_WEIGHTS", 90)
    monkeypatch.setattr("gpubp.workspace.APART_ELEMENTS", 0)


@pytest.fixture
def updated(monkeypatch: pytest.MonkeyPatch) -> list[slice]:
    """Note the parts that are updated before the counters advance."""
    noted: list[slice] = []
    update = OptimizerState.update

    def noting(self: OptimizerState, *arguments: Any, advances: bool) -> None:
        if not advances:
            noted.append(arguments[2])
        update(self, *arguments, advances=advances)

    monkeypatch.setattr(OptimizerState, "update", noting)
    return noted


def train(
    backend: Backend, optimizer: Optimizer | str = "adam", network: Any = None, **options: Any
) -> dict[str, Array]:
    """Train a network; return everything that one step passes to the next."""
    given = {
        "hidden": "tanh",
        "output": "softmax",
        "dtype": "float64",
        "seed": 0,
        **(network or {}),
    }
    trainer = Trainer(
        Network(SIZES, backend=backend, **given),
        optimizer,
        **{"batch_size": 4, "seed": 0, **options},
    )
    trainer.fit(X, Y, epochs=3)
    with backend.use():
        arrays = trainer.training_step.take().arrays
    return {name: backend.to_numpy(array) for name, array in arrays.items()}


def compare(backend: Backend, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    results = []
    for beside in (False, True):
        monkeypatch.setattr(backend, "updates_beside", beside)
        results.append(train(backend, **options))
    assert results[0].keys() == results[1].keys()
    for name, array in results[0].items():
        np.testing.assert_array_equal(results[1][name], array, err_msg=name)


# Of the parts that do not advance the counters, two are updated beside the backward pass, last layer first.
PARTS = [slice(304, 400), slice(48, 240), slice(0, 48), slice(240, 304)]


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS.values(), Lion()], ids=[*OPTIMIZERS, "lion"])
def test_updates_beside_the_backward_pass_have_the_bits_of_one_update(
    backend: Backend,
    optimizer: Optimizer,
    updated: list[slice],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compare(backend, monkeypatch, optimizer=optimizer)
    assert updated[:4] == ([] if optimizer.clip_norm else PARTS)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("steps_at_once", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_updates_beside_in_graphs_of_any_kind_have_the_bits_of_one_update(
    cuda_backend: Backend,
    kind: str,
    steps_at_once: int,
    fused: bool,
    updated: list[slice],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = cupy.open_cupy(graphs=True, fused=fused)
    assert backend.updates_beside == fused
    backend.steps_at_once = steps_at_once
    compare(backend, monkeypatch, network=KINDS[kind])
    assert updated[:2] == PARTS[:2]


@pytest.mark.parametrize("kind", WHOLE)
def test_what_needs_the_whole_gradient_is_one_update(
    cuda_backend: Backend, kind: str, updated: list[slice], monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "apart":
        monkeypatch.setattr("gpubp.workspace.APART_ELEMENTS", 2**20)
    optimizer = OPTIMIZERS["clipped momentum" if kind == "clip_norm" else "adam"]
    backend = cupy.open_cupy(graphs=True, fused=True)
    compare(backend, monkeypatch, network=WHOLE[kind], optimizer=optimizer)
    assert not updated


def test_an_accumulated_gradient_is_updated_by_after_its_last_block(
    backend: Backend, updated: list[slice], monkeypatch: pytest.MonkeyPatch
) -> None:
    compare(backend, monkeypatch, batch_size=2, accumulate=2)
    assert updated[:4] == PARTS


def test_a_graph_updates_beside_the_backward_pass(
    cuda_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Updates of layers are captured on side streams, and the others on the main stream."""
    backend = cupy.open_cupy(graphs=True, fused=True)
    update, seen = type(backend).update_with, []

    def noting(self: Any, rule: Any, given: ParameterArrays, *arguments: Any, **how: Any) -> None:
        if self._recording.held is not None:
            main = self._recording.streams(self.xp)[0].ptr
            seen.append((given.theta.size, self.xp.cuda.get_current_stream().ptr == main))
        update(self, rule, given, *arguments, **how)

    monkeypatch.setattr(type(backend), "update_with", noting)
    backend.steps_at_once = 1
    train(backend)
    assert seen[:5] == [(96, False), (192, False), (48, True), (64, True), (116, True)]


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("least", [17, 61, 90, 192, 193, 10**6])
def test_parts_hold_every_parameter_once(
    least: int, biases: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpubp.training.update_parts.LEAST_WEIGHTS", least)
    layout = Layout(SIZES, (biases,) * (len(SIZES) - 1))
    parts = UpdateParts.by_layer(layout)
    every = [part.place for part in (*parts.beside.values(), *parts.after)]
    held = np.concatenate([np.arange(layout.size)[part] for part in every])
    np.testing.assert_array_equal(np.sort(held), np.arange(layout.size))
    sizes = {k: n * m for k, (n, m) in enumerate(pairwise(SIZES))}
    assert set(parts.beside) == {k for k in sizes if k and sizes[k] >= least}
    assert all(part.start % 16 == 0 for part in every)
    assert 1 <= len(parts.after) <= 1 + len(parts.beside)
    assert least < 10**6 or parts == UpdateParts.whole(layout)
