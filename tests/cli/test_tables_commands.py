"""The commands train, predict and evaluate, as a user runs them."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pl = pytest.importorskip("polars", reason="what reads tables, polars, is not installed")
pytest.importorskip("skops", reason="what writes models of tables, skops, is not installed")

import gpubp  # noqa: E402
from gpubp.cli import main, table_options  # noqa: E402
from gpubp.kernels import ACTIVATIONS, PRECISIONS  # noqa: E402
from gpubp.tables import FORMATS, Model, load, pictures, training  # noqa: E402
from gpubp.tables.targets import TASKS  # noqa: E402
from gpubp.training.optimizers import OPTIMIZERS  # noqa: E402
from gpubp.training.schedules import SCHEDULES  # noqa: E402

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/how-to/command-line.md"
FAST = ["--epochs", "3", "--hidden", "8", "--backend", "numpy"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder with flowers.csv: the classes of kind follow from the numbers a and b."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 200))
    frame = pl.DataFrame({"a": a, "b": b, "town": rng.choice(["Bonn", "Ulm"], 200)})
    kind = pl.when(pl.col("a") > 0).then(pl.lit("big")).otherwise(pl.lit("small"))
    frame.with_columns(kind=kind, price=3 * pl.col("b") + 100).write_csv(tmp_path / "flowers.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def gpubp_process(*words: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gpubp", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", **options,
    )  # fmt: skip


@pytest.mark.slow
def test_the_commands_of_the_document_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The tour is a process where a shell is needed, else a call of `main`."""
    pytest.importorskip("matplotlib", reason="what draws, matplotlib, is not installed")
    monkeypatch.chdir(tmp_path)
    document = DOCUMENT.read_text(encoding="utf-8")
    exec(re.findall(r"```python\n(.*?)```", document, re.DOTALL)[0], {})  # writes tumours.csv
    blocks = re.findall(r"```sh\n(.*?)```", document, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) == 8
    scores: list[str] = []
    for line in lines:
        command, _, file = line.partition(" > ")
        if "| head -3" in line:
            shell = line.replace("gpubp", f"{shlex.quote(sys.executable)} -m gpubp", 1)
            ended = subprocess.run(shell, shell=True, capture_output=True, check=True, text=True)
            assert ended.stdout.splitlines()[0] == "prediction,probability_0,probability_1"
            assert len(ended.stdout.splitlines()) == 3 and ended.stderr == ""
            continue
        if command.startswith("cat "):
            piped, command = command.removeprefix("cat ").split(" | ")
            monkeypatch.setattr(
                sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(piped).read_bytes()))
            )
        assert main(shlex.split(command)[1:]) == 0, line
        said = capfd.readouterr().out
        scores += re.findall(r"^accuracy +(\S+) %$", said, re.MULTILINE)
        if file:
            (tmp_path / file).write_text(said)
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")
    predictions = pl.read_parquet(tmp_path / "predictions.parquet")["prediction"]
    assert (
        predictions.to_list() == pl.read_csv(tmp_path / "predictions.csv")["prediction"].to_list()
    )
    assert json.loads((tmp_path / "result.json").read_text())["training"]["validation_score"] > 0.9
    (accuracy,) = scores
    assert float(accuracy) > 97


@pytest.mark.slow
def test_the_python_of_the_document_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (block,) = [block for block in blocks if "gpubp" in block]
    exec(compile(block, "<document>", "exec"), {})


def test_train_says_what_it_found_and_writes_only_results_to_standard_output(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "flowers.csv", "--target", "kind", "--drop", "price", *FAST]) == 0
    out, said = capsys.readouterr()
    assert re.search(r"^trained +3 epochs on 180 rows in \d+ s \(all epochs\)$", out, re.MULTILINE)
    assert re.search(r"^validated +accuracy \S+ % on 20 rows that were held out", out, re.MULTILINE)
    assert "target   kind: classification, because it holds text" in said
    assert re.search(r"^numbers +2  a, b$", said, re.MULTILINE)
    assert re.search(r"^categories +1  town$", said, re.MULTILINE)
    assert "note: dropped price: --drop names it" in said
    epochs = re.findall(
        r"^epoch (\d)/3  cost \d\.\d{4}  validation \d\.\d{4}  accuracy \S+ %  [\d,]+ rows/s",
        said,
        re.M,
    )
    assert epochs == ["1", "2", "3"] and "epoch 1/3" in said and "at most" in said
    assert load("model.skops").target.classes == ("big", "small")


