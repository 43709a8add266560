"""Files of data: every format gives the same table, and bad files say what is wrong."""

from __future__ import annotations

import gzip
import io
import os
import re
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pl = pytest.importorskip("polars", reason="what reads tables, polars, is not installed")
pytest.importorskip("skops", reason="what writes models of tables, skops, is not installed")

from table_files import MESSY, flowers, written  # noqa: E402

from gpubp.tables import open_table  # noqa: E402
from gpubp.tables.reading import ArrayTable, table_of  # noqa: E402


def all_of(table: Any) -> Any:
    return table.read(0, table.rows)


def test_a_messy_csv_is_read_and_what_is_unusual_is_told(tmp_path: Path) -> None:
    path = tmp_path / "messy.csv"
    path.write_text(MESSY, encoding="utf-8")
    table = open_table(path)
    assert table.rows == 5 and list(table.schema)[:3] == ["id", "size (m)", "town"]
    frame = all_of(table)
    assert frame["size (m)"].to_list() == ["1.5", "2.5", None, "3.5", "1.5"]
    assert frame["town"].to_list() == ["Köln; West", "Wien", "Köln; West", None, "Wien"]
    assert frame["note"][3] == 'four "4"'
    assert table.notes == [
        "columns are separated by semicolons",
        "commas are decimal points in size (m), price",
    ]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".tsv.gz"])
def test_text_is_the_same_in_every_form(suffix: str, tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": ["1", "2", "3"], "b": ["x, y", "t\tu", None]})
    content = frame.write_csv(separator="\t" if "tsv" in suffix else ",").encode()
    path = tmp_path / f"data{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    assert all_of(open_table(path)).equals(frame)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_encodings_are_found(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes("größe,b\n1,é\n".encode(encoding))
    table = open_table(path)
    assert all_of(table).rows() == [("1", "é")] and list(table.schema) == ["größe", "b"]
    assert bool(table.notes) == (encoding != "utf-8-sig")


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"a,b\r1,2\r", [("1", "2")]),  # old Macs
        (b"sep=;\r\na;b\r\n1,5;2\r\n", [("1.5", "2")]),  # Excel
        (b"\n\r\na,b\n\n1,2\n  \r\n,\nNA,NA\n3\n\n\n",
         [("1", "2"), (None, None), (None, None), ("3", None)]),
        (b'a,b\n"x\n\ny",2\n\n3,4\n', [("x\n\ny", "2"), ("3", "4")]),
        (b'a,b\n5" pipe,2\n\n3,"u, v"\n', [('5" pipe', "2"), ("3", "u, v")]),
        (b'a,b\n5" pipe,2\n3\n', [('5" pipe', "2"), ("3", None)]),
    ],
)  # fmt: skip
def test_lines_are_rows(content: bytes, rows: list[Any], tmp_path: Path) -> None:
    """Blank lines are none, and lines of gaps are: predictions have the order of the file."""
    (tmp_path / "data.csv").write_bytes(content)
    assert all_of(open_table(tmp_path / "data.csv")).rows() == rows


def test_a_header_may_be_long(tmp_path: Path) -> None:
    names = [f"a column with a long name, {'x' * 99} {k}" for k in range(12_000)]
    content = ",".join(f'"{name}"' for name in names) + "\n" + ",".join("1" * 12_000) + "\n"
    (tmp_path / "data.csv").write_text(content)
    assert list(open_table(tmp_path / "data.csv").schema) == names


def test_standard_input_is_csv_unless_a_format_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = flowers(20)
    parquet = io.BytesIO()
    frame.write_parquet(parquet)
    for content, format in ((b"a,b\n1,2\n", None), (gzip.compress(b"a,b\n1,2\n"), "csv")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert all_of(open_table("-", format)).rows() == [("1", "2")]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(parquet.getvalue())))
    assert all_of(open_table("-", "parquet")).equals(frame)


