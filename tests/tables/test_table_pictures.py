"""The pictures of training: what each panel shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("polars", reason="what reads tables, polars, is not installed")
pytest.importorskip("skops", reason="what writes models of tables, skops, is not installed")
pytest.importorskip("matplotlib", reason="what draws, matplotlib, is not installed")

from gpubp import History
from gpubp.tables import Target, pictures


def drawn(monkeypatch: pytest.MonkeyPatch, target: Target, actual: Any, predicted: Any) -> Any:
    """Draw training, and return the picture in the place of writing it."""
    kept: list[Any] = []
    monkeypatch.setattr(pictures, "_write", lambda figure, path: kept.append(figure))
    pictures.draw_training(
        "a.png", History(cost=[1.0, 0.5], best_epoch=1), [[0.1, 1.0]] * 3, actual, predicted, target
    )
    return kept[0]


def test_a_regression_shows_residuals(monkeypatch: pytest.MonkeyPatch) -> None:
    actual, predicted = np.array([1.0, 2.0, 4.0]), np.array([1.5, 2.0, 3.0])
    figure = drawn(monkeypatch, Target("price", "regression", ""), actual, predicted)
    *_, predictions, residuals = figure.axes
    assert predictions.collections[0].get_offsets().tolist() == [[1, 1.5], [2, 2], [4, 3]]
    assert residuals.collections[0].get_offsets().tolist() == [[1.5, -0.5], [2, 0], [3, 1]]
    assert residuals.get_title() == "Residuals: root mean square 0.6455"  # sqrt(1.25 / 3)


def test_long_labels_that_begin_alike_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [f"a long label that ends in {k}" for k in range(6)]
    target = Target("kind", "classification", "", tuple(labels))
    rows = np.array(labels)
    figure = drawn(monkeypatch, target, rows, rows)
    names = [name.get_text() for name in figure.axes[2].get_yticklabels()]
    assert names == [f"a long l...ds in {k}" for k in range(6)]


def test_without_held_out_rows_there_are_two_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = drawn(monkeypatch, Target("price", "regression", ""), np.array([]), np.array([]))
    assert len(figure.axes) == 2


def test_nothing_of_a_picture_is_cut_off(tmp_path: Path) -> None:
    from matplotlib.image import imread

    figure = pictures._figure(2, 2)
    figure.add_subplot()
    figure.text(1.5, 0.5, "beyond the edge")
    pictures._write(figure, tmp_path / "a.png")
    assert imread(tmp_path / "a.png").shape[1] > 1.5 * 2 * 150  # inches, dots in an inch
