"""Arguments of training that newcomers get wrong, and settings of metrics, monitors and held-out rows."""

from __future__ import annotations

import numpy as np
from bad_settings import Row, X, Y, fitting, of, setting, training

import gpubp
from gpubp import Adam, Checkpoint, EarlyStopping, Trainer

TRAINING: list[Row] = [
    Row("lr", of(Adam, lr=0.1), TypeError, "argument 'lr'; did you mean 'learning_rate'?"),
    Row("lr of a trainer", training(lr=0.1), TypeError, "did you mean Adam(learning_rate=...)?"),
    Row("batch_size of fit", fitting(batch_size=3), TypeError, "did you mean Trainer(batch_size="),
    Row("rate set to 0", setting("learning_rate", 0), ValueError, "learning_rate is 0, expected"),
    Row("rate set to text", setting("learning_rate", "0.1"), ValueError, "learning_rate is '0.1'"),
    Row("monitor None", of(EarlyStopping, monitor=None), ValueError, "monitor is None, expected"),
    Row("monitor empty", of(EarlyStopping, monitor=""), ValueError, "monitor is '', expected 'co"),
    Row("monitor own", of(EarlyStopping, monitor="f1"), ValueError, "higher_is_better is None, e"),
    Row(
        "monitor of others",
        of(EarlyStopping, monitor="val_acc"),
        ValueError,
        "unknown monitor 'val_acc'; gpubp calls it 'accuracy'",
    ),
    Row(
        "higher costs",
        of(EarlyStopping, higher_is_better=True),
        ValueError,
        "higher_is_better is True, expected False for monitor 'cost'",
    ),
    Row(
        "higher_is_better 1",
        of(EarlyStopping, monitor="f1", higher_is_better=1),
        ValueError,
        "higher_is_better is 1, expected True or False",
    ),
    Row("metrics list", training(metrics=[abs]), TypeError, "metrics is [<built-in function abs>]"),
    Row(
        "metrics class", training(metrics={"a": int}), TypeError, "metrics has <class 'int'> as 'a'"
    ),
    Row(
        "metrics name", training(metrics={1: abs}), ValueError, "metrics has the name 1, expected a"
    ),
    Row("metrics cost", training(metrics={"cost": abs}), ValueError, "metrics has the name 'cost'"),
    Row(
        "metrics None", training(metrics={"a": None}), TypeError, "metrics has None as 'a', expect"
    ),
    Row(
        "Metric class", of(gpubp.Metric, function=int), TypeError, "function is <class 'int'>, exp"
    ),
    Row(
        "Metric of", of(gpubp.Metric, function=abs, of="z"), ValueError, "of is 'z', expected 'pre"
    ),
    Row(
        "Metric of list", of(gpubp.Metric, function=abs, of=[1]), ValueError, "of is [1], expected"
    ),
    Row("split 0", fitting(validation_split=0), ValueError, "validation_split is 0, expected a"),
    Row("split 1", fitting(validation_split=1), ValueError, "validation_split is 1, expected a"),
    Row(
        "split text", fitting(validation_split="0.1"), ValueError, "validation_split is '0.1', exp"
    ),
    Row("split True", fitting(validation_split=True), ValueError, "validation_split is True, exp"),
    Row(
        "split small", fitting(validation_split=0.01), ValueError, "holds out 0 of 8 rows, expected"
    ),
    Row(
        "split and data",
        fitting(validation_split=0.5, validation_data=(X, Y)),
        ValueError,
        "validation_split is 0.5, expected None with validation_data",
    ),
    Row(
        "schedule of two", training(schedule=lambda a, b: 1), TypeError, "expected a function (step"
    ),
    Row(
        "schedule gives nan",
        lambda net, trainer: Trainer(net, schedule=lambda *steps: np.nan).fit(X, Y, epochs=1),
        ValueError,
        "schedule gave nan for step 0, expected a finite number at least 0",
    ),
    Row("checkpoint empty", training(checkpoint=""), ValueError, "checkpoint: folder is '', expec"),
    Row("folder empty", of(Checkpoint, folder=b""), ValueError, "folder is b'', expected the name"),
]
