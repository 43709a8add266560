"""Factors of the layers' rates as settings: copies, callbacks, reductions, checkpoints, update parts."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy_loop import ROWS, SIZES, Loop, is_frozen, made
from resuming import assert_same, fit_in_parts
from single_steps import FORM, OPTIMIZERS, step_on
from small_networks import classes, classifier, parameters

import gpubp
from gpubp import SGD, Callback, History, Trainer
from gpubp.backends import Array, Backend
from gpubp.files import TensorFile, write_tensors
from gpubp.layers import Layout
from gpubp.training.layer_rates import LayerRates
from gpubp.training.update_parts import UpdatePart, UpdateParts

# Settings


def test_a_trainer_tells_its_factors_and_takes_others(backend: Backend) -> None:
    network = made(backend)
    trainer = Trainer(network)
    assert trainer.layer_rates is None
    trainer.layer_rates = np.array([0, 0.5, 2], np.float32)
    assert trainer.layer_rates == trainer.training_step.layer_rates == (0.0, 0.5, 2.0)
    for other in (copy.copy(trainer), copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer))):
        assert other.layer_rates == (0.0, 0.5, 2.0)
    trainer.layer_rates = None
    assert trainer.layer_rates is None
    assert Trainer(network, layer_rates=[0, 1, 0]).layer_rates == (0.0, 1.0, 0.0)


@pytest.mark.parametrize("copies", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_a_copy_trains_on_with_the_same_factors(backend: Backend, copies: Any) -> None:
    x, y = classes(50, SIZES[0], SIZES[-1])
    trainer = Trainer(made(backend), "adam", layer_rates=(0, 0.1, 1), batch_size=8, seed=0)
    trainer.fit(x, y, epochs=1)
    other = copies(trainer)
    for each in (trainer, other):
        each.fit(x, y, epochs=2)
    np.testing.assert_array_equal(parameters(trainer.network), parameters(other.network))


def test_bad_factors_draw_nothing_from_a_generator() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="layer_rates has 2 entries, expected 3, one for each"):
        Trainer(made(), layer_rates=(0, 1), seed=rng)
    assert rng.random() == np.random.default_rng(0).random()


class Unfreeze(Callback):
    """Sets other factors before an epoch, or after a step of the first epoch."""

    def __init__(self, epoch: int = -1, step: int = -1) -> None:
        self.epoch, self.step = epoch, step

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        if epoch == self.epoch:
            trainer.layer_rates = (0, 0.5, 1)

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        if step == self.step and trainer.layer_rates == (0, 0, 1):
            trainer.layer_rates = (0, 0.5, 1)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.parametrize("when", [{"epoch": 1}, {"step": 4}], ids=str)
def test_a_callback_may_unfreeze_layers(
    backend: Backend, when: dict[str, int], optimizer: str
) -> None:
    x, y = classes(5 * ROWS, SIZES[0], SIZES[-1])
    network = made(backend)
    loop = Loop(network, OPTIMIZERS[optimizer])
    how: dict[str, Any] = {"batch_size": ROWS, "shuffle": False, "layer_rates": (0, 0, 1)}
    trainer = Trainer(network, OPTIMIZERS[optimizer], callbacks=[Unfreeze(**when)], **how)
    history = trainer.fit(x, y, epochs=2)
    for epoch in range(2):
        for first in range(0, len(x), ROWS):
            rows = slice(first, first + ROWS)
            changed = epoch == 1 or ("step" in when and first == 5 * ROWS)
            loop.step(x[rows], y[rows], (0, 0.5, 1) if changed else (0, 0, 1))
    np.testing.assert_allclose(parameters(network), loop.parameters, rtol=1e-9, atol=1e-12)
    assert np.isfinite(history.cost).all()
    assert trainer.layer_rates == (0, 0.5, 1)


def test_a_change_within_an_epoch_keeps_its_costs(backend: Backend) -> None:
    x, y = classes(5 * ROWS, SIZES[0], SIZES[-1])
    costs = []
    for step in (-1, 2):
        how: dict[str, Any] = {"batch_size": ROWS, "shuffle": False, "layer_rates": (0, 0, 1)}
        trainer = Trainer(made(backend), "sgd", callbacks=[Unfreeze(step=step)], **how)
        trainer.fit(x, y, epochs=1)
        with backend.use():
            costs.append(trainer.training_step.costs())
    np.testing.assert_array_equal(costs[0][:3], costs[1][:3])
    assert (costs[0][4:] != costs[1][4:]).all()


def test_a_fit_that_fails_restores_the_factors() -> None:
    class Fails(Unfreeze):
        def on_epoch_end(self, trainer: Trainer, history: History) -> None:
            raise OSError("enough")

    x, y = classes(20, SIZES[0], SIZES[-1])
    trainer = Trainer(made(), layer_rates=(0, 0, 1), callbacks=[Fails(epoch=0)], seed=0)
    before = parameters(trainer.network)
    with pytest.raises(OSError, match="enough"):
        trainer.fit(x, y, epochs=1)
    assert trainer.layer_rates == (0, 0, 1)
    np.testing.assert_array_equal(parameters(trainer.network), before)


# Between the halves


@pytest.mark.parametrize("name", ["momentum", "clipped momentum", "adam"])
def test_a_reduction_finds_no_gradient_of_frozen_layers(backend: Backend, name: str) -> None:
    """What it writes there changes no parameter, nor the norm that clipping reads."""
    results, seen = [], []
    frozen = is_frozen(made().layout, (0, 1, 0.5))

    def spoil(gradient: Array) -> None:
        seen.append(np.array(backend.to_numpy(gradient))[frozen])
        gradient[backend.asarray(np.flatnonzero(frozen))] = 1e3

    x, y = classes(24, SIZES[0], SIZES[-1])
    for reduce in (None, spoil):
        network = made(backend)
        step = step_on(network, OPTIMIZERS[name], x, y, reduce=reduce, layer_rates=(0, 1, 0.5))
        with backend.use():
            step.prepare()
            step.run(FORM, 2)
            step.run(FORM)
        results.append(parameters(network))
    np.testing.assert_allclose(*results, rtol=1e-12, atol=1e-14)
    assert len(seen) == 3
    assert not np.any(seen)


def test_the_gradient_of_a_layer_that_becomes_frozen_is_0(backend: Backend) -> None:
    x, y = classes(24, SIZES[0], SIZES[-1])
    step = step_on(made(backend), OPTIMIZERS["momentum"], x, y, reduce=lambda gradient: None)
    with backend.use():
        step.prepare()
        step.run(FORM)
        assert backend.to_numpy(step.gradient).all()
        step.layer_rates = (0, 1, 0)
        step.prepare()
        step.halves(FORM)[0]()
        is_zero = backend.to_numpy(step.gradient) == 0
    np.testing.assert_array_equal(is_zero, is_frozen(step.network.layout, (0, 1, 0)))


def test_halves_train_the_same_layers(backend: Backend) -> None:
    x, y = classes(24, SIZES[0], SIZES[-1])
    results = []
    for by_halves in (False, True):
        network = made(backend)
        step = step_on(network, OPTIMIZERS["adam"], x, y, layer_rates=(0, 0.1, 1))
        with backend.use():
            step.make_room([FORM], 4)
            step.prepare(4)
            if by_halves:
                gradient, update = (backend.capture(half) for half in step.halves(FORM))
            for _ in range(4):
                if by_halves:
                    gradient()
                    update()
                    step.count()
                else:
                    step.run(FORM)
        results.append(parameters(network))
    np.testing.assert_array_equal(*results)


# Checkpoints


@pytest.mark.parametrize("parts", [[3], [7, 5]], ids=str)
def test_a_resumed_fit_has_the_bits_of_a_whole_one(
    backend: Backend, parts: list[int], tmp_path: Path
) -> None:
    x, y = classes(22, SIZES[0], SIZES[-1])

    def trainer() -> Trainer:
        network = made(backend, dropout=0.2)
        how: dict[str, Any] = {"batch_size": 4, "seed": 7, "layer_rates": (0, 0.1, 1)}
        return Trainer(network, SGD(learning_rate=0.1, momentum=0.9), **how)

    whole = trainer()
    history = whole.fit(x, y, epochs=4)
    resumed = fit_in_parts(trainer, tmp_path, parts, x, y, epochs=4)
    assert_same(resumed, (whole, history))


@pytest.mark.parametrize("parts", [[3], [8], [12], [13, 3]], ids=str)
def test_a_resumed_fit_has_the_factors_that_a_callback_has_set(
    parts: list[int], tmp_path: Path
) -> None:
    x, y = classes(22, SIZES[0], SIZES[-1])  # six steps in each epoch

    def trainer() -> Trainer:
        how: dict[str, Any] = {"batch_size": 4, "seed": 7, "layer_rates": (0, 0, 1)}
        return Trainer(made(), "adam", callbacks=[Unfreeze(epoch=1)], **how)

    whole = trainer()
    history = whole.fit(x, y, epochs=4)
    resumed = fit_in_parts(trainer, tmp_path, parts, x, y, epochs=4)
    assert_same(resumed, (whole, history))
    assert resumed[0].layer_rates == (0, 0.5, 1)


def test_a_checkpoint_of_other_factors_is_refused(tmp_path: Path) -> None:
    x, y = classes(22, SIZES[0], SIZES[-1])
    checkpoint = gpubp.Checkpoint(tmp_path, every="1 epoch")
    Trainer(made(), layer_rates=(0, 0.5, 1), checkpoint=checkpoint, seed=0).fit(x, y, epochs=1)
    for rates in (None, (0, 0, 1)):
        trainer = Trainer(made(), layer_rates=rates, seed=0)
        with pytest.raises(ValueError, match=r"layer_rates is \[0.0, 0.5, 1.0\], but here it is"):
            trainer.resume(tmp_path)
        assert trainer.layer_rates == rates
    with pytest.raises(ValueError, match="network"):
        Trainer(classifier(), layer_rates=(0, 1)).resume(tmp_path)


def rewritten(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what a checkpoint says of training."""
    with TensorFile(file) as opened:
        tensors, metadata = opened.read(), dict(opened.metadata)
    described = json.loads(metadata["training"])
    change(described)
    write_tensors(file, tensors, metadata | {"training": json.dumps(described)})


