"""Batches of an iterable that do not fit the network, fail or are none: errors that name batch and row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from iterables import ROWS, WEIGHTS, NoLength, X, Y, cut, trainer
from resuming import assert_same
from small_networks import parameters


def spoilt(index: tuple[int, ...], value: float) -> np.ndarray:
    x = X.copy()
    x[index] = value
    return x


def label(row: int, value: int) -> np.ndarray:
    y = Y.copy()
    y[row] = value
    return y


def weight(row: int, value: float) -> np.ndarray:
    weights = WEIGHTS.copy()
    weights[row] = value
    return weights


PLACE = "batch 4, which begins at row 12"
BAD: dict[str, tuple[tuple[Any, ...], str]] = {
    "nan": ((spoilt((13, 2), np.nan), Y), "x holds nan at [13, 2], expected finite numbers"),
    "nan in sparse rows": (
        (scipy.sparse.csr_array(spoilt((13, 2), np.nan)), Y),
        "x holds nan at [13, 2], expected finite numbers",
    ),
    "a label": ((X, label(14, 3)), "y holds the label 3 at [14], expected labels from 0 to 2"),
    "a weight": (
        (X, Y, weight(12, -1)),
        "sample_weight holds -1 at [12], expected no negative number",
    ),
    "probabilities": (
        (X, np.where(np.arange(ROWS)[:, None] == 15, 0.5, np.eye(3)[Y])),
        "y's row 15 sums to 1.5, expected rows of probabilities that sum to 1",
    ),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("part", ["training", "validation"])
def test_an_error_names_the_row_of_the_epoch_and_the_batch(kind: str, part: str) -> None:
    arrays, text = BAD[kind]
    made, other = trainer(), trainer()
    if part == "training":
        with pytest.raises(ValueError, match=f"^{re.escape(text)} \\(in epoch 1, {PLACE}\\)$"):
            made.fit(cut(*arrays), epochs=2)
        for x, y, *weights in cut(*arrays)[:3]:  # the steps before are kept
            other.step(x, y, *weights)
        np.testing.assert_allclose(
            parameters(made.network), parameters(other.network), rtol=1e-9, atol=1e-12
        )
        return
    shown = text.replace("y's", "validation y's") if "y's" in text else f"validation {text}"
    with pytest.raises(ValueError, match=f"^{re.escape(shown)} \\(after epoch 1, {PLACE}\\)$"):
        made.fit(X, Y, epochs=2, validation_data=cut(*arrays))
    other.fit(X, Y, epochs=1)
    np.testing.assert_array_equal(parameters(made.network), parameters(other.network))


WRONG: dict[str, tuple[Any, str]] = {
    "columns": (
        (X[:4, :2], Y[:4]),
        "x has 2 columns, expected 3, the width of the input layer",
    ),
    "fewer labels": ((X[:4], Y[:3]), "y has 3 rows, expected 4, as x has"),
    "weights": (
        (X[:4], Y[:4], [1.0]),
        "sample_weight has shape (1,), expected (4,), one for each row of x",
    ),
    "no rows": ((X[:0], Y[:0]), "x has no rows, expected at least one"),
    "a dict": (
        {"pixels": X[:4], "label": Y[:4]},
        "x gave a batch that is a dict with the keys pixels, label, expected (x, y) or (x, y,"
        " sample_weight)",
    ),
    "x alone": (
        (X[:4],),
        "x gave a batch with 1 entries, expected (x, y) or (x, y, sample_weight)",
    ),
    "None": (None, "x gave a batch that is None, expected (x, y) or (x, y, sample_weight)"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_batch_that_does_not_fit_is_refused(kind: str) -> None:
    batch, text = WRONG[kind]
    batches = [*cut(X, Y)[:2], batch]
    place = "in epoch 1, batch 3, which begins at row 8"
    with pytest.raises(ValueError, match=f"^{re.escape(f'{text} ({place})')}$"):
        trainer().fit(batches, epochs=1)


@pytest.mark.parametrize(
    ("raised", "kind"), [(OSError(5, "Input/output error"), OSError), (KeyError(3), RuntimeError)]
)
def test_an_iterable_that_fails_keeps_the_steps_before(
    raised: Exception, kind: type[Exception], tmp_path: Path
) -> None:
    class Failing:
        epoch = 0

        def __iter__(self) -> Iterator[Any]:
            self.epoch += 1
            yield from cut(X, Y)[: 2 if self.epoch == 2 else None]
            if self.epoch == 2:
                raise raised

    made, other = trainer(checkpoint=tmp_path), trainer()
    came = f"x gave no batch but an error, {type(raised).__name__}: {raised}"
    with pytest.raises(kind, match=f"^{re.escape(f'{came} (in epoch 2, batch 3)')}$") as caught:
        made.fit(Failing(), epochs=3)
    assert caught.value.__cause__ is raised
    for batch in [*cut(X, Y), *cut(X, Y)[:2]]:
        other.step(*batch)
    np.testing.assert_array_equal(parameters(made.network), parameters(other.network))
    mended, whole = trainer(), trainer()
    mended.resume(tmp_path)
    assert_same(
        (mended, mended.fit(NoLength(cut(X, Y)), epochs=3)), (whole, whole.fit(X, Y, epochs=3))
    )


@pytest.mark.parametrize("empty", [[], (), NoLength([]), lambda: iter(())])
def test_an_iterable_without_batches_is_refused(empty: Any) -> None:
    made = trainer()
    before = parameters(made.network)
    text = r"^x (holds no batch|gave no batch \(in epoch 1\)), expected at least one$"
    with pytest.raises(ValueError, match=text):
        made.fit(empty, epochs=1)
    np.testing.assert_array_equal(parameters(made.network), before)
    with pytest.raises(ValueError, match=r"^validation_data gave no batch \(after epoch 1\), exp"):
        made.fit(X, Y, epochs=1, validation_data=NoLength([]))
    assert not np.array_equal(parameters(made.network), before)


def test_what_is_no_iterable_of_batches_is_refused() -> None:
    def text() -> str:
        return "rows"

    with pytest.raises(TypeError, match=r"^x returned 'rows', expected an iterable of b") as caught:
        trainer().fit(text, epochs=1)
    assert caught.type is TypeError
    with pytest.raises(
        ValueError, match=r"^sample_weight is \[1\], expected None, because x is an"
    ):
        trainer().fit(cut(X, Y), epochs=1, sample_weight=[1])
    with pytest.raises(ValueError, match=r"^y is None, expected an array of real numbers$"):
        trainer().fit(X, epochs=1)
    with pytest.raises(
        ValueError, match=r"^x gave batches that are not alike, expected all sparse"
    ):
        trainer(accumulate=2).fit([(X, Y), (X, Y, WEIGHTS)], epochs=1)
    with pytest.raises(ValueError, match=r"^the sample weights of x are all zero, expected a pos"):
        trainer().fit([(X, Y, 0 * WEIGHTS), (X, Y, 0 * WEIGHTS)], epochs=1)
    with pytest.raises(ValueError, match="sample weights of validation_data are all zero"):
        trainer().fit(X, Y, epochs=1, validation_data=[(X, Y, 0 * WEIGHTS)])