def test_arrays_have_columns_by_their_places(tmp_path: Path) -> None:
    x, y = np.arange(12.0).reshape(4, 3), np.array([0, 1, 0, 1])
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "x.npy.gz").write_bytes(gzip.compress((tmp_path / "x.npy").read_bytes()))
    np.savez(tmp_path / "xy.npz", X=x, y=y)
    for name in ("x.npy", "x.npy.gz"):
        table = open_table(tmp_path / name)
        assert list(table.schema) == ["x0", "x1", "x2"] and table.column("-1") == "x2"
        np.testing.assert_array_equal(table.read(1, 3, ["x2", "x0"]).to_numpy(), x[1:3][:, [2, 0]])
    archive = all_of(open_table(tmp_path / "xy.npz"))
    assert archive.columns == ["x0", "x1", "x2", "y"] and archive["y"].to_list() == y.tolist()


def test_arrays_of_every_dtype_are_tables() -> None:
    fields = [("a", ">f4"), ("b", "f2"), ("c", "S2"), ("d", "M8[D]"), ("e", "U3"),
              ("f", "g"), ("g", "m8[s]")]  # fmt: skip
    rows = [(1.5, 2.5, b"x", "2024-01-31", "é", 1, 1), (2, 3, b"y", "NaT", "z", 2.5, 2)]
    array = np.array(rows, dtype=fields)
    frame = all_of(ArrayTable("it", array))
    assert frame.select("a", "b", "c", "e").rows() == [(1.5, 2.5, "x", "é"), (2.0, 3.0, "y", "z")]
    assert [str(day)[:10] for day in frame["d"]] == ["2024-01-31", "None"]
    assert frame["f"].to_list() == [1, 2.5] and frame["g"].dtype == pl.Duration


