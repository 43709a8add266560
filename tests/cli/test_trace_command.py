"""`gpubp trace`, as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpubp
from gpubp import Network
from gpubp.cli import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to an empty folder with a network of two inputs and three classes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    network = Network((2, 4, 3), hidden="tanh", output="softmax", backend="numpy", seed=0)
    network.save("classes.safetensors")
    Network((2, 2), backend="numpy", seed=0).save("numbers.safetensors")
    (tmp_path / "rows.csv").write_text("width,height,kind\n1,2,0\n-1,0.5,2\n3,,1\n4,5,1.5\nx,1,1\n")
    return tmp_path


@pytest.fixture
def tables() -> Any:
    pytest.importorskip("skops", reason="what reads models of tables, skops, is not installed")
    return pytest.importorskip("polars", reason="what reads tables, polars, is not installed")


def printed(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(line.split()) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_without_a_model_the_worked_example_is_shown(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network, x, y = gpubp.worked_example()
    assert printed("trace", capsys) == f"{network.trace(x, y)}\n"
    expected = network.trace([0, 1, -1], [0, 1], learning_rate=0.5)
    line = "trace --x 0,1,-1 --y 0,1 --learning-rate 0.5 --digits 2"
    assert printed(line, capsys) == f"{expected.to_text(digits=2)}\n"
    negative = network.trace([-1, -0.5, -1e-3], y)
    assert printed("trace --x -1,-.5,-1e-3", capsys) == f"{negative}\n"


def test_a_network_and_numbers(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = Network.load("classes.safetensors", backend="numpy")
    by_label = f"{network.trace([1, 2], 2)}\n"
    assert printed("trace classes.safetensors --x 1,2 --y 2 --backend numpy", capsys) == by_label
    by_row = f"{network.trace([1, 2], [0.5, 0.5, 0])}\n"
    assert printed("trace classes.safetensors --x 1,2 --y .5,.5,0", capsys) == by_row


@pytest.mark.usefixtures("tables")
def test_a_network_and_a_row_of_a_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = Network.load("classes.safetensors", backend="numpy")
    names = ["width", "height"]
    second = f"{network.trace([-1, 0.5], 2, input_names=names)}\n"
    assert printed("trace classes.safetensors rows.csv --row 1", capsys) == second
    assert printed("trace classes.safetensors rows.csv", capsys) == (
        f"{network.trace([1, 2], 0, input_names=names)}\n"
    )
    np.save("rows.npy", np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]]))
    network = Network.load("numbers.safetensors", backend="numpy")
    expected = network.trace([5, 6], [7, 8], input_names=["x0", "x1"], output_names=["x2", "x3"])
    assert printed("trace numbers.safetensors rows.npy --row 1", capsys) == f"{expected}\n"


def test_a_model_of_a_table(here: Path, tables: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from gpubp.tables import load

    rng = np.random.default_rng(0)
    frame = tables.DataFrame({"a": rng.normal(size=60), "town": ["Bonn", "Ulm"] * 30})
    frame = frame.with_columns(
        kind=tables.when(tables.col("a") > 0)
        .then(tables.lit("big"))
        .otherwise(tables.lit("small")),
        price=3 * tables.col("a") + 100,
    )
    frame.write_csv("houses.csv")
    row = frame.row(17, named=True)
    options = "--hidden 4 --epochs 3 --quiet --backend numpy"
    for target, others in (("kind", "--drop price"), ("price", "--drop kind")):
        assert main(f"train houses.csv --target {target} {others} {options}".split()) == 0
        model = load("model.skops")
        capsys.readouterr()
        main(["trace", "model.skops", "houses.csv", "--row", "17", "--json", "trace.json"])
        assert capsys.readouterr().out == "numbers  trace.json\n"
        told = json.loads(Path("trace.json").read_text(encoding="utf-8"))
        outputs = model.network.predict(np.array(told["values"]["x"]))
        np.testing.assert_allclose(told["values"]["a2"], outputs, rtol=1e-5)
        (predicted,) = model.predict(frame[17])
        assert told["input_names"] == model.input_names
        if target == "kind":
            assert told["prediction"] == f"The model predicts {predicted}; kind is {row['kind']}."
            assert told["output_names"] == list(model.target.classes)
            assert told["output_names"][int(np.argmax(told["values"]["y"]))] == row["kind"]
        else:
            expected = f"The model predicts {predicted:.6g}; price is {row['price']:.6g}."
            assert told["prediction"] == expected and told["output_names"] == ["price"]
            scaled = (row["price"] - model.target.mean) / model.target.scale
            assert told["values"]["y"] == pytest.approx([scaled], rel=1e-5)
            assert "The network computes with (price - 10" in told["notes"][-1]
    frame.with_columns(town=tables.lit("Rom"), a=None).write_csv("others.csv")
    main(["trace", "model.skops", "others.csv", "--json", "trace.json"])
    said = capsys.readouterr().err
    assert "note: column 'town' has unknown categories" in said and "column 'a' has gaps" in said
    main(["trace", "model.skops", "others.csv", "--json", "trace.json", "--quiet"])
    assert capsys.readouterr().err == ""
    frame.with_columns(price=None).write_csv("others.csv")
    assert main(["trace", "model.skops", "others.csv", "--row", "3"]) == 1
    told = "gpubp trace: row 3 of others.csv has no value in column 'price', the target\n"
    assert capsys.readouterr().err == told


def test_files_are_written_instead_of_text(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = printed("trace --html page.html --json numbers.json --learning-rate 1", capsys)
    assert told == "page     page.html\nnumbers  numbers.json\n"
    network, x, y = gpubp.worked_example()
    trace = network.trace(x, y, learning_rate=1)
    assert Path("page.html").read_text(encoding="utf-8") == trace.to_html()
    expected = trace.to_dict()
    assert json.loads(Path("numbers.json").read_text(encoding="utf-8")) == expected


@pytest.mark.parametrize(
    ("line", "status", "told"),
    [
        ("--digits 18", 2, "--digits is 18, expected a whole number from 0 to 17"),
        ("--digits -1", 2, "--digits is -1, expected a whole number from 0 to 17"),
        ("--learning-rate 0", 2, "--learning-rate is 0, expected a number above 0"),
        ("--lr 1", 2, "unknown option --lr; did you mean '--learning-rate'?"),
        ("--row 1", 2, "--row was given without DATA, whose row it chooses"),
        ("--x 1,b,3", 2, "--x is 1,b,3, expected numbers with commas between them, such as 1,2,-1"),
        ("--x 1,nan,3", 2, "--x is 1,nan,3, expected numbers with commas between them, such as"),
        ("--x 1,2", 1, "--x has 2 numbers, expected 3, one for each input"),
        ("--y 1", 1, "--y has 1 number, expected 2, one for each output"),
        ("--html page.pdf", 1, "--html is page.pdf, which has the suffix .pdf, expected .html or"),
        ("--html no/page.html", 1, "--html is no/page.html, but there is no folder no"),
        ("--json classes.safetensors/n.json", 1, "--json is classes.safetensors/n.json, but there"),
        ("--html .", 1, "--html is ., a folder, expected a file"),
        ("no.safetensors --x 1,2 --y 1", 1, "there is no file no.safetensors"),
        ("classes.safetensors", 2,
         "DATA is missing, expected a row for classes.safetensors, or --x and --y"),
        ("model.skops", 2, "DATA is missing, expected a row for model.skops"),
        ("model.skops --x 1 --y 1", 2,
         "--x and --y are for a .safetensors file, and MODEL is model.skops, expected DATA"),
        ("classes.safetensors --x 1,2", 2, "--y is missing, expected a row for classes.safetensors"),
        ("classes.safetensors rows.csv --y 1", 2, "--y was given with DATA, expected one of the two"),
        ("classes.safetensors --x 1,2 --y 3", 1, "--y is 3, expected a label from 0 to 2"),
        ("classes.safetensors --x 1,2 --y -1e30", 1, "--y is -1e+30, expected a label from 0 to 2"),
        ("--backend cupy", 2, "--backend is cupy, expected a MODEL for it: the example is for NumPy"),
        ("classes.safetensors --x 1,2 --y 0.5", 1,
         "--y has 1 number, expected 3, one for each output, or a label"),
        ("classes.safetensors --x 1,2 --y 1,1,0", 1, "y's row 0 sums to 2, expected rows of prob"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_a_sentence(
    line: str, status: int, told: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(here.iterdir())
    assert main(["trace", *line.split()]) == status
    out, said = capsys.readouterr()
    assert out == "" and said.startswith(f"gpubp trace: {told}") and said.count("\n") == 1
    assert sorted(here.iterdir()) == before


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("classes.safetensors rows.csv --row 5", "--row is 5, and rows.csv has 5 rows, expected 0 to 4"),
        ("classes.safetensors rows.csv --row 2",
         "row 2 of rows.csv has no value in column 'height', expected a finite number"),
        ("classes.safetensors rows.csv --row 3",
         "row 3 of rows.csv has 1.5 in column 'kind', expected a label from 0 to 2"),
        ("classes.safetensors others.csv",
         "row 0 of others.csv has 3 in column 'kind', expected a label from 0 to 2"),
        ("classes.safetensors others.csv --row 1",
         "row 1 of others.csv has no value in column 'width', expected a finite number"),
        ("classes.safetensors rows.csv --row 4",
         "column 'width' of rows.csv holds 'x' in row 4, expected numbers"),
        ("numbers.safetensors rows.csv",
         "rows.csv has 3 columns, expected 4: 2 inputs, then a target for each output"),
        ("classes.safetensors one.csv",
         "one.csv has 1 column, expected 3 or 5: 2 inputs, then a label or a target for each output"),
        ("classes.safetensors rows.csv --json rows.json --row 9", "--row is 9, and rows.csv has 5 rows"),
        ("classes.safetensors no.csv", "there is no file no.csv; did you mean 'one.csv'?"),
        ("rows.csv rows.csv", "rows.csv is not a model, expected a file that `gpubp train`"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_table_is_told_in_a_sentence(
    line: str, told: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "one.csv").write_text("a\n1\n")
    (here / "others.csv").write_text("width,height,kind\n1,2,3\ninf,2,1\n")
    before = sorted(here.iterdir())
    assert main(["trace", *line.split()]) == 1
    out, said = capsys.readouterr()
    assert out == "" and told in said and said.count("\n") == 1
    assert sorted(here.iterdir()) == before


def test_a_large_network_is_refused_a_page_before_work_begins(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Network((200, 100), backend="numpy", seed=0).save("large.safetensors")
    monkeypatch.setattr("gpubp.cli.trace_row.trace_network", None)
    x, y = ",".join(["1"] * 200), ",".join(["1"] * 100)
    assert main(["trace", "large.safetensors", "--x", x, "--y", y, "--html", "page.html"]) == 1
    told = "gpubp trace: the network has 20,100 parameters, expected at most 20,000 for a page"
    assert capsys.readouterr().err.startswith(told) and not Path("page.html").exists()


def test_it_needs_no_extra(here: Path) -> None:
    program = (
        "import sys\n"
        "for name in ('rich', 'polars', 'sklearn', 'skops', 'argcomplete'): sys.modules[name] = None\n"
        "from gpubp.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    for words, told in (
        (["trace"], "Backpropagation in a 3-4-2 network\n"),
        (
            ["trace", "classes.safetensors", "--x", "1,2", "--y", "1"],
            "Backpropagation in a 2-4-3 n",
        ),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            capture_output=True, text=True, check=False, encoding="utf-8",
        )  # fmt: skip
        assert (done.stderr, done.returncode) == ("", 0) and done.stdout.startswith(told)
    done = subprocess.run(
        [sys.executable, "-c", program, "trace", "classes.safetensors", "rows.csv"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    told = "tables need polars, which is not installed; pip install 'gpubp[cli]'"
    assert (done.stderr, done.returncode) == (f"gpubp trace: {told}\n", 1)


def test_a_name_that_the_encoding_lacks_is_no_error(here: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gpubp", "trace", "--html", "Höhe.html"],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("page  H\\xf6he.html\n", "") and not done.returncode
    assert Path("Höhe.html").exists()
