"""Bad inputs of every kind: the error is of the right type, short, in one sentence, and changes nothing."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from bad_arrays import OTHER_ARRAYS, arrays
from bad_settings import OTHERS, Row, X, Y, numbers
from bad_training import TRAINING

from gpubp import Network, Trainer
from gpubp.backends import Backend
from gpubp.kernels.messages import LONGEST, shown

ROWS = [*numbers(), *OTHERS, *TRAINING, *arrays(), *OTHER_ARRAYS]

SAYS_WHAT_IS_RIGHT = re.compile(
    "expected|must be|must contain|did you mean|known: |there are none|too large for|cannot be changed"
    "|keyword argument|has no setter|gpubp calls it"
)


def state(network: Network, trainer: Trainer) -> list[Any]:
    settings = [
        trainer.optimizer,
        trainer.batch_size,
        trainer.accumulate,
        trainer.layer_rates,
        trainer.shuffle,
        trainer.schedule,
        trainer.early_stopping,
        trainer.callbacks,
    ]
    return [network.parameters.tolist(), trainer.loss_scale, *settings]


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    trainer = Trainer(Network((3, 4, 2), backend="numpy", seed=0), "adam", batch_size=4, seed=0)
    trainer.step(X, Y)
    return trainer


@pytest.mark.timeout(60)  # none of them works for long before it fails
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_bad_input_is_told_in_one_short_sentence_and_changes_nothing(
    row: Row, trainer: Trainer
) -> None:
    network = trainer.network
    before = state(network, trainer)
    with pytest.raises(row.error) as caught:
        row.call(network, trainer)
    message = str(caught.value)
    assert not isinstance(caught.value, RecursionError)
    assert row.text in message
    assert SAYS_WHAT_IS_RIGHT.search(message), message
    assert len(message) <= 300, message
    assert "\n" not in message
    one = message.replace(". Got ", ", got ")  # scikit-learn's words about a parameter
    assert not re.search(r"[.!] +[A-Z]", one.partition(" (")[0]), message  # one sentence
    assert state(network, trainer) == before


def test_names_of_rows_are_unique_and_there_are_many() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names) > 500


class CudaTensor:
    """Like a tensor on a GPU that cannot be read."""

    device = None

    def __init__(self, reason: str) -> None:
        self._reason = reason

    @property
    def __cuda_array_interface__(self) -> Any:
        raise RuntimeError(self._reason)


@pytest.mark.parametrize("reason", ["a Variable that requires grad", "bfloat16 has no typestr"])
def test_a_tensor_on_a_device_that_cannot_be_read_is_told(
    cuda_backend: Backend, reason: str
) -> None:
    network = Network((3, 4, 2), backend=cuda_backend, seed=0)
    text = f"x cannot be converted (RuntimeError: {reason}), expected an array of real numbers"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        network.predict(CudaTensor(reason))


class BadRepr:
    def __repr__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("relu", "'relu'"),
        ((3, 4), "(3, 4)"),
        (0.1, "0.1"),
        (None, "None"),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), "array([[1., 2.], [3., 4.]])"),
        (list(range(10**6)), "[0, 1, 2, 3, 4, 5, ...]"),
        (10**5000, "<int"),
        (BadRepr(), "<BadRepr instance at 0x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_shown_as_its_repr_on_one_short_line(value: Any, text: str) -> None:
    assert shown(value).startswith(text)
    for huge in (value, [value] * 1000, {"a": value}, str(type(value)) * 1000, np.ones(10**5)):
        assert len(shown(huge)) <= LONGEST
        assert "\n" not in shown(huge)


def test_a_list_that_holds_itself_is_shown() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert len(shown(endless)) <= LONGEST
