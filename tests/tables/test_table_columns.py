"""What columns are taken for, and their inputs, beside numbers made by hand."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import numpy as np
import pytest

pl = pytest.importorskip("polars", reason="what reads tables, polars, is not installed")
pytest.importorskip("skops", reason="what writes models of tables, skops, is not installed")

from table_files import MESSY, flowers  # noqa: E402

from gpubp.tables import Plan, Settings, train  # noqa: E402
from gpubp.tables.dates import DateParts  # noqa: E402
from gpubp.tables.preparation import learn_preparation, prepared  # noqa: E402
from gpubp.tables.reading import MemoryTable, table_of  # noqa: E402
from gpubp.tables.text import read_text  # noqa: E402
from gpubp.tables.values import Findings, conform  # noqa: E402


def kinds_of(data: dict[str, Any], target: str = "y", **options: Any) -> dict[str, tuple[str, str]]:
    plan = Plan(table_of(pl.DataFrame(data)), target, **options)
    return {column.name: (column.kind, column.why) for column in plan.columns}


def test_the_columns_of_a_messy_table() -> None:
    frame, _ = read_text("it", MESSY.encode())
    plan = Plan(MemoryTable("it", frame), "price")
    assert {c.name: c.kind for c in plan.columns} == {
        "id": "dropped", "size (m)": "number", "town": "category", "when": "date", "rooms": "number",
        "note": "dropped", "empty": "dropped", "same": "dropped",
    }  # fmt: skip
    why = {c.name: c.why for c in plan.columns}
    assert why["id"] == "it counts the rows" and why["empty"] == "it has no values"
    assert why["same"] == "it is constant ('x' in all rows)"
    assert why["when"] == "dates, read as day.month.year"
    assert {c.name: c.gaps for c in plan.columns if c.gaps} == {
        "size (m)": 1, "town": 1, "when": 1, "empty": 5,
    }  # fmt: skip


def test_integers_are_categories_if_few_values_repeat_often() -> None:
    y = np.linspace(0, 1, 500)
    few, many, codes = np.arange(500) % 20, np.arange(500) % 25, [f"0{k % 7}" for k in range(500)]
    found = kinds_of({"few": few, "many": many, "codes": codes, "float": few / 1.0, "y": y})
    assert found["few"] == ("category", "20 different integers")
    assert found["many"][0] == "number" and found["float"][0] == "number"
    assert found["codes"][0] == "category"  # a code keeps its zeros
    small = kinds_of({"few": few[:300], "y": y[:300]})  # 20 values are not fewer than 5 % of 300
    assert small["few"] == ("number", "20 different integers in only 300 rows")


def test_wishes_overrule() -> None:
    y, n = np.linspace(0, 1, 60), np.arange(60)
    data = {"n": n, "k": n % 3, "t": [str(k % 4) for k in n], "y": y}
    found = kinds_of(data, drop=["t"], categorical=["n"], numeric=["k"])
    assert [found[name][0] for name in "nkt"] == ["category", "number", "dropped"]


def test_the_only_column_may_count_the_rows() -> None:
    assert kinds_of({"x": [1, 2, 3, 4], "y": [2.5, 3.5, 4.5, 5.5]})["x"][0] == "number"


def test_infinity_is_a_gap_and_what_is_too_large_is_told() -> None:
    for x in (["1", "inf", "1e400", "2.5"], [1.0, float("inf"), -float("inf"), 2.5]):
        plan = Plan(table_of(pl.DataFrame({"x": x, "y": [0.5, 1.5, 2.5, 3.5]})), "y")
        assert [(c.kind, c.gaps) for c in plan.columns] == [("number", 2)]
        assert np.isfinite(plan.train(Settings(epochs=1, backend="numpy")).history.cost[-1])
    plan = Plan(table_of(pl.DataFrame({"x": [1.0, 1e200, 2.5], "y": [0.5, 1.5, 2.5]})), "y")
    with pytest.raises(
        ValueError, match=r"column 'x' of the frame holds 1e\+200 in row 2, expected"
    ):
        plan.train(Settings(epochs=1, backend="numpy"))


def test_rare_texts_share_an_input() -> None:
    words = [f"w{k % 100}" for k in range(1000)] + [f"rare{k}" for k in range(40)]
    plan = Plan(table_of(pl.DataFrame({"w": words, "y": np.linspace(0, 1, 1040)})), "y")
    (column,) = plan.columns
    assert column.kind == "category" and column.others and len(column.categories) == 100
    assert "rare0" not in column.categories


def test_inputs_are_those_made_by_hand() -> None:
    frame = pl.DataFrame(
        {
            "n": [1.0, None, 5.0, 6.0],
            "c": ["b", "a", None, "b"],
            "d": [date(1970, 1, 1), None, date(1970, 4, 2), None],
            "y": [0.1, 0.2, 0.3, 0.4],
        }
    )
    plan = Plan(MemoryTable("it", frame), "y")
    known = conform("it", frame, plan.columns, Findings())
    preparation = learn_preparation(plan.columns, [known])
    places = [each for *_, chosen in preparation.transformers for each in chosen]
    assert places == [0, 1, 2]  # not names, which scikit-learn 1.8 cannot read from polars 2
    inputs = dict(
        zip(
            preparation.get_feature_names_out(["n", "c", "d"]),
            prepared(preparation, known, np.float64).T,
            strict=True,
        )
    )
    deviation = np.sqrt((9 + 1 + 4) / 3)  # of 1, 5 and 6, whose mean is 4
    np.testing.assert_allclose(inputs["n"], [-3 / deviation, 0, 1 / deviation, 2 / deviation])
    np.testing.assert_array_equal(inputs["missingindicator_n"], [0, 1, 0, 0])
    np.testing.assert_array_equal(inputs["c_a"], [0, 1, 0, 0])
    np.testing.assert_array_equal(inputs["c_b"], [1, 0, 0, 1])
    np.testing.assert_array_equal(inputs["c_"], [0, 0, 1, 0])
    np.testing.assert_allclose(inputs["d_days"], [-1, 0, 1, 0])
    np.testing.assert_array_equal(inputs["missingindicator_d_days"], [0, 1, 0, 1])
    month = np.array([0, 0, 1, 0])  # the sine of April's place in the year is 1, January's 0
    np.testing.assert_allclose(inputs["d_month_sin"], (month - 0.25) / np.std(month), atol=1e-12)


def test_parts_of_dates_by_hand() -> None:
    when = pl.Series("d", ["1970-01-02 06:00:00"]).str.to_datetime(time_unit="us")
    parts = DateParts().fit(when.to_frame()).transform(when.to_frame())[0]
    friday = 2 * np.pi * 4 / 7
    expected = [1.25, 0, 1, np.sin(friday), np.cos(friday), 1, 0]
    np.testing.assert_allclose(parts, expected, atol=1e-12)


def test_means_do_not_depend_on_the_parts() -> None:
    frame = flowers(100)
    plan = Plan(MemoryTable("it", frame), "z", drop=["y"])
    known = conform("it", frame, plan.columns, Findings())
    whole = prepared(learn_preparation(plan.columns, [known]), known, np.float64)
    cut = learn_preparation(plan.columns, [known[:7], known[7:50], known[50:50], known[50:]])
    np.testing.assert_allclose(prepared(cut, known, np.float64), whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows_at_once", [None, 7])
def test_columns_are_the_same_in_parts(rows_at_once: int | None) -> None:
    plan = Plan(MemoryTable("it", flowers(100)), "y")
    assert (
        Plan(MemoryTable("it", flowers(100)), "y", rows_at_once=rows_at_once).columns
        == plan.columns
    )


TASKS = [
    (["a", "b"] * 10, "classification", "it holds text"),
    ([True, False] * 10, "classification", "it holds true and false"),
    ([0, 1] * 10, "classification", "it holds 2 different whole numbers"),
    ([0, 1, 2, 3] * 5, "classification", "it holds 4 different whole numbers"),
    (list(range(0, 40, 2)), "regression", "it holds 20 different whole numbers"),
    ([0.0, 1.0, None] * 10, "classification", "it holds 2 different whole numbers"),
    (["0.0", "1.0", ""] * 10, "classification", "it holds 2 different whole numbers"),
    (
        ["0", "1", "1.0"] * 10,
        "regression",
        "it holds whole numbers that are not written alike, such as 1 and 1.0",
    ),
    ([float(k) for k in range(40)], "regression", "it holds 40 different whole numbers"),
    ([0.5, 1.5] * 10, "regression", "it holds numbers with decimal places"),
    ([0.0, 1.0] * 9 + [0.5, 1.5], "regression", "it holds numbers with decimal places"),
]


@pytest.mark.parametrize(("y", "task", "why"), TASKS)
def test_the_task_follows_the_target(y: list[Any], task: str, why: str) -> None:
    plan = Plan(table_of(pl.DataFrame({"x": np.linspace(0, 1, len(y)), "y": y})), "y")
    assert (plan.target.task, plan.target.why) == (task, why)


X = np.linspace(0, 1, 20)
BAD = [
    ({"y": [1.0] * 20}, {}, "target column 'y' is constant ('1' in all rows), expected at least 2"),
    ({"y": [None] * 20}, {}, "target column 'y' has no values in 20 rows, expected classes or numbers"),
    ({"y": [f"t{k}" for k in range(20)]}, {}, "holds 20 different values in 20 rows, expected classes"),
    ({"y": ["a"] * 19 + ["b"]}, {"task": "regression"}, "holds the text 'a' in row 1, expected numbers"),
    ({"y": X}, {"task": "clasification"}, "unknown task 'clasification'; did you mean 'classification'?"),
    ({"y": X}, {"target": "yy"}, "the frame has no column 'yy'; did you mean 'y'?"),
    ({"y": X}, {"drop": ["z"]}, "drop: the frame has no column 'z'; it has 'x', 'y'"),
    ({"y": X}, {"drop": ["y"]}, "drop names the target 'y', expected another column"),
    ({"y": X}, {"drop": ["x"]}, "has no column to predict 'y' from, expected at least one"),
    ({"y": X, "t": ["1", "b"] * 10}, {"numeric": ["t"]}, "column 't' holds the text 'b' in row 2, exp"),
    ({"y": X}, {"drop": ["x"], "numeric": ["x"]}, "column 'x' is in drop and in numeric, expected one"),
    ({"y": X}, {"rows_at_once": 1}, "rows_at_once is 1, expected a whole number at least 2"),
    ({"y": [date(2024, 1, 1 + k) for k in range(20)]}, {}, "'y' holds dates, expected classes"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "options", "told"), BAD)
def test_a_table_that_cannot_be_learned_from_is_told(
    data: dict[str, Any], options: dict[str, Any], told: str
) -> None:
    table = table_of(pl.DataFrame({"x": X, **data}))
    with pytest.raises(ValueError, match=re.escape(told)):
        Plan(table, options.pop("target", "y"), **options)


def test_labels_in_an_array_of_floats_are_classes() -> None:
    x = np.random.default_rng(0).normal(size=(90, 2))
    rows = np.column_stack([x, np.arange(90) % 3])
    model = train(rows, "x2", epochs=1, hidden=(4,))
    assert model.target.classes == (0, 1, 2)
    assert set(model.predict(rows[:, :2])) <= {0, 1, 2}