def test_a_checkpoint_that_was_written_without_factors_is_read(tmp_path: Path) -> None:
    x, y = classes(22, SIZES[0], SIZES[-1])
    checkpoint = gpubp.Checkpoint(tmp_path, every="1 epoch", keep=1)
    trainer = Trainer(made(), checkpoint=checkpoint, seed=0)
    trainer.fit(x, y, epochs=1)

    def forget(described: dict[str, Any]) -> None:
        assert (
            described.pop("layer_rates", 0) is described["settings"].pop("layer_rates", 1) is None
        )

    assert checkpoint.newest is not None
    rewritten(checkpoint.newest, forget)
    other = Trainer(made(seed=1), layer_rates=None, seed=5)
    other.resume(tmp_path)
    for each in (trainer, other):
        each.checkpoint = None
    trainer.resume(tmp_path)
    histories = [each.fit(x, y, epochs=3) for each in (trainer, other)]
    assert_same((other, histories[1]), (trainer, histories[0]))


@pytest.mark.parametrize("factors", [[0.0, 1.0], [0.0] * 3, "abc", [0.5, 1.0, -1.0], 3])
def test_a_checkpoint_of_impossible_factors_is_damaged(factors: Any, tmp_path: Path) -> None:
    x, y = classes(22, SIZES[0], SIZES[-1])
    checkpoint = gpubp.Checkpoint(tmp_path, every="1 epoch", keep=1)
    Trainer(made(), layer_rates=(0, 0, 1), checkpoint=checkpoint).fit(x, y, epochs=1)
    assert checkpoint.newest is not None
    rewritten(checkpoint.newest, lambda described: described.update(layer_rates=factors))
    with pytest.raises(gpubp.CorruptFileError, match="is not a whole checkpoint: layer_rates"):
        Trainer(made(), layer_rates=(0, 0, 1)).resume(checkpoint.newest)


