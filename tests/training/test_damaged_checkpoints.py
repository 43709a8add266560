"""Damaged and made-up checkpoints: each is a clear error that changes nothing, or training goes on.

With GPUBP_TEST_LONG=1, 20,000 files are tried.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import edit_metadata, flip_data, try_damage
from environment import rounds
from resuming import StopAfter
from small_networks import classes, classifier, parameters

from gpubp import SGD, Adam, Callback, CorruptFileError, EarlyStopping, Trainer
from gpubp.backends.numpy import NumpyBackend
from gpubp.files import TensorFile, write_tensors

BACKEND = NumpyBackend(compile=False)
X, Y = classes(22, seed=3)


class Remember(Callback):
    def state(self) -> dict[str, Any]:
        return {"array": np.arange(3.0), "number": 2, "text": "a"}


def trainer(optimizer: Any, **options: Any) -> Trainer:
    return Trainer(
        classifier(BACKEND, dropout=0.3),
        optimizer,
        **{"batch_size": 4, "early_stopping": 5, "schedule": "on_plateau", "seed": 7, **options},
    )


def share(y: Any, predictions: Any) -> float:
    return float((y == predictions).mean())


MONITORS_A_METRIC: dict[str, Any] = {
    "metrics": {"share": share},
    "early_stopping": EarlyStopping(5, monitor="share", higher_is_better=True),
}


@pytest.mark.parametrize(
    ("optimizer", "seed", "options"),
    [
        (Adam(), 7, {}),
        (SGD(momentum=0.9), 7, {}),
        (Adam(), np.random.RandomState(7), {}),
        (Adam(), 7, MONITORS_A_METRIC),
    ],
    ids=["adam", "momentum", "RandomState", "metric"],
)
def test_a_damaged_checkpoint_is_a_clear_error_or_goes_on(
    tmp_path: Path, optimizer: Any, seed: Any, options: dict[str, Any]
) -> None:
    callbacks = [StopAfter(15), Remember()]
    written = trainer(
        optimizer, checkpoint=tmp_path / "run", callbacks=callbacks, seed=seed, **options
    )
    written.fit(X, Y, epochs=4, validation_data=(X, Y))
    content = (tmp_path / "run" / "checkpoint-000001.safetensors").read_bytes()
    tried = trainer(optimizer, **options)

    def resume(path: Path) -> None:
        tried.optimizer = optimizer  # a file may have another, which a callback has set
        before = parameters(tried.network)
        try:
            tried.resume(path)
        except ValueError:
            np.testing.assert_array_equal(parameters(tried.network), before)
            raise
        assert np.isfinite(parameters(tried.network)).all()
        tried.callbacks = [Remember()]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                tried.fit(X, Y, epochs=4, validation_data=(X, Y))
            except (ValueError, ArithmeticError, RuntimeError) as error:
                assert len(str(error)) <= 300
        assert np.isfinite(parameters(tried.network)).all()

    (tmp_path / "f").mkdir()
    try_damage(tmp_path / "f", content, rounds(100, 5_000), 4, resume)
    inner = [edit_metadata, edit_metadata, flip_data]  # damage that only the checks of content find
    try_damage(tmp_path / "f", content, rounds(100, 5_000), 5, resume, inner)


def test_each_missing_or_surplus_tensor_is_told(tmp_path: Path) -> None:
    trainer(Adam(), checkpoint=tmp_path, callbacks=[StopAfter(15)]).fit(X, Y, epochs=4)
    file = tmp_path / "checkpoint-000001.safetensors"
    with TensorFile(file) as whole:
        tensors, metadata = whole.read(), whole.metadata
    for name in tensors:
        write_tensors(file, {n: a for n, a in tensors.items() if n != name}, metadata)
        with pytest.raises(CorruptFileError, match="has no tensor"):
            trainer(Adam()).resume(file)
    for name in ("training.now.third", "layers.9.weights", "other"):
        write_tensors(file, tensors | {name: np.zeros(2)}, metadata)
        with pytest.raises(CorruptFileError, match=f"has a tensor '{name}' of float64"):
            trainer(Adam()).resume(file)


@pytest.mark.parametrize("steps", [3, 12, 15])  # of 6 in an epoch
def test_each_missing_or_surplus_state_is_told(tmp_path: Path, steps: int) -> None:
    trainer(Adam(), checkpoint=tmp_path, callbacks=[StopAfter(steps)]).fit(X, Y, epochs=4)
    file = tmp_path / "checkpoint-000001.safetensors"
    with TensorFile(file) as whole:
        tensors, metadata = whole.read(), whole.metadata
    training = json.loads(metadata["training"])
    expected = {
        3: ["good", "now"],
        12: ["best", "good", "now"],
        15: ["best", "earlier", "good", "now"],
    }
    assert sorted(training["states"]) == expected[steps]
    for name in ("now", "good", "earlier", "best"):
        states, prefix = dict(training["states"]), f"training.{name}."
        if states.pop(name, None) is None:
            states[name] = states["now"]
        kept = {n: a for n, a in tensors.items() if not n.startswith(prefix)}
        text = json.dumps(training | {"states": states})
        write_tensors(file, kept, metadata | {"training": text})
        with pytest.raises(CorruptFileError, match="is not a whole checkpoint: its states are "):
            trainer(Adam()).resume(file)


def test_deep_json_is_told(tmp_path: Path) -> None:
    trainer(Adam(), checkpoint=tmp_path, callbacks=[StopAfter(3)]).fit(X, Y, epochs=4)
    file = tmp_path / "checkpoint-000001.safetensors"
    with TensorFile(file) as whole:
        tensors, metadata = whole.read(), whole.metadata
    for deep in ("[" * 900 + "]" * 900, '{"a": ' * 900 + "1" + "}" * 900):
        text = metadata["training"].replace('"settings": {', f'"settings": {{"deep": {deep}, ')
        write_tensors(file, tensors, metadata | {"training": text})
        with pytest.raises(CorruptFileError, match="its JSON is nested too deeply"):
            trainer(Adam()).resume(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": "share"}, "metrics is 'share', expected a list"),
        ({"metrics": [1]}, "each of metrics is 1, expected a str"),
        ({"metrics": []}, "it has a tensor 'training.metrics.0' of float64"),
        ({"metrics": ["share", "b"]}, "it has no tensor 'training.metrics.1'"),
        ({"metrics": ["b"]}, "its history has nothing of 'share', which it monitors"),
        ({"monitor": "b"}, "its history has nothing of 'b', which it monitors"),
        ({"monitor": 1}, "monitor is 1, expected a str"),
        ({"other": 1}, "unexpected keyword argument 'other'"),
    ],
)
def test_a_history_that_contradicts_itself_is_told(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    written = trainer(Adam(), checkpoint=tmp_path, callbacks=[StopAfter(15)], **MONITORS_A_METRIC)
    written.fit(X, Y, epochs=4, validation_data=(X, Y))
    file = tmp_path / "checkpoint-000001.safetensors"
    with TensorFile(file) as whole:
        tensors, metadata = whole.read(), whole.metadata
    training = json.loads(metadata["training"])
    training["history"] |= change
    write_tensors(file, tensors, metadata | {"training": json.dumps(training)})
    with pytest.raises(CorruptFileError, match=message):
        trainer(Adam(), **MONITORS_A_METRIC).resume(file)


def test_a_history_without_metrics_may_lack_their_names(tmp_path: Path) -> None:
    """Files of earlier versions do, and their early stopping has no monitor."""
    trainer(Adam(), checkpoint=tmp_path, callbacks=[StopAfter(15)]).fit(X, Y, epochs=4)
    file = tmp_path / "checkpoint-000001.safetensors"
    with TensorFile(file) as whole:
        tensors, metadata = whole.read(), whole.metadata
    training = json.loads(metadata["training"])
    del training["history"]["metrics"], training["history"]["monitor"]
    stopping = training["settings"]["early_stopping"]
    del stopping["monitor"], stopping["higher_is_better"]
    assert stopping == {"class": "EarlyStopping", "patience": 5, "min_improvement": 0.0}
    write_tensors(file, tensors, metadata | {"training": json.dumps(training)})
    assert len(trainer(Adam()).resume(file)) == 2
