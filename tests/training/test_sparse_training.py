"""Training on sparse rows: the results of dense rows."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from resuming import assert_same, fit_in_parts
from single_steps import OPTIMIZERS
from small_networks import parameters
from sparse_matrices import sparse

from gpubp import Network, Trainer
from gpubp.backends import Backend
from gpubp.backends.numpy import NumpyBackend

ROWS, COLUMNS = 43, 30
X, LABELS = sparse(ROWS, COLUMNS), np.random.default_rng(1).integers(0, 3, ROWS)
WEIGHTS = np.random.default_rng(2).uniform(0.5, 2, ROWS)
VALIDATION = sparse(17, COLUMNS, seed=3), np.random.default_rng(4).integers(0, 3, 17)


def trainer_for(backend: Backend, optimizer: Any = "adam", **options: Any) -> Trainer:
    network = Network(
        *((COLUMNS, 5, 3),),
        **{"hidden": "tanh", "output": "softmax", "dtype": "float64", "seed": 0},
        dropout=options.pop("dropout", 0.0),
        backend=backend,
    )
    return Trainer(network, optimizer, **{"batch_size": 8, "seed": 5, **options})


def as_dense(x: Any) -> Any:
    return x.toarray()


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=str)
def test_every_optimizer_trains_as_on_dense_rows(backend: Backend, optimizer: Any) -> None:
    trainers = [trainer_for(backend, optimizer) for _ in range(2)]
    given, expected = (
        trainer.fit(x, LABELS, epochs=3)
        for trainer, x in zip(trainers, (X, as_dense(X)), strict=True)
    )
    np.testing.assert_allclose(given.cost, expected.cost, rtol=1e-10)
    mine, other = (parameters(trainer.network) for trainer in trainers)
    np.testing.assert_allclose(mine, other, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    "options",
    [{"accumulate": 3}, {"shuffle": False}, {"dropout": 0.4}, {"batch_size": 100}],
    ids=str,
)
def test_settings_weights_and_validation_data_count_as_for_dense_rows(
    backend: Backend, options: dict[str, Any]
) -> None:
    results = []
    for convert in (scipy.sparse.csc_array, as_dense):
        trainer = trainer_for(backend, **options)
        x, y = VALIDATION
        history = trainer.fit(
            *(convert(X), LABELS),
            epochs=3,
            sample_weight=WEIGHTS,
            validation_data=(convert(x), y),
        )
        results.append((history, parameters(trainer.network)))
    (given, mine), (expected, other) = results
    np.testing.assert_allclose(given.cost, expected.cost, rtol=1e-10)
    np.testing.assert_allclose(given.validation_cost, expected.validation_cost, rtol=1e-10)
    assert given.validation_accuracy == expected.validation_accuracy
    np.testing.assert_allclose(mine, other, rtol=1e-8, atol=1e-10)


def test_single_steps_take_sparse_and_dense_batches_in_turn(backend: Backend) -> None:
    trainers = trainer_for(backend), trainer_for(backend)
    for k, rows in enumerate([slice(0, 8), slice(8, 16), slice(16, 24), slice(24, 29)] * 2):
        batch = X[rows]
        trainers[0].step(batch if k % 3 else as_dense(batch), LABELS[rows])
        trainers[1].step(as_dense(batch), LABELS[rows])
        assert trainers[0].step_cost == pytest.approx(trainers[1].step_cost, rel=1e-10)
    mine, other = (parameters(trainer.network) for trainer in trainers)
    np.testing.assert_allclose(mine, other, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("precision", [None, "tf32", "bfloat16", "float16"])
def test_a_step_on_numbers_that_are_too_large_warns_no_more_than_on_dense_rows(
    backend: Backend, precision: str | None
) -> None:
    too_large = np.array([[1e300, 0, 1], [0, 2, 0]])
    for x in (too_large, scipy.sparse.csr_array(too_large)):
        network = Network((3, 4, 1), backend=backend, seed=0, precision=precision)
        trainer = Trainer(network, "sgd", batch_size=2)
        trainer.step(x, np.zeros((2, 1)))
        assert not np.isfinite(trainer.step_cost)


def test_a_fit_on_sparse_rows_goes_on_from_a_checkpoint_with_the_same_bits(
    backend: Backend, tmp_path: Path
) -> None:
    def make() -> Trainer:
        return trainer_for(backend, dropout=0.3)

    whole = make()
    expected = whole.fit(X, LABELS, epochs=3, validation_data=VALIDATION)
    resumed = fit_in_parts(make, tmp_path, [2, 5], X, LABELS, epochs=3, validation_data=VALIDATION)
    assert_same(resumed, (whole, expected))


def test_a_checkpoint_of_other_sparse_rows_is_refused(tmp_path: Path) -> None:
    other, moved = X.copy(), X.copy()
    other.data = other.data * 2
    moved.indices = COLUMNS - 1 - moved.indices
    first = trainer_for(NumpyBackend(), checkpoint=tmp_path)
    first.fit(X, LABELS, epochs=1)
    for x in (other, moved, as_dense(X)):
        trainer = trainer_for(NumpyBackend())
        trainer.resume(tmp_path)
        with pytest.raises(ValueError, match="data"):
            trainer.fit(x, LABELS, epochs=2)


def test_targets_that_are_streamed_cannot_go_with_sparse_rows(tmp_path: Path) -> None:
    y = np.memmap(tmp_path / "y", "int64", "w+", shape=(ROWS,))
    trainer = trainer_for(NumpyBackend())
    before = parameters(trainer.network)
    message = "^y is read batch by batch, expected an array in memory, because x is sparse$"
    with pytest.raises(ValueError, match=message):
        trainer.fit(X, y, epochs=1)
    with pytest.raises(
        ValueError, match=r"^validation y is read .* because validation x is sparse"
    ):
        trainer.fit(X, LABELS, epochs=1, validation_data=(X, y))
    np.testing.assert_array_equal(parameters(trainer.network), before)


@pytest.mark.parametrize("compile", [True, False])
def test_training_on_a_wide_matrix_makes_no_dense_batch(compile: bool) -> None:
    rows, columns = 512, 100_000  # a dense batch is 51 MB of float32
    x = scipy.sparse.random_array((rows, columns), density=2e-5, format="csr", rng=0)
    network = Network((columns, 1), backend=NumpyBackend(compile=compile), seed=0)
    trainer = Trainer(network, "sgd", batch_size=128)
    trainer.step(x[:1], np.zeros(1))  # compile, and import what is used
    tracemalloc.start()
    trainer.fit(x, np.zeros(rows), epochs=2, validation_data=(x, np.zeros(rows)))
    assert tracemalloc.get_traced_memory()[1] < 15e6
    tracemalloc.stop()
