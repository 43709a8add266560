"""Data that is written in another way than in training, and names and values that are unusual."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pl = pytest.importorskip("polars", reason="what reads tables, polars, is not installed")
pytest.importorskip("skops", reason="what writes models of tables, skops, is not installed")

from sklearn.model_selection import train_test_split  # noqa: E402
from table_files import flowers  # noqa: E402

from gpubp import tables  # noqa: E402
from gpubp.tables.reading import table_of  # noqa: E402
from gpubp.tables.scores import evaluate  # noqa: E402
from gpubp.tables.targets import Target  # noqa: E402
from gpubp.tables.values import Findings  # noqa: E402


def test_values_are_known_however_they_are_written() -> None:
    """pandas writes integers with gaps as 1.0, and booleans as True; polars writes true."""
    rows = 120
    trained = pl.DataFrame(
        {"n": np.arange(rows) % 3, "b": np.arange(rows) % 2 == 0, "y": np.arange(rows) // 2 % 2}
    )
    model = tables.train(trained, "y", epochs=1, hidden=(4,), backend="numpy")
    assert {column.kind for column in model.columns} == {"category"}
    truth = next(outputs for _, _, outputs in model.outputs(trained))
    for n, b, y in (
        (pl.Float64, str, pl.Float64),
        (pl.String, lambda b: str(b).upper(), pl.String),
        (float, lambda b: str(b).lower(), float),
    ):
        as_dtype = {name: trained[name] for name in ("n", "y")}
        for name, dtype in (("n", n), ("y", y)):
            values = trained[name].to_list()
            as_dtype[name] = (
                pl.Series([str(float(value)) for value in values])
                if dtype is float
                else trained[name].cast(dtype)
            )
        other = pl.DataFrame(as_dtype | {"b": [b(value) for value in trained["b"].to_list()]})
        findings = Findings()
        outputs = next(outputs for _, _, outputs in model.outputs(other, findings))
        np.testing.assert_array_equal(outputs, truth)
        assert findings.sentences() == []
        assert evaluate(model, table_of(other)).scores == evaluate(model, table_of(trained)).scores


def test_a_column_may_have_values_only_where_rows_are_held_out() -> None:
    y = np.arange(40) * 0.5
    _, (held_out,) = train_test_split(np.arange(40), test_size=1, random_state=0)
    rare = [1.0 if row == held_out else None for row in range(40)]
    frame = pl.DataFrame({"x": y**2, "rare": rare, "": y, "a\nb": rare, "y": y})
    settings = {"epochs": 1, "validation_split": 0.025, "backend": "numpy"}
    model = tables.train(frame, "y", **settings)
    assert np.isfinite(model.predict(frame)).all()
    assert [(column.name, column.kind) for column in model.columns if column.name == ""] == [
        ("", "dropped")
    ]


def test_dates_of_parquet_are_known_in_text() -> None:
    frame = flowers(60).select("day", "size", "z")
    frame = frame.with_columns(pl.col("day").cast(pl.Datetime("us")) + pl.duration(hours=7))
    model = tables.train(frame, "z", epochs=1, hidden=(4,), backend="numpy")
    text = frame.with_columns(pl.col("day").cast(pl.String))
    iso = frame.with_columns(pl.col("day").dt.strftime("%Y-%m-%dT%H:%M"))
    for other in (text, iso):
        np.testing.assert_array_equal(model.predict(other), model.predict(frame))
    with pytest.raises(
        ValueError, match=r"column 'day' of the frame holds '1\.2\.2024' in row 1, exp"
    ):
        model.predict(frame.with_columns(day=pl.lit("1.2.2024")))


def test_lists_and_bytes_are_no_classes_and_no_categories() -> None:
    frame = flowers(60).select("town", "y")
    model = tables.train(frame, "y", epochs=1, hidden=(4,), backend="numpy")
    for name in frame.columns:
        for changed in (pl.concat_list(name), pl.col(name).cast(pl.Binary)):
            other = table_of(frame.with_columns(changed.alias(name)))
            with pytest.raises(
                ValueError, match=f"column '{name}' of the frame holds values of type"
            ):
                evaluate(model, other)


def test_pictures_show_names_in_any_script_and_with_dollars(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="what draws, matplotlib, is not installed")
    from gpubp.tables.pictures import draw_evaluation

    labels = np.array(["$\\frac{$", "日本", "$1", "two\nlines"])
    target = Target("$x^$", "classification", "", tuple(labels.tolist()))
    draw_evaluation(tmp_path / "a.svg", labels, labels, target)
    assert "svg" in (tmp_path / "a.svg").read_text(encoding="utf-8")


def test_codes_and_numbers_are_not_the_same() -> None:
    trained = pl.DataFrame({"code": ["007", "7", "07"] * 20, "y": [0.5, 1.5, 3.5] * 20})
    model = tables.train(trained, "y", epochs=1, hidden=(4,), backend="numpy")
    findings = Findings()
    list(model.outputs(pl.DataFrame({"code": ["7.0", "007.0", "0007"]}), findings))
    assert findings.unknown == {"code": {"007.0": 1, "0007": 1}}


@pytest.mark.parametrize("name", ["^y$", "*", "other"])
def test_the_target_may_have_another_name_and_one_like_a_pattern(name: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    for y in (x * 2, np.where(x > 0, "u", "v")):
        frame = pl.DataFrame({"^x$": x, name: y})
        model = tables.train(frame, name, epochs=1, hidden=(4,), backend="numpy")
        renamed = frame.rename({name: "truth"})
        scores = evaluate(model, table_of(renamed), "truth").scores
        assert scores == evaluate(model, table_of(frame)).scores
        with pytest.raises(ValueError, match="column 'truth' of the frame holds 'w' in row 1"):
            evaluate(model, table_of(renamed.with_columns(truth=pl.lit("w"))), "truth")


def test_large_integers_that_fall_do_not_count_rows() -> None:
    falling = pl.Series(range(2**64 - 1, 2**64 - 61, -1), dtype=pl.UInt64)
    near = [str(10**17 + k * k) for k in range(60)]
    frame = pl.DataFrame({"falling": falling, "near": near, "y": ["u", "v"] * 30})
    plan = tables.Plan(table_of(frame), "y")
    assert [(column.name, column.kind) for column in plan.columns] == [
        ("falling", "number"),
        ("near", "number"),
    ]
