"""Reprs of optimizers, early stopping, trainers, histories and layers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from small_networks import classes

import gpubp
from gpubp import (
    SGD,
    Adam,
    AdamW,
    EarlyStopping,
    History,
    Lion,
    Network,
    Optimizer,
    RMSProp,
    Trainer,
)

MADE: list[tuple[Optimizer, str]] = [
    (Adam(), "Adam(learning_rate=0.001)"),
    (Adam(0.5, beta1=0.8, clip_norm=1.0), "Adam(learning_rate=0.5, clip_norm=1.0, beta1=0.8)"),
    (SGD(0.1, momentum=0.9, nesterov=True), "SGD(learning_rate=0.1, momentum=0.9, nesterov=True)"),
    (AdamW(weight_decay=0.0), "AdamW(learning_rate=0.001, weight_decay=0.0)"),
    (RMSProp(np.float32(0.5), l1=1), "RMSProp(learning_rate=0.5, l1=1)"),
    (Lion(epsilon := 1e-300), f"Lion(learning_rate={epsilon})"),
]


@pytest.mark.parametrize(("made", "text"), MADE)
def test_an_optimizer_shows_what_differs_from_its_defaults_and_evaluates_back(
    made: Optimizer, text: str
) -> None:
    assert repr(made) == text
    assert eval(text, vars(gpubp)) == made


def test_early_stopping_shows_what_differs_and_evaluates_back() -> None:
    made = EarlyStopping(3, monitor="f1", higher_is_better=True)
    assert repr(made) == "EarlyStopping(patience=3, monitor='f1', higher_is_better=True)"
    assert eval(repr(made), vars(gpubp)) == made
    assert repr(EarlyStopping()) == "EarlyStopping(patience=10)"


def watch(trainer: Trainer, history: History) -> None:
    pass


def test_a_trainer_shows_its_network_and_what_differs_from_its_defaults() -> None:
    network = Network((2, 1), backend="numpy")
    shown = f"Trainer(\n    {network!r},\n    Adam(learning_rate=0.001),\n    batch_size=128,\n)"
    assert repr(Trainer(network)) == shown
    made = Trainer(
        network, SGD(0.5), batch_size=8, schedule=gpubp.schedules.Step(3), shuffle=False,
        accumulate=2, layer_rates=(0.5,), early_stopping=4, callbacks=[watch, gpubp.Callback()], seed=0,
        metrics={"f1": lambda y, p: 1.0},
    )  # fmt: skip
    assert repr(made).splitlines()[2:] == [
        "    SGD(learning_rate=0.5),",
        "    batch_size=8,",
        "    schedule=Step(every=3, factor=0.1),",
        "    shuffle=False,",
        "    accumulate=2,",
        "    layer_rates=(0.5,),",
        "    early_stopping=EarlyStopping(patience=4),",
        "    callbacks=[watch, Callback],",
        "    metrics=['f1'],",
        ")",
    ]


def test_a_history_shows_its_last_epoch_and_how_it_ended() -> None:
    assert repr(History()) == "<History of 0 epochs>"
    history = History(
        cost=[1.0, 0.123456], validation_cost=[2.0, 1.5], validation_accuracy=[0.5, 0.75],
        validation_metrics={"f1": [0.1, math.nan]}, best_epoch=1, stopped="early stopping",
    )  # fmt: skip
    assert repr(history) == (
        "<History of 2 epochs: cost 0.1235, validation cost 1.5, accuracy 0.75, f1 nan, best epoch 1,"
        " stopped 'early stopping'>"
    )
    network = Network((3, 3), output="softmax", seed=0)
    shown = repr(Trainer(network).fit(*classes(8), epochs=1))
    assert shown.startswith("<History of 1 epoch: cost ")
    assert shown.endswith(", best epoch 0, stopped 'epochs'>")


def test_a_layer_shows_its_widths_activation_dropout_and_missing_biases() -> None:
    network = Network((3, 4, 2), dropout=0.25, biases=[False, True], backend="numpy")
    assert [repr(layer) for layer in network.layers] == [
        "Layer(3 to 4, relu, dropout=0.25, biases=False)",
        "Layer(4 to 2, identity)",
    ]
