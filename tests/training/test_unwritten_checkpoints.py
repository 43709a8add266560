"""Checkpoints that cannot be written: full disks, lost folders, states that no file can hold."""

from __future__ import annotations

import errno
import resource
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from resuming import X, Y, assert_same, numbers, trainer
from small_networks import parameters

import gpubp
from gpubp import Callback, Checkpoint, History, Trainer
from gpubp.training import snapshot_file


class AfterEpoch(Callback):
    def __init__(self, epoch: int, action: Any) -> None:
        self.epoch, self.action = epoch, action

    def on_epoch_end(self, trainer: Trainer, history: History) -> None:
        if len(history) == self.epoch:
            self.action()


@pytest.fixture
def files_of_at_most_1_kib() -> Iterator[Any]:
    """Yield a function that lets the system refuse to write more than 1 KiB to a file."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_is_full_is_told_and_training_goes_on(
    tmp_path: Path, files_of_at_most_1_kib: Any
) -> None:
    checkpoint = Checkpoint(tmp_path, every="1 epoch")
    full = trainer(checkpoint=checkpoint, callbacks=[AfterEpoch(2, files_of_at_most_1_kib)])
    with pytest.warns(RuntimeWarning) as warned:
        history = full.fit(X, Y, epochs=4)
    assert [str(each.message).count("checkpoint-000002.safetensors") for each in warned] == [
        1,
        1,
        1,
    ]
    assert numbers(tmp_path) == [1]
    whole = trainer()
    assert_same((full, history), (whole, whole.fit(X, Y, epochs=4)))
    assert len(trainer().resume(tmp_path)) == 1


def test_a_disk_that_is_full_ends_training_if_it_is_asked_to(
    tmp_path: Path, files_of_at_most_1_kib: Any
) -> None:
    checkpoint = Checkpoint(tmp_path, every="1 epoch", on_error="raise")
    full = trainer(checkpoint=checkpoint, callbacks=[AfterEpoch(2, files_of_at_most_1_kib)])
    with pytest.raises(OSError) as error:
        full.fit(X, Y, epochs=4)
    assert error.value.filename == str(tmp_path / "checkpoint-000002.safetensors")
    assert numbers(tmp_path) == [1]
    two_epochs = trainer()
    two_epochs.fit(X, Y, epochs=2)
    np.testing.assert_array_equal(parameters(full.network), parameters(two_epochs.network))


def test_a_folder_that_disappears_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def remove() -> None:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()

    gone = trainer(checkpoint=Checkpoint(folder, "1 epoch"), callbacks=[AfterEpoch(2, remove)])
    with pytest.warns(
        RuntimeWarning,
        match="no checkpoint could be written: .*run.*; the earlier ones are unchanged",
    ):
        assert len(gone.fit(X, Y, epochs=3)) == 3


@pytest.mark.parametrize(
    ("place", "name", "error"),
    [
        (Path, "iterdir", OSError(errno.ESTALE, "Stale file handle")),  # of a network's file system
        (snapshot_file, "write_tensors", MemoryError("no room for copies")),
    ],
)
def test_whatever_fails_while_a_checkpoint_is_written_is_told_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, error: Exception
) -> None:
    def fail(*arguments: Any) -> None:
        raise error

    class Break(Callback):
        def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
            if epoch == 1:
                monkeypatch.setattr(place, name, fail)

    for on_error in ("warn", "raise"):
        folder = tmp_path / on_error
        fit = partial(
            trainer(
                checkpoint=Checkpoint(folder, "1 epoch", on_error=on_error), callbacks=[Break()]
            ).fit,
            *(X, Y),
            epochs=3,
        )
        if on_error == "warn":
            with pytest.warns(
                RuntimeWarning, match=f"no checkpoint could be written: .*{error.args[-1]}"
            ):
                assert len(fit()) == 3
        else:
            with pytest.raises(type(error), match=error.args[-1]):
                fit()
        monkeypatch.undo()
        assert numbers(folder) == [1]


def test_a_folder_that_cannot_be_written_is_told_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = trainer(checkpoint=tmp_path / "file")
    before = parameters(refused.network)
    with pytest.raises(OSError, match="file"):
        refused.fit(X, Y, epochs=1)
    np.testing.assert_array_equal(parameters(refused.network), before)


@pytest.mark.parametrize("value", [threading.Lock(), 10**60, {1, 2}], ids=["lock", "huge", "set"])
def test_a_state_that_no_file_can_hold_is_told_before_training(tmp_path: Path, value: Any) -> None:
    class Odd(Callback):
        def state(self) -> dict[str, Any]:
            return {"value": value}

    with pytest.raises(
        TypeError, match=r"^the state of Odd is .*, expected numbers, text and arrays"
    ):
        trainer(checkpoint=tmp_path, callbacks=[Odd()]).fit(X, Y, epochs=1)


@pytest.mark.parametrize("later", [list(range(300_000)), threading.Lock()], ids=["long", "lock"])
def test_a_state_that_no_file_can_hold_any_more_is_told_and_training_goes_on(
    tmp_path: Path, later: Any
) -> None:
    class Growing(Callback):
        value: Any = 0

        def on_epoch_end(self, trainer: Trainer, history: History) -> None:
            self.value = later if len(history) == 2 else 0

        def state(self) -> dict[str, Any]:
            return {"value": self.value}

    growing = trainer(checkpoint=Checkpoint(tmp_path, "1 epoch"), callbacks=[Growing()])
    with pytest.warns(RuntimeWarning, match="no checkpoint could be written: ") as warned:
        assert len(growing.fit(X, Y, epochs=3)) == 3
    assert len(warned) == 1 and numbers(tmp_path) == [1, 2]


def test_parameters_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    """They are found at the end of the epoch; until then the earlier checkpoints stay."""

    class Break(Callback):
        def on_step_end(self, trainer: Trainer, step: int) -> None:
            if step == 2:
                trainer.network.parameters[...] = np.nan

    broken = trainer(checkpoint=Checkpoint(tmp_path, every="1 step"), callbacks=[Break()])
    with pytest.raises(gpubp.DivergenceError):
        broken.fit(X, Y, epochs=2)
    assert numbers(tmp_path) == [1, 2]


def test_old_files_that_cannot_be_removed_stay_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(file))

    monkeypatch.setattr(Path, "unlink", refuse)
    checkpoint = Checkpoint(tmp_path, "1 epoch", keep=1, on_error="raise")
    assert len(trainer(checkpoint=checkpoint).fit(X, Y, epochs=3)) == 3
    assert numbers(tmp_path) == [1, 2, 3]
    monkeypatch.undo()
    again = trainer(checkpoint=checkpoint)
    again.resume(tmp_path)
    again.fit(X, Y, epochs=4)
    assert numbers(tmp_path) == [4]
