"""Checkpoints: when they are written, how many are kept, and what is refused."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from resuming import StopAfter, X, Y, assert_same, numbers, trainer
from small_networks import classifier, parameters

from gpubp import Adam, Callback, Checkpoint, CorruptFileError, Network, Trainer
from gpubp.backends import Backend
from gpubp.training import checkpoint as checkpoints


class Folder(Callback):
    """Notes after each step, or each epoch, how many checkpoints there are."""

    def __init__(self, folder: Path, each: str) -> None:
        self.folder, self.each, self.counts = folder, each, []

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        if self.each == "step":
            self.counts.append(len(numbers(self.folder)))

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        if self.each == "epoch":
            self.counts.append(len(numbers(self.folder)))


@pytest.mark.parametrize(
    ("every", "each", "expected", "last"),
    [
        ("1 epoch", "epoch", [0, 1, 2, 3], 4),
        ("2 epochs", "epoch", [0, 0, 1, 1], 2),
        ("3 steps", "step", [0, 0, 0, 1, 1, 1, 2, 2, 2, 3], 8),  # 6 steps an epoch
        ("4 steps", "step", [0, 0, 0, 0, 1, 1, 1, 1, 2, 2], 6),
        ("0.000001 seconds", "step", [0, 1, 2, 3, 4, 5, 6, 7], 24),
        ("2 hours", "epoch", [0, 0, 0, 0], 1),
    ],
)
def test_a_checkpoint_is_written_when_it_is_due_and_at_the_end(
    tmp_path: Path, every: str, each: str, expected: list[int], last: int
) -> None:
    folder = tmp_path / "new" / "run"
    seen = Folder(folder, each)
    checkpoint = Checkpoint(folder, every=every, keep=100)
    trainer(checkpoint=checkpoint, callbacks=[seen]).fit(X, Y, epochs=4)
    assert seen.counts[: len(expected)] == expected
    assert numbers(folder) == list(range(1, last + 1))


def test_a_checkpoint_that_takes_longer_than_the_interval_is_not_due_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, write = [0.0], checkpoints.write_snapshot

    class Clock(Callback):
        def on_step_end(self, trainer: Trainer, step: int) -> None:
            now[0] += 1

    def write_slowly(*arguments: Any) -> None:
        now[0] += 10
        write(*arguments)

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(checkpoints, "write_snapshot", write_slowly)
    first = trainer(checkpoint=Checkpoint(tmp_path, "3 seconds", keep=99), callbacks=[Clock()])
    first.fit(X, Y, epochs=2)
    assert numbers(tmp_path) == [1, 2, 3, 4]  # after every third step


def test_the_newest_files_are_kept(tmp_path: Path) -> None:
    trainer(checkpoint=Checkpoint(tmp_path, every="1 epoch", keep=2)).fit(X, Y, epochs=5)
    assert numbers(tmp_path) == [4, 5]
    again = trainer(checkpoint=Checkpoint(tmp_path, every="1 epoch", keep=3))
    again.resume(tmp_path)
    again.fit(X, Y, epochs=6)
    assert numbers(tmp_path) == [4, 5, 6]


def test_a_checkpoint_changes_no_bit_of_training(backend: Backend, tmp_path: Path) -> None:
    results = []
    for checkpoint in (None, Checkpoint(tmp_path, every="1 step")):
        each = trainer(classifier(backend, dropout=0.2), checkpoint=checkpoint)
        results.append((each, each.fit(X, Y, epochs=3)))
    assert_same(*results)


def test_an_earlier_file_of_the_folder_can_be_named(tmp_path: Path) -> None:
    """What it goes on with is newer than all that is there."""
    first = trainer(checkpoint=Checkpoint(tmp_path, every="1 epoch"))
    expected = first.fit(X, Y, epochs=3)
    again = trainer(checkpoint=tmp_path)
    assert len(again.resume(tmp_path / "checkpoint-000001.safetensors")) == 1
    assert_same((again, again.fit(X, Y, epochs=3)), (first, expected))
    assert numbers(tmp_path) == [2, 3, 4]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"folder": 5}, TypeError, "folder is 5, expected the name of a folder"),
        ({"every": "5"}, ValueError, "every is '5', expected for example '5 minutes', '1000 steps' or"),
        ({"every": "0 epochs"}, ValueError, "every is '0 epochs', expected"),
        ({"every": "1.5 steps"}, ValueError, "every is '1.5 steps', expected"),
        ({"every": None}, ValueError, "every is None, expected"),
        ({"every": "-1 steps"}, ValueError, "every is '-1 steps', expected"),
        ({"keep": 0}, ValueError, "keep is 0, expected a whole number at least 1"),
        ({"keep": 1.5}, ValueError, "keep is 1.5, expected a whole number at least 1"),
        ({"on_error": "ignore"}, ValueError, "on_error is 'ignore', expected 'warn' or 'raise'"),
    ],
)  # fmt: skip
def test_arguments_are_checked(arguments: dict[str, Any], error: Any, text: str) -> None:
    with pytest.raises(error) as caught:
        Checkpoint(**{"folder": "run", **arguments})
    assert str(caught.value).startswith(text)


def test_the_setting_is_a_checkpoint_a_folder_or_none(tmp_path: Path) -> None:
    assert trainer(checkpoint=str(tmp_path)).checkpoint == Checkpoint(tmp_path)
    assert trainer(checkpoint=tmp_path).checkpoint == Checkpoint(tmp_path, "5 minutes", 3, "warn")
    with pytest.raises(
        TypeError, match=r"^checkpoint is 5, expected a Checkpoint, the name of a folder,"
    ):
        trainer(checkpoint=5)


OTHERS = {
    "rows": ({}, {"x": X[:21], "y": Y[:21]}, "data's number of rows is 22, but here it is 21"),
    "values": ({}, {"x": X + 1}, "a fit whose data's checksum of rows is "),
    "weights": ({}, {"sample_weight": np.ones(22)}, "a fit whose data's checksum of rows is "),
    "validation": ({}, {"validation_data": (X, Y)}, "a fit whose validation_data is None, but here it"),
    "epochs": ({}, {"epochs": 1}, "epochs is 1, expected at least 2: those before the checkpoint count"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_data_are_refused_and_the_right_ones_then_go_on(tmp_path: Path, name: str) -> None:
    made_with, given, text = OTHERS[name]
    first = trainer(checkpoint=tmp_path, callbacks=[StopAfter(8)])
    first.fit(X, Y, epochs=4)
    again = trainer(**made_with)
    again.resume(tmp_path)
    before = parameters(again.network)
    with pytest.raises(ValueError) as error:
        again.fit(**{"x": X, "y": Y, "epochs": 4, **given})
    assert text in str(error.value)
    np.testing.assert_array_equal(parameters(again.network), before)
    whole = trainer()
    assert_same((again, again.fit(X, Y, epochs=4)), (whole, whole.fit(X, Y, epochs=4)))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"batch_size": 5}, "is of a fit whose batch_size is 4, but here it is 5"),
        ({"shuffle": False}, "whose shuffle is True, but here it is False"),
        ({"accumulate": 2}, "whose accumulate is 1, but here it is 2"),
        ({"optimizer": "sgd"}, "whose optimizer's class is 'Adam', but here it is 'SGD'"),
        ({"optimizer": Adam(learning_rate=0.1)}, "whose optimizer's learning_rate is 0.001, but here it"),
        ({"schedule": "cosine"}, "whose schedule's class is 'Constant', but here it is 'Cosine'"),
        ({"early_stopping": 3}, "whose early_stopping is None, but here it is {'class': 'EarlyStopping', "),
        ({"network": Network((3, 5, 3), hidden="tanh", output="softmax", dtype="float64")}, "sizes "),
        ({"network": Network((3, 3), output="softmax", dtype="float64")}, "sizes [3, 4, 3], "),
        ({"network": classifier("numpy", hidden="relu")}, "activations "),
        ({"network": classifier("numpy", dropout=0.5)}, "dropout "),
        ({"network": classifier("numpy", dtype="float32")}, "dtype "),
    ],
    ids=str,
)  # fmt: skip
def test_other_settings_are_refused_and_nothing_changes(
    tmp_path: Path, options: dict[str, Any], text: str
) -> None:
    trainer(checkpoint=tmp_path).fit(X, Y, epochs=2)
    again = trainer(**options)
    before = parameters(again.network)
    with pytest.raises(ValueError) as error:
        again.resume(tmp_path)
    assert text in str(error.value) and len(str(error.value)) <= 300
    assert not isinstance(error.value, CorruptFileError)
    np.testing.assert_array_equal(parameters(again.network), before)


def test_a_folder_without_checkpoints_and_one_with_anothers_are_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(FileNotFoundError) as error:
            trainer().resume(folder)
        assert error.value.filename == str(folder)
    trainer(checkpoint=tmp_path).fit(X, Y, epochs=1)
    fresh = trainer(checkpoint=tmp_path)
    before = parameters(fresh.network)
    with pytest.raises(
        ValueError, match=r"has checkpoints of another fit; Trainer\.resume or an estimator's"
    ):
        fresh.fit(X, Y, epochs=1)
    np.testing.assert_array_equal(parameters(fresh.network), before)
    with pytest.raises(TypeError, match="path is None, expected the name of a file"):
        fresh.resume(None)


def test_a_network_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    classifier("numpy").save(tmp_path / "checkpoint-000001.safetensors")
    with pytest.raises(
        CorruptFileError, match="is not a whole checkpoint: its metadata has no entry"
    ):
        trainer().resume(tmp_path)


def test_the_newest_whole_checkpoint_is_taken(tmp_path: Path) -> None:
    first = trainer(checkpoint=Checkpoint(tmp_path, every="1 epoch"))
    expected = first.fit(X, Y, epochs=3)
    newest = tmp_path / "checkpoint-000003.safetensors"
    content = bytearray(newest.read_bytes())
    content[-5] ^= 1
    newest.write_bytes(content)
    again = trainer(checkpoint=tmp_path)
    with pytest.warns(
        RuntimeWarning, match=r"000003.* checksum; checkpoint-000002\.safetensors is"
    ) as warned:
        assert len(again.resume(tmp_path)) == 2
    assert warned[0].filename == __file__
    assert_same((again, again.fit(X, Y, epochs=3)), (first, expected))
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CorruptFileError, match="000004"):
        trainer().resume(tmp_path)


def test_a_trainer_in_the_middle_of_an_epoch_is_not_resumed(tmp_path: Path) -> None:
    trainer(checkpoint=tmp_path).fit(X, Y, epochs=1)

    class Resume(Callback):
        def on_step_end(self, trainer: Trainer, step: int) -> None:
            trainer.resume(tmp_path)

    with pytest.raises(RuntimeError, match="in the middle of an epoch"):
        trainer(callbacks=[Resume()]).fit(X, Y, epochs=1)