# Parts of the parameters


def test_neighbours_of_one_factor_are_updated_together() -> None:
    layout = Layout((2, 3, 4, 2, 2), (True, False, True, True))  # weights end at 6, 18, 26, 30

    def parts(*factors: float) -> list[tuple[int, int, int]]:
        found = UpdateParts.by_rate(layout, LayerRates.of(factors, 4))
        assert not found.beside
        return [(part.place.start, part.place.stop, part.factor) for part in found.after]

    assert parts(1, 1, 1, 1) == [(0, 37, 0)]
    assert parts(0.5, 0.5, 0.5, 0.5) == [(0, 37, 1)]
    assert parts(0, 0.5, 1, 1) == [(6, 18, 1), (18, 30, 0), (33, 37, 0)]
    assert parts(2, 1, 2, 0) == [(0, 6, 1), (6, 18, 0), (18, 26, 1), (30, 35, 1)]
    assert parts(0, 2, 1, 3) == [(6, 18, 1), (18, 26, 0), (26, 30, 2), (33, 35, 0), (35, 37, 2)]
    assert parts(1, 0, 0, 1) == [(0, 6, 0), (26, 33, 0), (35, 37, 0)]
    whole = UpdateParts.whole(layout)
    assert UpdateParts.by_rate(layout, LayerRates.of(None, 4)) == whole
    assert whole.after == [UpdatePart(slice(0, 37))]