def test_quiet_prints_nothing_to_standard_error(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "flowers.csv", "--target", "price", "--quiet", *FAST]) == 0
    assert main(["predict", "model.skops", "flowers.csv", "--quiet"]) == 0
    out, said = capsys.readouterr()
    assert said == "" and len(out.split("prediction\n")[1].splitlines()) == 200


def test_json_is_complete(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "flowers.csv", "--target", "-1", "--json", *FAST]) == 0
    told = json.loads(capsys.readouterr().out)
    document = DOCUMENT.read_text(encoding="utf-8")
    for name, value in told.items():
        assert f"| `{name}` |" in document, name
        fields = value if isinstance(value, dict) else value[0] if isinstance(value, list) else {}
        for field in () if name == "history" else fields:
            assert f"`{field}`" in document, field
    assert told["target"]["task"] == "regression" and len(told["history"]["cost"]) == 3
    assert main(["evaluate", "model.skops", "flowers.csv", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {
        "rows",
        "rows_without_target",
        "r2",
        "rmse",
        "mae",
    }


def test_predictions_are_the_same_in_every_file(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["train", "flowers.csv", "--target", "kind", *FAST])
    expected = load("model.skops").predict(pl.read_csv("flowers.csv"))
    for name in ("p.csv", "p.parquet", "p.npy"):
        assert main(["predict", "model.skops", "flowers.csv", "--out", name]) == 0
    assert pl.read_csv("p.csv")["prediction"].to_list() == expected.tolist()
    assert pl.read_parquet("p.parquet")["prediction"].to_list() == expected.tolist()
    assert np.load("p.npy").tolist() == expected.tolist()
    assert main(["predict", "model.skops", "flowers.csv", "--out", "p.npy", "--probabilities"]) == 0
    assert np.load("p.npy").shape == (200, 2)


def test_evaluate_prints_a_table_for_the_classes(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="what draws, matplotlib, is not installed")
    main(["train", "flowers.csv", "--target", "kind", *FAST, "--epochs", "30"])
    capsys.readouterr()
    assert main(["evaluate", "model.skops", "flowers.csv", "--plot", "c.png"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^class +precision +recall +F1 +rows$", out, re.MULTILINE)
    rows = re.findall(r"^(?:big|small) +(\d+) +(\d+)$", out, re.MULTILINE)
    assert np.sum(np.array(rows, int)) == 200
    assert Path("c.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_new_in_the_rows_is_told_and_they_are_predicted(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["train", "flowers.csv", "--target", "price", "--drop", "kind", *FAST])
    capsys.readouterr()
    Path("new.csv").write_text("town,b,a,colour\nUlm,1,,red\nOslo,2,3,\nOslo,2,3,red\n")
    assert main(["predict", "model.skops", "new.csv"]) == 0
    out, said = capsys.readouterr()
    assert len(out.splitlines()) == 4
    assert said.splitlines() == [
        "note: a column that the model does not know: colour",
        "note: column 'town' has unknown categories in 2 rows ('Oslo'): all inputs of the column are 0"
        " there",
        "note: column 'a' has gaps in 1 row, and had none in training: they are taken as its mean, or as no"
        " category",
    ]


T = ["train", "flowers.csv", "--target", "kind"]
P = ["predict", "model.skops", "flowers.csv"]
BAD = [
    (["train", "flowers.csv", "--target", "kinds"], 1, "flowers.csv has no column 'kinds'; did you mean"),
    (["train", "flower.csv", "--target", "kind"], 1, "no file flower.csv; did you mean 'flowers.csv'?"),
    (["train", "flowers.csv"], 2, "--target"),
    ([*T, "--out", "no/model.skops"], 1, "--out is no/model.skops, but there is no folder no"),
    ([*T, "--out", "."], 1, "--out is ., a folder, expected a file"),
    ([*T, "--out", "no/"], 2, "--out is no/, a folder, expected a file"),
    ([*T, "--plot", "no/a.png"], 1, "--plot is no/a.png, but there is no folder no"),
    ([*T, "--plot", "a.xls"], 1, "--plot is a.xls, which has the suffix .xls, expected .eps"),
    ([*T, "--hidden", "3,x"], 2, "--hidden is 3,x, expected whole numbers at least 1, such as 256,256, or"),
    ([*T, "--dropout", "1"], 2, "--dropout is 1, expected a number at least 0 and below 1"),
    ([*T, "--weight-decay", "-1"], 2, "--weight-decay is -1, expected a number at least 0"),
    ([*T, "--optimizer", "adm"], 2, "--optimizer is adm; did you mean 'adam'?"),
    ([*T, "--optimizer", "momentum"], 2, "--optimizer is momentum; gpubp calls it 'sgd'"),
    ([*T, "--activation", "swish"], 2, "--activation is swish; gpubp calls it 'silu'"),
    ([*T, "--precision", "fp16"], 2, "--precision is fp16; gpubp calls it 'float16'"),
    ([*T, "--schedule", "plateau"], 2, "--schedule is plateau; gpubp calls it 'on_plateau'"),
    ([*T, "--lr", "0.1"], 2, "unknown option --lr; did you mean '--learning-rate'?"),
    ([*T, "--max-iter", "3"], 2, "unknown option --max-iter; did you mean '--epochs'?"),
    ([*T, "--learning-rate", "0"], 2, "--learning-rate is 0, expected a number above 0"),
    ([*T, "--format", "xls"], 2, "--format is xls"),
    ([*T, "--format", "parquet"], 1, "flowers.csv is not a whole Parquet file"),
    ([*T, "--task", "regression"], 1, "target column 'kind' holds the text 'big' in row"),
    ([*T, "--rows-at-once", "1"], 2, "--rows-at-once is 1, expected a whole number at least 2"),
    ([*T, "--learning-rate", "1e30", *FAST], 1, "training diverged in epoch 1, with the learning"),
    ([*T, "--out", "flowers.csv"], 1, "--out is flowers.csv, the file of data, expected another file"),
    ([*T, "--out", "a.png", "--plot", "a.png"], 1, "--out is a.png, the file of the picture, expected an"),
    (["train", "flowers.csv", "--target=--1"], 1, "flowers.csv has no column '--1'; it has"),
    (["predict", "model.npy", "flowers.csv", "--out", "model.npy"], 1,
     "--out is model.npy, the file of the model, expected another file"),
    (["evaluate", "model.skops", "flowers.png", "--format", "csv", "--plot", "flowers.png"], 1,
     "--plot is flowers.png, the file of data, expected another file"),
    ([*T, "--hidden", "3000000,3000000"], 1, "3000000, 2) has no room in memory, on numpy: it needs"),
    (["predict", "no.skops", "flowers.csv"], 1, "there is no file no.skops"),
    (["predict", "flowers.csv", "flowers.csv"], 1, "flowers.csv is not a model, expected a file that `gp"),
    ([*P, "--out", "p.txt"], 1, "--out is p.txt, which has the suffix .txt, expected .csv, .parquet or"),
    ([*P, "--probabilities"], 1, "--probabilities needs a model of classes, and model.skops predicts"),
    (["predict", "model.skops", "few.csv"], 1, "few.csv has no column 'b', which the model needs; it has"),
    (["predict", "model.skops", "text.csv", "--out", "p.csv"], 1,
     "column 'b' of text.csv holds 'many' in row 2, expected numbers"),
    (["evaluate", "model.skops", "nothing.csv"], 1, "nothing.csv has no column 'price'; it has 'b'"),
]  # fmt: skip


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("prices")
    rows = pl.DataFrame({"b": np.linspace(-1, 1, 60), "price": np.linspace(2, 8, 60)})
    rows.write_csv(folder / "p.csv")
    words = ["--target", "price", "--quiet", "--out", str(folder / "model.skops"), *FAST]
    assert main(["train", str(folder / "p.csv"), *words]) == 0
    return (folder / "model.skops").read_bytes()


@pytest.mark.parametrize(("words", "status", "told"), BAD)
def test_bad_input_is_told_in_a_sentence_and_nothing_is_written(
    words: list[str],
    status: int,
    told: str,
    here: Path,
    prices: bytes,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("model.skops").write_bytes(prices)
    Path("model.npy").write_bytes(prices)
    Path("flowers.png").write_bytes(Path("flowers.csv").read_bytes())
    Path("few.csv").write_text("a,price\n1,2\n")
    Path("text.csv").write_text("b\n1\nmany\n")
    Path("nothing.csv").write_text("b\n1\n2\n")
    before = {path.name: path.read_bytes() for path in here.iterdir()}
    assert main([*words]) == status
    out, said = capsys.readouterr()
    last = said.splitlines()[-1]
    assert last.startswith(f"gpubp {words[0]}: ") and told in last and out == ""
    assert {path.name: path.read_bytes() for path in here.iterdir()} == before


@pytest.mark.slow
def test_control_c_leaves_a_usable_model_and_says_so(here: Path) -> None:
    words = [
        "train",
        "flowers.csv",
        "--target",
        "kind",
        *FAST,
        "--epochs",
        "1000000",
        "--patience",
        "0",
    ]
    process = gpubp_process(*words)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch"):
            break
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=100)
    assert process.returncode == 130 and "Traceback" not in said
    last = said.splitlines()[-1]
    assert re.fullmatch(
        r"gpubp train: interrupted in epoch \d+; model\.skops holds the network of epoch \d+, the best so"
        r" far",
        last,
    )
    assert len(load("model.skops").predict(pl.read_csv("flowers.csv"))) == 200


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has other pipes")
def test_a_closed_pipe_is_quiet(here: Path, prices: bytes) -> None:
    Path("model.skops").write_bytes(prices)
    pl.DataFrame({"b": np.linspace(-1, 1, 100_000)}).write_csv("many.csv")
    process = gpubp_process("predict", "model.skops", "many.csv")
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == "prediction\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=100) == 141


def test_the_names_of_options_are_those_of_gpubp() -> None:
    hidden = {name for name, activation in ACTIVATIONS.items() if not activation.rowwise}
    assert set(table_options.ACTIVATIONS) == hidden
    assert set(table_options.OPTIMIZERS) == set(OPTIMIZERS)
    assert set(table_options.SCHEDULES) == set(SCHEDULES)
    assert set(table_options.PRECISIONS) == set(PRECISIONS)
    assert table_options.FORMATS == FORMATS and table_options.TASKS == TASKS


@pytest.mark.parametrize("moment", ["save", "picture"])
def test_ctrl_c_after_training_keeps_the_model(
    moment: str,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(function: Any) -> Any:
        def run(*arguments: Any) -> Any:
            signal.raise_signal(signal.SIGINT)
            return function(*arguments)

        return run

    place, name = (Model, "save") if moment == "save" else (pictures, "draw_training")
    monkeypatch.setattr(place, name, interrupted(getattr(place, name)))
    assert main([*T, "--plot", "a.png", "--quiet", *FAST]) == 130
    told = "gpubp train: interrupted after training; model.skops holds the model\n"
    assert capsys.readouterr() == ("", told)
    assert load("model.skops").training["epochs"] == 3 and not Path("a.png").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows' shells close no streams")
def test_a_closed_stream_is_as_an_empty_one(here: Path, prices: bytes) -> None:
    Path("model.skops").write_bytes(prices)
    gpubp = f"{shlex.quote(sys.executable)} -m gpubp"
    for words, told in (
        ("predict model.skops - <&-", "gpubp predict: standard input is empty, expected a table\n"),
        ("evaluate model.skops flowers.csv >&-", ""),
        ("predict model.skops flowers.csv 2>&- | head -1", ""),
    ):
        command = f"{gpubp} {words.replace('flowers.csv', 'flowers.csv --quiet')}"
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
        assert done.stderr == told and done.returncode == bool(told)


def test_without_polars_the_extra_is_named(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [
        name for name in sys.modules if name.startswith(("gpubp.tables", "gpubp.cli.table_"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(gpubp, "tables", raising=False)
    monkeypatch.setitem(sys.modules, "polars", None)
    for words in (T, P, ["evaluate", *P[1:]]):
        assert main(words) == 1
        assert capsys.readouterr().err == (
            f"gpubp {words[0]}: tables need polars, which is not installed; pip install 'gpubp[cli]'\n"
        )


def test_a_stream_is_used_where_memory_is_too_small(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pl.concat([pl.read_csv("flowers.csv")] * 20).write_parquet("flowers.parquet")
    backend = gpubp.get_backend("numpy")
    monkeypatch.setattr(training, "get_backend", lambda name: backend)
    monkeypatch.setattr(type(backend), "free_memory", lambda self: 100_000)
    monkeypatch.setattr(training, "BYTES_OF_A_PART", 40_000)
    words = ["train", "flowers.parquet", "--target", "price", "--categorical", "town", *FAST]
    assert main(words) == 0
    assert "1,024 rows are read at a time, anew in each epoch" in capsys.readouterr().err
