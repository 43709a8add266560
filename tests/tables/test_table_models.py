"""Models of tables: beside scikit-learn's pipeline, in parts and in memory, their files, their warnings."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pl = pytest.importorskip("polars", reason="what reads tables, polars, is not installed")
skops_io = pytest.importorskip("skops.io", reason="what writes models, skops, is not installed")

from sklearn.datasets import load_breast_cancer, load_diabetes  # noqa: E402
from sklearn.linear_model import Ridge  # noqa: E402
from sklearn.metrics import (  # noqa: E402
    accuracy_score,
    classification_report,
    log_loss,
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from table_files import flowers, written  # noqa: E402

import gpubp  # noqa: E402
from gpubp import tables  # noqa: E402
from gpubp.tables.deltas import Deltas  # noqa: E402
from gpubp.tables.reading import ArrayTable, ParquetTable, table_of  # noqa: E402
from gpubp.tables.scores import evaluate  # noqa: E402
from gpubp.tables.values import Findings  # noqa: E402

SMALL: dict[str, Any] = {"hidden": (16,), "epochs": 5, "backend": "numpy"}


def test_accuracy_is_that_of_scikit_learns_pipeline() -> None:
    x, y = load_breast_cancer(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.3, random_state=1, stratify=y)
    pipeline = make_pipeline(
        StandardScaler(), MLPClassifier((64,), max_iter=60, random_state=1, tol=1e-2)
    )
    pipeline.fit(x, y)
    names = [f"f{k}" for k in range(x.shape[1])]
    frame = pl.DataFrame(x, schema=names).with_columns(y=pl.Series(y))
    model = tables.train(frame, "y", hidden=(64,), epochs=60, backend="numpy")
    ours = accuracy_score(y_test, model.predict(pl.DataFrame(x_test, schema=names)))
    assert ours >= pipeline.score(x_test, y_test) - 0.02 and ours > 0.94


def test_a_regression_is_as_good_as_a_linear_model_and_in_the_targets_unit() -> None:
    frame = load_diabetes(as_frame=True).frame
    train, test = train_test_split(frame, test_size=0.3, random_state=0)
    model = tables.train(train, "target", backend="numpy")
    linear = Ridge(alpha=0.1).fit(train.drop(columns="target"), train["target"])
    ours = r2_score(test["target"], model.predict(test))
    assert ours > linear.score(test.drop(columns="target"), test["target"]) - 0.1


@pytest.mark.parametrize("target", ["y", "z"])
def test_training_in_parts_computes_what_training_in_memory_does(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = flowers(600)
    path = written(frame, tmp_path / "data.parquet")
    reads: list[int] = []
    read = ParquetTable.read

    def counted(self: Any, start: int, stop: int, columns: Any = None) -> Any:
        reads.append(stop - start)
        return read(self, start, stop, columns)

    monkeypatch.setattr(ParquetTable, "read", counted)
    settings = SMALL | {
        "shuffle": False,
        "validation_split": 0,
        "batch_size": 50,
        "dtype": "float64",
    }
    drop = ["z" if target == "y" else "y"]
    whole = tables.train(frame, target, drop=drop, **settings)
    parts = tables.train(tables.open_table(path), target, drop=drop, rows_at_once=130, **settings)
    assert max(reads) <= 130 and sum(reads) >= 7 * 600  # two passes, then one for each epoch
    np.testing.assert_allclose(
        whole.network.predict(np.ones((1, whole.network.sizes[0]))),
        parts.network.predict(np.ones((1, whole.network.sizes[0]))),
        rtol=1e-9,
    )
    assert parts.training["cost"] == pytest.approx(whole.training["cost"], rel=1e-9)


def test_transformers_that_fail_are_told_when_the_model_is_opened(tmp_path: Path) -> None:
    """As may those of another version of scikit-learn."""
    frame = flowers(60).drop("y")
    model = tables.train(frame, "z", epochs=1, hidden=(4,), backend="numpy")
    del model.preparation.named_transformers_["numbers"]["scale"].copy
    model.save(tmp_path / "a.skops")
    with pytest.raises(gpubp.CorruptFileError, match=r"a\.skops is not a whole model: .*'copy'"):
        tables.load(tmp_path / "a.skops")


def test_a_map_of_a_file_is_trained_in_parts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 4)).astype(np.float32)
    x[:, 3] = x[:, 0] - x[:, 1]
    np.save(tmp_path / "data.npy", x)
    settings = SMALL | {
        "shuffle": False,
        "validation_split": 0,
        "batch_size": 50,
        "dtype": "float64",
    }
    table = tables.open_table(tmp_path / "data.npy")
    assert isinstance(table, ArrayTable) and table.streams
    models = [tables.train(table, "-1", rows_at_once=rows, **settings) for rows in (None, 70)]
    np.testing.assert_allclose(models[0].predict(x), models[1].predict(x), rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_a_model_is_trained_and_predicts_on_cuda(cuda_backend: Any, tmp_path: Path) -> None:
    frame = flowers(120)
    settings = SMALL | {"epochs": 2, "hidden": (4,), "callbacks": [Deltas()]}
    path = written(frame, tmp_path / "data.parquet")
    for rows in (None, 50):
        plain = tables.train(tables.open_table(path), "y", rows_at_once=rows, **settings)
        there = tables.train(
            tables.open_table(path), "y", rows_at_once=rows, **settings | {"backend": "cupy"}
        )
        assert there.network.backend.name == "cupy" and plain.network.backend.name == "numpy"
        expected = plain.predict_proba(frame)
        np.testing.assert_allclose(there.predict_proba(frame), expected, atol=1e-4)
        there.save(tmp_path / "model.skops")
        again = tables.load(tmp_path / "model.skops", backend="numpy")
        np.testing.assert_allclose(again.predict_proba(frame), expected, atol=1e-4)


def test_each_epoch_of_a_stream_has_all_rows_once_in_a_new_order(tmp_path: Path) -> None:
    n = 1000
    frame = pl.DataFrame({"x": np.arange(n) / n, "y": 3 * np.arange(n) / n})
    table = tables.open_table(written(frame, tmp_path / "data.parquet"))
    seen: list[Any] = []
    from gpubp.tables import parts

    take = parts.Stream.take

    def noted(self: Any, start: int, stop: int) -> Any:
        x, y = take(self, start, stop)
        seen.append((self._epoch, start, stop, x[:, 0].copy(), y[:, 0].copy()))
        return x, y

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts.Stream, "take", noted)
        tables.train(
            table, "y", rows_at_once=130, validation_split=0.2, batch_size=64, epochs=2, hidden=(4,),
            backend="numpy",
        )  # fmt: skip
    epochs = []
    for epoch in (0, 1):
        rows = {(start, stop): x for number, start, stop, x, _ in seen[1:] if number == epoch}
        epochs.append(np.concatenate([rows[key] for key in sorted(rows)]))
    assert len(epochs[0]) == 800 and len(np.unique(epochs[0])) == 800
    np.testing.assert_array_equal(np.sort(epochs[0]), np.sort(epochs[1]))
    assert not np.array_equal(epochs[0], epochs[1])
    for _, _, _, x, y in seen:  # the rows of x and y belong together
        np.testing.assert_allclose(x, y, atol=1e-5)


def test_a_file_holds_the_whole_model(tmp_path: Path) -> None:
    for target in ("y", "z"):
        model = tables.train(flowers(), target, **SMALL)
        model.save(tmp_path / "model.skops")
        again = tables.load(tmp_path / "model.skops", backend="numpy")
        assert again.columns == model.columns and again.target == model.target
        assert again.training == model.training and again.input_names == model.input_names
        np.testing.assert_array_equal(again.predict(flowers(50, 1)), model.predict(flowers(50, 1)))
    with pytest.raises(ValueError, match="the model predicts numbers, expected one that predicts"):
        again.predict_proba(flowers(5))


def test_frames_of_all_kinds_predict_the_same(tmp_path: Path) -> None:
    model, frame = tables.train(flowers(), "y", **SMALL), flowers(60, 2)
    expected = model.predict(frame)
    assert set(expected) <= {"big", "small"}
    np.testing.assert_allclose(model.predict_proba(frame).sum(axis=1), 1, rtol=1e-5)
    for name in ("data.csv", "data.tsv", "data.parquet"):
        np.testing.assert_array_equal(
            model.predict(tables.open_table(written(frame, tmp_path / name))), expected
        )
    columns = {name: frame[name].to_numpy() for name in frame.columns}
    np.testing.assert_array_equal(model.predict(columns), expected)
    pandas = pytest.importorskip("pandas", reason="the frames' library, pandas, is not installed")
    np.testing.assert_array_equal(model.predict(pandas.DataFrame(columns)), expected)


@pytest.mark.parametrize("classes", [[True, False], [3, -1], ["a", "b"]])
def test_predictions_have_the_type_of_the_target(classes: list[Any], tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 40)
    frame = pl.DataFrame({"x": x, "y": [classes[int(value > 0)] for value in x]})
    model = tables.train(frame, "y", hidden=(8,), epochs=60, backend="numpy", learning_rate=0.01)
    model.save(tmp_path / "model.skops")
    predicted = tables.load(tmp_path / "model.skops").predict(frame)
    assert predicted.dtype.kind == np.array(classes).dtype.kind
    assert (
        evaluate(model, table_of(frame)).scores["accuracy"]
        == np.mean(predicted == frame["y"].to_numpy())
        > 0.9
    )


def test_what_is_new_in_a_table_is_found() -> None:
    model = tables.train(flowers().drop("z"), "y", **SMALL)
    frame = flowers(10).with_columns(
        town=pl.Series(["Ulm", "Ulm", "Bern", *["Bonn"] * 7]), rooms=pl.Series([None, *[2] * 9])
    )
    findings = Findings()
    assert sum(len(outputs) for _, _, outputs in model.outputs(frame, findings)) == 10
    assert findings.unknown == {"town": {"Ulm": 2, "Bern": 1}} and findings.gaps == {"rooms": 1}
    assert findings.sentences() == [
        "column 'town' has unknown categories in 3 rows ('Ulm', 'Bern'): all inputs of the column are 0"
        " there",
        "column 'rooms' has gaps in 1 row, and had none in training: they are taken as its mean, or as no"
        " category",
    ]


BAD_ROWS = [
    (lambda f: f.drop("town"), "the frame has no column 'town', which the model needs; it has 'size'"),
    (lambda f: f.rename({"town": "towns"}), "has no column 'town', which the model needs; did you mean"),
    (lambda f: f.with_columns(size=pl.lit("big")), "column 'size' of the frame holds 'big' in row 1, exp"),
    (lambda f: f.with_columns(size="day"), "column 'size' of the frame holds values of type Date, exp"),
    (lambda f: f.with_columns(day=pl.lit("soon")), "column 'day' of the frame holds 'soon' in row 1, exp"),
    (lambda f: f.with_columns(day="size"), "column 'day' of the frame holds values of type Float64, exp"),
]  # fmt: skip


@pytest.fixture(scope="module")
def model() -> tables.Model:
    return tables.train(flowers().drop("z"), "y", **SMALL)


@pytest.mark.parametrize(("change", "told"), BAD_ROWS)
def test_rows_that_do_not_fit_are_told(model: tables.Model, change: Any, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        model.predict(change(flowers(5)))


def test_scores_are_scikit_learns(model: tables.Model) -> None:
    frame = flowers(200, 3).with_columns(y=pl.when(pl.arange(200) < 5).then(None).otherwise("y"))
    found = evaluate(model, table_of(frame))
    assert (found.rows, found.without_target) == (195, 5)
    known = frame[5:]
    report = classification_report(known["y"], model.predict(known), output_dict=True)
    assert found.scores["accuracy"] == pytest.approx(report["accuracy"])
    probabilities = model.predict_proba(known).astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert found.scores["log_loss"] == pytest.approx(log_loss(known["y"], probabilities), rel=1e-4)
    for described in found.classes:
        theirs = report[described["class"]]
        assert described["f1"] == pytest.approx(theirs["f1-score"])
        assert described["rows"] == theirs["support"]
    assert found.confusion.sum() == 195 and found.confusion.trace() / 195 == report["accuracy"]


def test_scores_of_numbers_are_scikit_learns() -> None:
    regressor, frame = tables.train(flowers(), "z", drop=["y"], **SMALL), flowers(100, 4)
    found, predicted = evaluate(regressor, table_of(frame)), regressor.predict(frame)
    assert found.scores == pytest.approx(
        {
            "r2": r2_score(frame["z"], predicted),
            "rmse": root_mean_squared_error(frame["z"], predicted),
            "mae": mean_absolute_error(frame["z"], predicted),
        }
    )
    with pytest.raises(ValueError, match="column 'z' of the frame holds 'big' in row 1"):
        evaluate(
            regressor, table_of(frame.drop("z").rename({"y": "q"}).with_columns(z=pl.lit("big")))
        )


def test_an_unknown_class_is_told(model: tables.Model) -> None:
    frame = flowers(5).with_columns(y=pl.lit("huge"))
    told = "target column 'y' of the frame holds 'huge' in row 1, expected one of the classes big, small"
    with pytest.raises(ValueError, match=told):
        evaluate(model, table_of(frame))


def test_sizes_of_deltas_are_those_of_backprop() -> None:
    class Noted(Deltas):
        def on_fit_begin(self, trainer: gpubp.Trainer, epochs: int, steps_per_epoch: int) -> None:
            super().on_fit_begin(trainer, epochs, steps_per_epoch)
            z = trainer.network.predict(self._x)[:, 0]
            self.by_hand = float(np.sqrt(np.mean((z - self._y[:, 0]) ** 2)))  # δ of a row is a - y

    deltas = Noted()
    tables.train(flowers(), "z", drop=["y"], callbacks=[deltas], **SMALL | {"hidden": (8, 8)})
    assert np.shape(deltas.sizes) == (6, 3)
    assert deltas.sizes[0][-1] == pytest.approx(deltas.by_hand, rel=1e-4)
    assert deltas.sizes[-1][-1] < deltas.sizes[0][-1]


def test_a_pickle_in_the_files_place_is_not_opened(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return Path.write_text, (tmp_path / "executed", "")

    (tmp_path / "model.skops").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(
        gpubp.CorruptFileError, match=r"is not a model \(a pickle is never opened\)"
    ):
        tables.load(tmp_path / "model.skops")
    assert not (tmp_path / "executed").exists()


def test_other_types_in_a_file_are_named_and_not_opened(tmp_path: Path) -> None:
    (tmp_path / "model.skops").write_bytes(
        skops_io.dumps({"format": 1, "x": gpubp.EarlyStopping()})
    )
    with pytest.raises(
        gpubp.CorruptFileError, match=r"holds gpubp\.training\.early_stopping\.EarlySto"
    ):
        tables.load(tmp_path / "model.skops")


def test_damaged_and_changed_files_are_told(model: tables.Model, tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    model.save(path)
    whole = path.read_bytes()
    damaged = [whole[:900], whole[:-30], whole[:300] + bytes(300) + whole[600:], b"PK\3\4", b"text"]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(gpubp.CorruptFileError, match=r"model\.skops"):
            tables.load(path)
    path.write_bytes(skops_io.dumps({"format": "another"}))
    with pytest.raises(gpubp.CorruptFileError, match="is a skops file, but not a model"):
        tables.load(path)
    content = skops_io.loads(whole, trusted=skops_io.get_untrusted_types(data=whole))
    for name, value in (("sizes", [3, 2]), ("hidden", "rellu"), ("parameters", np.zeros(3))):
        path.write_bytes(skops_io.dumps(content | {"network": content["network"] | {name: value}}))
        with pytest.raises(gpubp.CorruptFileError, match="is not a whole model"):
            tables.load(path)


def test_a_file_holds_no_pickle(model: tables.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model.skops")
    with zipfile.ZipFile(tmp_path / "model.skops") as file:
        assert {Path(name).suffix for name in file.namelist()} <= {".json", ".npy"}
        for name in file.namelist():
            if name.endswith(".npy"):
                np.load(io.BytesIO(file.read(name)), allow_pickle=False)


BAD_SETTINGS = [
    ({"hidden": (0,)}, "a width of hidden is 0, expected a whole number at least 1"),
    ({"activation": "rellu"}, "unknown activation 'rellu'; did you mean 'relu'?"),
    ({"activation": "softmax"}, "unknown activation 'softmax'"),
    ({"dropout": 1}, "dropout is 1, expected a number at least 0 and below 1"),
    ({"epochs": 0}, "epochs is 0, expected a whole number at least 1"),
    ({"batch_size": 0}, "batch_size is 0, expected a whole number at least 1"),
    ({"optimizer": "adm"}, "unknown optimizer 'adm'; did you mean"),
    ({"learning_rate": 0}, "learning_rate is 0, expected a number above 0"),
    ({"schedule": "cosin"}, "unknown schedule 'cosin'; did you mean 'cosine'?"),
    ({"weight_decay": 0.1, "optimizer": "sgd"}, "weight_decay is 0.1, expected none with optimizer 'sgd'"),
    ({"validation_split": 1}, "validation_split is 1, expected a number at least 0 and below 1"),
    ({"patience": -1}, "patience is -1, expected a whole number at least 0"),
    ({"seed": -1}, "seed is -1, expected a whole number at least 0"),
    ({"dtype": "float16"}, "dtype is 'float16', expected 'float32' or 'float64'"),
    ({"precision": "tf32", "dtype": "float64"}, "precision is 'tf32', expected None for dtype 'float64'"),
    ({"backend": "nunpy"}, "unknown backend 'nunpy'; did you mean 'numpy'?"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "told"), BAD_SETTINGS)
def test_a_bad_setting_is_told_before_anything_is_read(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        tables.train("no table", "y", **settings)
