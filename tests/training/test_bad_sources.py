"""Streamed data that give other rows than were asked for, or that fail: an error, and nothing is lost."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from small_networks import parameters

from gpubp import Network, Trainer
from gpubp.backends import Backend

ROWS, N_IN, BATCH = 17, 3, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, N_IN))
Y = RNG.normal(size=(ROWS, 2))
LABELS = RNG.integers(0, 2, ROWS)

Give = Callable[[Any, Any], Any]


class Source:
    """A source of rows whose answers `give` may spoil: give(rows, index) -> the answer."""

    def __init__(self, data: np.ndarray, give: Give = lambda rows, index: rows) -> None:
        self._data, self._give, self.shape = data, give, data.shape

    def __getitem__(self, index: Any) -> Any:
        return self._give(np.array(self._data[index]), index)


class SlicesOnly(Source):
    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, slice):
            raise TypeError(f"only slices, not {index!r}")
        return super().__getitem__(index)


def trainer_for(backend: Backend | str, output: str = "identity", **options: Any) -> Trainer:
    network = Network((N_IN, 4, 2), output=output, backend=backend, seed=0)
    return Trainer(network, "adam", batch_size=BATCH, seed=1, **options)


def check_refused(
    trainer: Trainer, x: Any, y: Any, text: str, error: type[Exception] = ValueError
) -> Exception:
    """Check that a fit fails with this message, and that parameters and optimizer are as before."""
    trainer.step(X, LABELS if trainer.network.layers[-1].activation.rowwise else Y)
    before = parameters(trainer.network)
    with pytest.raises(error, match=f"^{re.escape(text)}$") as caught:
        trainer.fit(x, y, epochs=3)
    np.testing.assert_array_equal(parameters(trainer.network), before)
    return caught.value


GIVEN: dict[str, tuple[Give, str]] = {
    "fewer rows": (lambda rows, index: rows[:-1], "has shape (3, 3)"),
    "no rows": (lambda rows, index: rows[:0], "has shape (0, 3)"),
    "more rows": (lambda rows, index: np.repeat(rows, 2, axis=0), "has shape (8, 3)"),
    "one row": (lambda rows, index: rows[0], "has shape (3,)"),
    "fewer columns": (lambda rows, index: rows[:, :2], "has shape (4, 2)"),
    "more columns": (lambda rows, index: np.hstack([rows, rows]), "has shape (4, 6)"),
    "transposed rows": (lambda rows, index: rows.T, "has shape (3, 4)"),
    "three axes": (lambda rows, index: rows[None], "has shape (1, 4, 3)"),
    "a number": (lambda rows, index: 1.0, "has shape ()"),
}


@pytest.mark.parametrize("kind", GIVEN)
def test_rows_of_x_of_another_shape_are_refused(backend: Backend, kind: str) -> None:
    give, came = GIVEN[kind]
    text = f"a batch of x {came}, expected (4, 3), 4 rows from row 0 to 3 (in epoch 1, batch 1)"
    check_refused(trainer_for(backend, shuffle=False), Source(X, give), Y, text)


@pytest.mark.parametrize("kind", [Source, SlicesOnly])
def test_shuffled_rows_of_another_shape_are_refused(kind: type[Source]) -> None:
    def fewer(rows: Any, index: Any) -> Any:
        return rows[:-1]

    trainer = trainer_for("numpy")
    with pytest.raises(
        ValueError, match=r"^a batch of x has shape \(\d, 3\), expected \(\d, 3\), "
    ):
        trainer.fit(kind(X, fewer), Y, epochs=1)


@pytest.mark.parametrize(
    ("output", "y", "give", "came"),
    [
        ("identity", Y, lambda rows, index: rows[:-1], "(3, 2), expected (4, 2)"),
        ("identity", Y, lambda rows, index: rows[:, :1], "(4, 1), expected (4, 2)"),
        ("softmax", LABELS, lambda rows, index: rows[:-1], "(3,), expected (4,)"),
        ("softmax", LABELS, lambda rows, index: np.eye(2)[rows], "(4, 2), expected (4,)"),
    ],
)
def test_rows_of_y_of_another_shape_are_refused(
    backend: Backend, output: str, y: Any, give: Give, came: str
) -> None:
    text = f"a batch of y has shape {came}, 4 rows from row 0 to 3 (in epoch 1, batch 1)"
    check_refused(trainer_for(backend, output, shuffle=False), X, Source(y, give), text)


OTHER_THINGS: dict[str, tuple[Any, str]] = {
    "None": (None, "a batch of x is None, expected an array of real numbers"),
    "a text": ("rows", "a batch of x is 'rows', expected an array of real numbers"),
    "texts": ([["a"] * 3] * 4, "a batch of x has dtype <U1, expected real numbers"),
    "complex numbers": (X[:4] * 1j, "a batch of x has dtype complex128, expected real numbers"),
    "dates": (
        np.zeros((4, 3), "M8[s]"),
        "a batch of x has dtype datetime64[s], expected real numb",
    ),
    "ragged lists": (
        [[1, 2, 3], [1]],
        "a batch of x cannot be converted (ValueError: setting an array element with a sequence.",
    ),
}


@pytest.mark.parametrize("kind", OTHER_THINGS)
def test_what_is_no_array_of_numbers_is_refused(kind: str) -> None:
    given, text = OTHER_THINGS[kind]
    trainer = trainer_for("numpy", shuffle=False)
    before = parameters(trainer.network)
    with pytest.raises(ValueError, match=f"^{re.escape(text)}.*\\(in epoch 1, batch 1\\)$"):
        trainer.fit(Source(X, lambda rows, index: given), Y, epochs=1)
    np.testing.assert_array_equal(parameters(trainer.network), before)


def test_a_source_that_loses_rows_between_epochs_is_refused(backend: Backend) -> None:
    source = Source(X)

    def shrink(trainer: Trainer, history: Any) -> None:
        source._data = X[:10]
        source.shape = (10, N_IN)

    text = "a batch of x has shape (2, 3), expected (4, 3), 4 rows from row 8 to 11"
    trainer, other = trainer_for(backend, shuffle=False), trainer_for(backend)
    trainer.callbacks = [shrink]
    with pytest.raises(ValueError, match=f"^{re.escape(text)} \\(in epoch 2, batch 3\\)$"):
        trainer.fit(source, Y, epochs=3)
    for start in (*range(0, len(X), BATCH), 0, BATCH):  # the steps before are kept
        other.step(X[start : start + BATCH], Y[start : start + BATCH])
    np.testing.assert_array_equal(parameters(trainer.network), parameters(other.network))


@pytest.mark.parametrize("shape", [None, 17, ("17", 3), (17, 2.5), (-1, 3), lambda: (17, 3)])
def test_a_shape_that_is_none_is_refused(shape: Any) -> None:
    source = Source(X)
    source.shape = shape
    with pytest.raises(ValueError, match=r"^x has shape .*, expected a tuple of whole numbers$"):
        trainer_for("numpy").fit(source, Y, epochs=1)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((), "y has shape (), expected shape (17, 2)"),
        ((17, 3), "y has 3 columns, expected shape (17, 2)"),
        ((17, 2, 1), "y has shape (17, 2, 1), expected shape (17, 2)"),
    ],
)
def test_the_shape_of_streamed_targets_is_checked_before_anything_is_read(
    shape: tuple[int, ...], text: str
) -> None:
    def never(rows: Any, index: Any) -> Any:
        raise AssertionError("nothing is read")

    source = Source(np.zeros(shape), never)
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        trainer_for("numpy").fit(X, source, epochs=1)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: OSError(5, "Input/output error"), OSError),
        (lambda: ValueError("bad block"), RuntimeError),
        (lambda: ZeroDivisionError("no reason"), RuntimeError),
        (lambda: KeyError("rows"), RuntimeError),
    ],
)
@pytest.mark.parametrize("part", ["training", "validation"])
def test_a_source_that_fails_is_named_with_the_place_and_the_cause(
    backend: Backend, part: str, make: Callable[[], Exception], error: type[Exception]
) -> None:
    raised = make()

    def fail_late(rows: Any, index: Any) -> Any:
        if index.stop == ROWS:
            raise raised
        return rows

    broken = Source(X, fail_late)
    name, data, place = {
        "training": ("x", {}, "row 16 but an error, {} (in epoch 1, batch 5)"),
        "validation": (
            "validation x",
            {"validation_data": (broken, Y)},
            "17 rows from row 0 to 16 but an error, {} (after epoch 1)",
        ),
    }[part]
    text = f"{name} gave no {place.format(f'{type(raised).__name__}: {raised}')}"
    trainer, other = trainer_for(backend, shuffle=False), trainer_for(backend, shuffle=False)
    with pytest.raises(error, match=f"^{re.escape(text)}$") as caught:
        trainer.fit(X if data else broken, Y, epochs=2, **data)
    assert caught.value.__cause__ is raised
    for start in range(0, len(X) if data else 4 * BATCH, BATCH):  # the steps before are kept
        other.step(X[start : start + BATCH], Y[start : start + BATCH])
    np.testing.assert_array_equal(parameters(trainer.network), parameters(other.network))


def test_no_memory_and_interrupts_stay_what_they_are() -> None:
    for kind in (MemoryError, SystemExit):

        def fail(rows: Any, index: Any, kind: Any = kind) -> Any:
            raise kind

        with pytest.raises(kind):
            trainer_for("numpy").fit(Source(X, fail), Y, epochs=1)


def test_the_row_in_a_message_is_that_of_the_whole_data_also_when_rows_are_shuffled() -> None:
    spoilt = X.copy()
    spoilt[11, 2] = np.nan
    for kind in (Source, SlicesOnly):
        text = r"^x holds nan at \[11, 2\], expected finite numbers \(in epoch 1, batch \d\)$"
        with pytest.raises(ValueError, match=text):
            trainer_for("numpy").fit(kind(spoilt), Y, epochs=1)
    wrong = LABELS.copy()
    wrong[6] = -3
    text = r"^y holds the label -3 at \[6\], expected labels from 0 to 1 \(in epoch 1, batch \d\)$"
    with pytest.raises(ValueError, match=text):
        trainer_for("numpy", "softmax").fit(X, Source(wrong), epochs=1)
