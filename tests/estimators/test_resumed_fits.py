"""Estimators that write checkpoints, and go on from them with warm_start."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression

from gpubp import Checkpoint, MLPClassifier, MLPRegressor, Trainer
from gpubp.estimators import stochastic

pytestmark = [
    pytest.mark.filterwarnings("ignore:Stochastic Optimizer"),
    pytest.mark.filterwarnings("ignore:Training interrupted"),
]

DATA = {
    MLPClassifier: make_classification(120, 6, n_informative=4, n_classes=3, random_state=0),
    MLPRegressor: make_regression(120, 6, noise=1.0, random_state=0),
}
SETTINGS: list[dict[str, Any]] = [
    {},
    {"early_stopping": True, "n_iter_no_change": 3, "learning_rate_init": 0.05},
    {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.5, "n_iter_no_change": 2},
    {"solver": "sgd", "learning_rate": "invscaling", "dropout": 0.2},
]
RESULTS = (
    "n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "validation_scores_",
    "best_validation_score_",
)  # fmt: skip


def assert_same(ours: Any, theirs: Any) -> None:
    for name in RESULTS:
        assert getattr(ours, name) == getattr(theirs, name), name
    for k in range(len(ours.coefs_)):
        np.testing.assert_array_equal(ours.coefs_[k], theirs.coefs_[k])


@pytest.fixture
def interrupt_after(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that lets Ctrl-C come in the last step of a number of epochs."""

    def interrupt(epochs: int) -> None:
        change, left = stochastic._Progress._change_rate, [epochs]

        def counted(self: Any, trainer: Trainer) -> None:
            change(self, trainer)
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr(stochastic._Progress, "_change_rate", counted)

    return interrupt


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("kind", DATA)
def test_an_interrupted_fit_goes_on_with_the_same_bits(
    kind: Any, settings: dict[str, Any], tmp_path: Path, interrupt_after: Any
) -> None:
    X, y = DATA[kind]
    model = kind(
        hidden_layer_sizes=(8,),
        max_iter=25,
        batch_size=30,
        random_state=0,
        backend="numpy",
        **settings,
    )
    whole = clone(model).fit(X, y)
    model.set_params(checkpoint=Checkpoint(tmp_path, "1000 hours"), warm_start=True)
    interrupt_after(3)
    told = (
        r"^Training interrupted by user\. fit goes on from the checkpoint with warm_start=True\.$"
    )
    with pytest.warns(UserWarning, match=told):
        assert clone(model).fit(X, y).n_iter_ == 3
    assert_same(clone(model).fit(X, y), whole)
    assert_same(clone(model).fit(X, y), whole)  # it was over


def test_an_interrupted_fit_without_a_checkpoint_promises_none(interrupt_after: Any) -> None:
    interrupt_after(2)
    with pytest.warns(UserWarning, match=r"^Training interrupted by user\.$"):
        MLPClassifier((8,), random_state=0).fit(*DATA[MLPClassifier])


def test_a_fit_interrupted_within_an_epoch_has_the_same_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = DATA[MLPClassifier]
    model = MLPClassifier(
        (8,), max_iter=4, batch_size=30, alpha=2.0, random_state=0, warm_start=True
    )
    whole = clone(model).fit(X, y)
    model.set_params(checkpoint=Checkpoint(tmp_path, "1000 hours"))
    left = [6]  # an epoch has 4 steps

    def interrupt(self: Any, trainer: Trainer, step: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(stochastic._Progress, "on_step_end", interrupt)
    assert clone(model).fit(X, y).n_iter_ == 2
    assert_same(clone(model).fit(X, y), whole)


def test_a_folder_is_enough_and_a_new_fit_needs_a_new_one(tmp_path: Path) -> None:
    X, y = DATA[MLPClassifier]
    model = MLPClassifier((8,), max_iter=3, random_state=0, checkpoint=tmp_path, backend="numpy")
    model.fit(X, y)
    coefs = [weights.copy() for weights in model.coefs_]
    with pytest.raises(ValueError, match="has checkpoints of another fit"):
        model.fit(X, y)
    for ours, kept in zip(model.coefs_, coefs, strict=True):
        np.testing.assert_array_equal(ours, kept)


def test_other_data_are_refused(tmp_path: Path) -> None:
    X, y = DATA[MLPClassifier]
    model = MLPClassifier((8,), max_iter=3, random_state=0, checkpoint=tmp_path, warm_start=True)
    model.fit(X, y)
    with pytest.raises(ValueError, match="data's checksum of rows is"):
        model.fit(X + 1, y)


def test_what_cannot_have_checkpoints_says_so(tmp_path: Path) -> None:
    X, y = DATA[MLPClassifier]
    with pytest.raises(ValueError, match="expected None with solver 'lbfgs'"):
        MLPClassifier(solver="lbfgs", checkpoint=tmp_path).fit(X, y)
    with pytest.raises(
        ValueError, match="random_state is None, expected a seed with checkpoint and"
    ):
        MLPClassifier(checkpoint=tmp_path, early_stopping=True).fit(X, y)
    with pytest.raises(TypeError, match="checkpoint is 5, expected a Checkpoint"):
        MLPClassifier(checkpoint=5).fit(X, y)
    MLPClassifier(checkpoint=tmp_path).partial_fit(X, y, classes=np.unique(y))
    assert not any(tmp_path.iterdir())