@pytest.mark.parametrize("header", ["0,1,2", "2019_20,2020_21,2021_22", ",0,1"])
def test_names_may_look_like_numbers(header: str, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(f"{header}\n5,6,7\n")
    table = open_table(tmp_path / "data.csv")
    assert all_of(table).rows() == [("5", "6", "7")] and table.notes == []


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("name", ["*", "^.*$", "^b$"])
def test_names_are_no_patterns(name: str, suffix: str, tmp_path: Path) -> None:
    frame = pl.DataFrame({"b": ["1", "2"], name: ["3", "4"]})
    table = open_table(written(frame, tmp_path / f"a[1]*.{suffix}"))
    assert all_of(table).rows() == [("1", "3"), ("2", "4")]
    assert table.read(0, 2, [name, "b"]).rows() == [("3", "1"), ("4", "2")]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pipes with names")
@pytest.mark.parametrize("suffix", ["csv", "parquet", "npy"])
def test_a_pipe_is_read_once(suffix: str, tmp_path: Path) -> None:
    """As in `gpubp train <(zcat data.csv.gz) --format csv`."""
    if suffix == "npy":
        np.save(tmp_path / "a.npy", np.arange(6.0).reshape(3, 2))
    else:
        written(pl.DataFrame({"x0": ["0", "2", "4"]}), tmp_path / f"a.{suffix}")
    os.mkfifo(tmp_path / f"b.{suffix}")
    content = (tmp_path / f"a.{suffix}").read_bytes()
    writer = threading.Thread(target=(tmp_path / f"b.{suffix}").write_bytes, args=(content,))
    writer.start()
    table = open_table(tmp_path / f"b.{suffix}")
    writer.join()
    assert [float(value) for value in all_of(table)["x0"]] == [0, 2, 4]


def test_an_archive_is_no_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(
        ValueError, match=r"a\.npy is an \.npz file, expected one array \(--format npz"
    ):
        open_table(tmp_path / "a.npy")
    assert open_table(tmp_path / "a.npy", "npz").rows == 3


def test_an_archive_has_no_two_columns_of_a_name(tmp_path: Path) -> None:
    x, y = np.arange(6.0).reshape(3, 2), np.arange(3)
    np.savez(tmp_path / "a.npz", x=x, y=y[:, None])
    assert list(open_table(tmp_path / "a.npz").schema) == ["x0", "x1", "y"]
    np.savez(tmp_path / "b.npz", x=x, x0=y)
    with pytest.raises(ValueError, match=r"b\.npz has two columns named 'x0', expected a name of"):
        open_table(tmp_path / "b.npz")
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr("read.me", "hello")
    with pytest.raises(ValueError, match=r"c\.npz has the member 'read\.me', which is no array"):
        open_table(tmp_path / "c.npz")


def test_a_header_of_numbers_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("1.5,2\n3,4\n")
    table = open_table(path)
    assert all_of(table).rows() == [("1.5", "2"), ("3", "4")] and list(table.schema) == ["x0", "x1"]
    assert table.notes == ["the first line holds numbers: columns are called x0 to x1"]


def test_parquet_and_maps_are_read_in_parts(tmp_path: Path) -> None:
    frame = flowers(120)
    table = open_table(written(frame, tmp_path / "data.parquet"))
    assert table.streams and table.rows == 120
    assert table.read(45, 60, ["town"]).equals(frame[45:60].select("town"))


def test_frames_of_pandas_are_tables() -> None:
    pandas = pytest.importorskip("pandas", reason="the frames' library, pandas, is not installed")
    frame = pandas.DataFrame(
        {
            "n": pandas.array([1, None, 3], dtype="Int64"),
            "t": ["a", None, "c"],
            "c": pandas.Categorical(["u", "v", None]),
            "d": pandas.to_datetime(["2024-01-31", None, "2024-02-01"]),
        }
    )
    table = all_of(table_of(frame))
    np.testing.assert_array_equal(table["n"].to_numpy(), [1, np.nan, 3])
    assert table["t"].to_list() == ["a", None, "c"]
    assert table["c"].to_list() == ["u", "v", None]
    assert [str(day)[:10] for day in table["d"]] == ["2024-01-31", "None", "2024-02-01"]


BAD_FILES = {
    "empty.csv": (b"", "is empty, expected a table"),
    "blank.csv": (b"\n\n", "is empty, expected a header and rows"),
    "header.csv": (b"a,b\n", "has a header but no rows"),
    "ragged.csv": (b"a,b\n1,2\n3,4,5\n", "has 3 values in line 3, expected 2 as in the header"),
    "twice.csv": (b"a,b,a\n1,2,3\n", "has 2 columns named 'a'"),
    "ragged rows.csv": (b"1,2\n3,4,5\n", "has 3 values in line 2, expected 2 as in the first line"),
    "name.csv": (b"a," + b"b" * 200_000 + b"\n1,2\n", "has no header of names: field larger than"),
    "first.csv": (b'a,"b\n1,2\n', "has a quote in its first line that is not closed"),
    "after.csv": (b'a,b\n1,"x"y\n', "is not a table: ',' expected after '\"' in line 2"),
    "cut.npz": (b"PK\3\4nonsense", "cut.npz is not a NumPy file of numbers: File is not a zip"),
    "cut.npy": (b"PK\3\4nonsense", "cut.npy is not a NumPy file of numbers: File is not a zip"),
    "quote.csv": (b'a,b\n1,"x\n2,y\n', "has a quote that is not closed"),
    "binary.csv": (b"PK\3\4\0\0\0", "is not text, expected CSV"),
    "cut.csv.gz": (gzip.compress(b"a,b\n" * 99)[:-9], "is damaged: Compressed file ended"),
    "wrong.csv.gz": (b"\x1f\x8bnonsense", "is damaged"),
    "no.parquet": (b"PAR1nonsense", "is not a whole Parquet file"),
    "no.npy": (b"nonsense", "is not a NumPy file of numbers"),
    "no.npz": (b"nonsense", "is not"),
    "data.xlsx": (b"a,b\n", "has the suffix '.xlsx', expected one of .csv"),
    "data": (b"a,b\n", "has no suffix, expected one of .csv"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_told_in_a_sentence(name: str, tmp_path: Path) -> None:
    content, told = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(told)) as caught:
        open_table(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)


def test_a_damaged_parquet_file_is_told_when_its_rows_are_read(tmp_path: Path) -> None:
    path = written(flowers(200), tmp_path / "data.parquet")
    content = bytearray(path.read_bytes())
    content[100:900] = bytes(800)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"data\.parquet is not a whole Parquet file"):
        all_of(open_table(path))


def test_pickled_objects_are_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="is not a NumPy file of numbers"):
        open_table(tmp_path / "o.npy")


def test_a_missing_file_suggests_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "flowers.csv").write_text("a\n1\n")
    with pytest.raises(FileNotFoundError, match=r"flower\.csv; did you mean 'flowers\.csv'\?"):
        open_table(tmp_path / "flower.csv")
    with pytest.raises(IsADirectoryError, match="is a folder, expected a file of data"):
        open_table(tmp_path)
