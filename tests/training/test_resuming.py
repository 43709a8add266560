"""A fit that goes on from a checkpoint ends with the bits of one that was not stopped."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from resuming import StopAfter, assert_same, fit_in_parts, without_seconds
from single_steps import OPTIMIZERS
from small_networks import classes, classifier, parameters

import gpubp
from gpubp import SGD, Adam, Callback, DivergenceError, History, Network, Trainer
from gpubp.backends import Backend
from gpubp.training.schedules import SCHEDULES, Constant

X, Y = classes(22, seed=3)
VALIDATION = classes(9, seed=4)
WEIGHTS = np.random.default_rng(5).uniform(0.5, 2, 22)

PARTS = [2, 5, 4]
"""The steps of each part. With 6 batches an epoch they end within the first and the second epoch."""


def trainer(
    backend: Backend | str, network: dict[str, Any] | None = None, **options: Any
) -> Trainer:
    made = classifier(backend, **{"dropout": 0.3, **(network or {})})
    return Trainer(made, **{"optimizer": Adam(), "batch_size": 4, "seed": 7, **options})


def check(
    folder: Path,
    backend: Backend,
    made_with: dict[str, Any],
    x: Any = X,
    y: Any = Y,
    **options: Any,
) -> None:
    """Check that a fit in parts and a whole one give the same."""
    make = partial(trainer, backend, **made_with)
    options = {"epochs": 4, **options}
    whole = make()
    expected = whole.fit(x, y, **options)
    resumed = fit_in_parts(make, folder, PARTS, x, y, **options)
    assert_same(resumed, (whole, expected))
    whole.checkpoint = None
    resumed[0].checkpoint = None
    for each in (whole, resumed[0]):
        each.fit(x, y, epochs=1)
    np.testing.assert_array_equal(parameters(resumed[0].network), parameters(whole.network))


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS.values(), gpubp.AdamW(), gpubp.Lion()], ids=str)
def test_each_optimizer_goes_on(backend: Backend, tmp_path: Path, optimizer: Any) -> None:
    check(tmp_path, backend, {"optimizer": optimizer})


def test_the_order_of_a_random_state_goes_on(tmp_path: Path) -> None:
    def make() -> Trainer:
        return trainer("numpy", seed=np.random.RandomState(7))

    whole = make()
    expected = whole.fit(X, Y, epochs=4)
    resumed = fit_in_parts(make, tmp_path, PARTS, X, Y, epochs=4)
    assert_same(resumed, (whole, expected))


def test_a_fit_after_one_that_was_over_at_its_checkpoint_goes_on_in_the_order_of_a_random_state(
    tmp_path: Path,
) -> None:
    whole, resumed = (trainer("numpy", seed=np.random.RandomState(seed)) for seed in (7, 8))
    whole.checkpoint = tmp_path
    whole.fit(X, Y, epochs=2)
    whole.checkpoint = None
    resumed.resume(tmp_path)
    resumed.fit(X, Y, epochs=2)
    for each in (whole, resumed):
        each.fit(X, Y, epochs=2)
    np.testing.assert_array_equal(parameters(resumed.network), parameters(whole.network))


def test_factors_of_penalties_go_on(tmp_path: Path) -> None:
    optimizer = Adam(learning_rate=0.01, l2=3.0)
    made = {"optimizer": optimizer, "schedule": PerRow()}
    check(tmp_path, gpubp.get_backend("numpy"), made, sample_weight=WEIGHTS)


class PerRow(Constant):
    """A penalty of the sum of the costs of all rows."""

    def penalty_factors(self, batch_weights: Any) -> Any:
        return 1 / batch_weights


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_each_schedule_goes_on(tmp_path: Path, schedule: str) -> None:
    made = SCHEDULES[schedule]
    options: dict[str, Any] = {"on_plateau": {"patience": 0, "min_improvement": 1.0}}.get(
        schedule, {}
    )
    check(tmp_path, gpubp.get_backend("numpy"), {"schedule": made(**options)}, epochs=5)


@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "float16"])
def test_each_precision_goes_on(backend: Backend, tmp_path: Path, precision: str) -> None:
    check(tmp_path, backend, {"network": {"dtype": "float32", "precision": precision}})


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_float16s_loss_scale_goes_on(tmp_path: Path, momentum: float) -> None:
    options = {
        "network": {"dtype": "float32", "precision": "float16"},
        "optimizer": SGD(learning_rate=1e-3, momentum=momentum),
    }
    check(tmp_path, gpubp.get_backend("numpy"), options, x=X * 1e3)


@pytest.mark.parametrize(
    "options",
    [{"accumulate": 2, "batch_size": 2}, {"shuffle": False}, {"batch_size": 50}],
    ids=["accumulate", "in order", "one batch"],
)
def test_each_order_of_batches_goes_on(
    backend: Backend, tmp_path: Path, options: dict[str, Any]
) -> None:
    parts = [1, 2] if options.get("batch_size") == 50 else PARTS
    make = partial(trainer, backend, **options)
    whole = make()
    expected = whole.fit(X, Y, epochs=5, sample_weight=WEIGHTS)
    resumed = fit_in_parts(make, tmp_path, parts, X, Y, epochs=5, sample_weight=WEIGHTS)
    assert_same(resumed, (whole, expected))


def test_streamed_data_go_on(backend: Backend, tmp_path: Path) -> None:
    x = np.memmap(tmp_path / "x", X.dtype, "w+", shape=X.shape)
    x[...] = X
    check(tmp_path / "run", backend, {}, x=x, sample_weight=WEIGHTS)


@pytest.mark.parametrize("patience", [1, 2, 30])
def test_early_stopping_goes_on(backend: Backend, tmp_path: Path, patience: int) -> None:
    options = {"early_stopping": patience, "optimizer": Adam(learning_rate=0.3)}
    make = partial(trainer, backend, **options)
    whole = make()
    expected = whole.fit(X, Y, epochs=12, validation_data=VALIDATION)
    resumed = fit_in_parts(make, tmp_path, PARTS[:2], X, Y, epochs=12, validation_data=VALIDATION)
    assert_same(resumed, (whole, expected))
    assert expected.stopped == ("epochs" if patience == 30 else "early stopping")


def test_a_fit_that_has_ended_is_over_and_more_epochs_go_on(
    backend: Backend, tmp_path: Path
) -> None:
    first = trainer(backend, checkpoint=tmp_path, early_stopping=30)
    expected = first.fit(X, Y, epochs=3)
    again = trainer(backend, early_stopping=30)
    again.resume(tmp_path)
    assert_same((again, again.fit(X, Y, epochs=3)), (first, expected))
    longer, whole = trainer(backend, early_stopping=30), trainer(backend, early_stopping=30)
    assert len(longer.resume(tmp_path)) == 3
    assert_same((longer, longer.fit(X, Y, epochs=5)), (whole, whole.fit(X, Y, epochs=5)))


def test_a_fit_that_early_stopping_has_ended_is_over(tmp_path: Path) -> None:
    first = trainer(
        "numpy", checkpoint=tmp_path, early_stopping=1, optimizer=Adam(learning_rate=0.9)
    )
    expected = first.fit(X, Y, epochs=50)
    assert expected.stopped == "early stopping" and len(expected) < 50
    again = trainer("numpy", early_stopping=1, optimizer=Adam(learning_rate=0.9))
    again.resume(tmp_path)
    assert_same((again, again.fit(X, Y, epochs=50)), (first, expected))


def test_another_backend_goes_on_to_rounding(backend: Backend, tmp_path: Path) -> None:
    whole = trainer("numpy")
    expected = whole.fit(X, Y, epochs=4)
    for backends in itertools.permutations(["numpy", backend]):
        turn = itertools.cycle(backends)

        def make(turn: Iterator[Any] = turn) -> Trainer:
            return trainer(next(turn))

        folder = tmp_path / str(backends.index("numpy"))
        resumed, history = fit_in_parts(make, folder, PARTS, X, Y, epochs=4)
        np.testing.assert_allclose(history.cost, expected.cost, rtol=1e-12)
        np.testing.assert_allclose(
            parameters(resumed.network), parameters(whole.network), rtol=1e-10, atol=1e-14
        )


def test_divergence_after_a_checkpoint_gives_back_the_same_parameters(tmp_path: Path) -> None:
    """The last good state may be older than the checkpoint."""

    class Explode(Callback):
        def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
            if epoch == 2:
                trainer.network.parameters[...] = 1e200

    make = partial(trainer, "numpy", {"hidden": "identity", "dropout": 0.0}, callbacks=[Explode()])
    ended = []
    whole = make()
    with pytest.raises(DivergenceError, match="before epoch 2"):
        whole.fit(X, Y, epochs=4)
    for parts in ([6], [8], [12], [13]):
        folder = tmp_path / str(parts)
        with pytest.raises(DivergenceError, match="before epoch 2") as error:
            fit_in_parts(make, folder, parts, X, Y, epochs=4)
        ended.append(error.value.history)
    for history in ended:
        assert without_seconds(history)["cost"] == ended[0].cost


class Count(Callback):
    """Counts epochs and keeps the parameters of the last."""

    def __init__(self) -> None:
        self.epochs, self.kept, self.least = 0, np.zeros(1), np.inf

    def on_epoch_end(self, trainer: Trainer, history: History) -> None:
        self.epochs += 1
        self.kept = parameters(trainer.network)

    def state(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "kept": self.kept, "least": self.least, "more": {"a": [1.5]}}

    def restore(self, state: dict[str, Any]) -> None:
        assert state["more"] == {"a": [1.5]} and state["least"] == np.inf
        self.epochs, self.kept = state["epochs"], state["kept"]


def test_callbacks_with_a_state_go_on(tmp_path: Path) -> None:
    seen: list[Count] = []

    def make() -> Trainer:
        seen.append(Count())
        return trainer("numpy", callbacks=[lambda trainer, history: None, seen[-1]])

    _, history = fit_in_parts(make, tmp_path, [8], X, Y, epochs=4)
    assert len(history) == 4 and [count.epochs for count in seen] == [2, 4]  # 1 and a stopped one
    bare = trainer("numpy")
    bare.resume(tmp_path)
    with pytest.raises(
        ValueError, match="callbacks has no Count, whose state is in the checkpoint"
    ):
        bare.fit(X, Y, epochs=9)


def test_an_optimizer_that_a_callback_has_set_goes_on(tmp_path: Path) -> None:
    def change(trainer: Trainer, history: History) -> None:
        if len(history) == 1:
            trainer.optimizer = SGD(momentum=0.8, learning_rate=0.05)

    make = partial(trainer, "numpy", callbacks=[change])
    whole = make()
    expected = whole.fit(X, Y, epochs=4)
    resumed = fit_in_parts(make, tmp_path, PARTS, X, Y, epochs=4)
    assert_same(resumed, (whole, expected))
    assert resumed[0].optimizer == whole.optimizer


@pytest.mark.parametrize("generator", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_each_of_numpys_generators_goes_on(tmp_path: Path, generator: str) -> None:
    def make() -> Trainer:
        bits = getattr(np.random, generator)(3)
        return trainer("numpy", seed=np.random.Generator(bits))

    whole = make()
    expected = whole.fit(X, Y, epochs=4)
    resumed, history = fit_in_parts(make, tmp_path, PARTS, X, Y, epochs=4)
    assert without_seconds(history) == without_seconds(expected)
    np.testing.assert_array_equal(parameters(resumed.network), parameters(whole.network))


def test_a_checkpoint_is_a_networks_file(backend: Backend, tmp_path: Path) -> None:
    first = trainer(backend, checkpoint=tmp_path)
    first.fit(X, Y, epochs=2)
    assert first.checkpoint is not None and first.checkpoint.newest is not None
    loaded = Network.load(first.checkpoint.newest, backend=backend)
    np.testing.assert_array_equal(parameters(loaded), parameters(first.network))
    assert repr(loaded) == repr(first.network)


def test_resume_gives_the_network_its_parameters_at_once(tmp_path: Path) -> None:
    first = trainer("numpy", checkpoint=tmp_path)
    first.fit(X, Y, epochs=2)
    again = trainer("numpy")
    history = again.resume(tmp_path)
    np.testing.assert_array_equal(parameters(again.network), parameters(first.network))
    assert len(history) == 2 and history.cost == again.fit(X, Y, epochs=2).cost


def test_a_resumed_fit_that_fails_goes_on_when_it_is_run_again(tmp_path: Path) -> None:
    def fail(trainer: Trainer, history: History) -> None:
        raise RuntimeError("oh")

    trainer("numpy", checkpoint=tmp_path, callbacks=[StopAfter(8)]).fit(X, Y, epochs=4)
    again, whole = trainer("numpy", callbacks=[fail]), trainer("numpy")
    again.resume(tmp_path)
    with pytest.raises(RuntimeError, match="oh"):
        again.fit(X, Y, epochs=4)
    again.callbacks = []
    assert_same((again, again.fit(X, Y, epochs=4)), (whole, whole.fit(X, Y, epochs=4)))


class Breaking:
    """Rows that can be sliced; a row that is missing cannot be read."""

    def __init__(self, rows: Any, missing: int | None) -> None:
        self.rows, self.missing, self.shape = rows, missing, rows.shape

    def __getitem__(self, index: Any) -> Any:
        if self.missing is not None and self.missing in np.arange(len(self.rows))[index]:
            raise OSError("the disk is gone")
        return self.rows[index]


@pytest.mark.parametrize("part", ["training", "validation"])
@pytest.mark.parametrize("rows_before", [1, 8, 13])
def test_data_that_fail_leave_a_checkpoint_and_mended_data_go_on(
    backend: Backend, tmp_path: Path, part: str, rows_before: int
) -> None:
    """The checkpoint is written before the first step, after some, or after the last of an epoch."""
    make = partial(trainer, backend, early_stopping=9, schedule="cosine", shuffle=False)
    x, valid = Breaking(X, None), Breaking(VALIDATION[0], None)

    def fit(each: Trainer) -> History:
        return each.fit(x, Y, epochs=4, validation_data=(valid, VALIDATION[1]))

    class Break(Callback):
        def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
            if epoch == 2:
                x.missing = rows_before if part == "training" else None
                valid.missing = rows_before % 9 if part == "validation" else None

    failed = make(checkpoint=tmp_path, callbacks=[Break()])
    with pytest.raises(OSError, match=r"the disk is gone \((in|after) epoch 3"):
        fit(failed)
    kept = parameters(failed.network)
    x.missing = valid.missing = None
    resumed, whole = make(), make()
    assert len(resumed.resume(tmp_path)) == 2
    np.testing.assert_array_equal(parameters(resumed.network), kept)
    assert_same((resumed, fit(resumed)), (whole, fit(whole)))
