"""Read CSV and TSV text: its encoding, separator, header and decimal commas are found.

All values stay text. `columns.py` finds out what they mean, from every row, so that a column is read in the
same way however its first rows look.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from typing import Any

import polars as pl
from polars import selectors

from ..errors import CorruptFileError
from ..kernels.messages import shown

__all__ = ["GAPS", "cleaned", "read_text"]

GAPS = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A", "?")
"""The texts that stand for a value that is not there."""

SEPARATORS = ",;\t|"
_BOMS = {  # UTF-32's first: the little-endian one begins as UTF-16's does
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(name: str, content: bytes, separator: str | None = None) -> tuple[Any, list[str]]:
    """Read the text of a table.

    Parameters
    ----------
    name : str
        The name of the file in messages.
    content : bytes
        The text. UTF-8 is expected; UTF-16 and UTF-32 with a byte order mark and Windows' code page 1252
        are found.
    separator : str, optional
        What stands between columns; by default what Excel's line "sep=;" says, or the comma, semicolon, tab
        or bar that is most frequent in the first line.

    Returns
    -------
    frame : polars.DataFrame
        The values, all of them text. What is in `GAPS` is null.
    notes : list of str
        What was found that is not usual, in sentences for a user.

    Raises
    ------
    CorruptFileError
        If the content is not text, or is not a table.
    """
    content, notes = _as_utf8(name, content)
    if b"\n" not in content:
        content = content.replace(b"\r", b"\n")  # as old Macs end lines
    told = re.match(rb"\"?sep=([!-~\t])\"?\r?\n", content)
    content = content[told.end() :] if told else content
    first = _first_line(name, content)
    if not first.strip():
        raise CorruptFileError(f"{name} is empty, expected a header and rows")
    if separator is None:
        separator = told[1].decode() if told else _separator_of(first)
        if separator != ",":
            notes.append(f"columns are separated by {_WORDS.get(separator, shown(separator))}")
    names = _split(name, first, separator)
    headless = _are_numbers(names)
    if headless:
        names = [f"x{k}" for k in range(len(names))]
        notes.append(f"the first line holds numbers: columns are called x0 to x{len(names) - 1}")
    frame = _frame(name, content, separator, headless)
    if frame.width != len(names):
        raise CorruptFileError(
            f"{name} has {frame.width} columns, expected {len(names)} as in its first line"
        )
    frame.columns = _distinct(name, [column.strip() for column in names])
    frame = frame.with_columns(cleaned(pl.all()))
    if not frame.height:
        raise CorruptFileError(f"{name} has a header but no rows, expected at least one")
    if separator != ",":
        frame, commas = _with_decimal_points(frame)
        if commas:
            notes.append(f"commas are decimal points in {_listed(commas)}")
    return frame, notes


_WORDS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def cleaned(column: Any) -> Any:
    """Strip a column of text, given as polars' Series or expression, and make gaps null."""
    column = column.cast(pl.String).str.strip_chars()
    return column.replace(list(GAPS), [None] * len(GAPS))


def _as_utf8(name: str, content: bytes) -> tuple[bytes, list[str]]:
    """Convert text to UTF-8 without a byte order mark."""
    encoding = next((e for bom, e in _BOMS.items() if content.startswith(bom)), None)
    if encoding is not None:
        return content.decode(encoding, "replace").encode(), [f"the text is {encoding.upper()}"]
    content = content.removeprefix(codecs.BOM_UTF8)
    if b"\0" in content[:4096]:
        raise CorruptFileError(f"{name} is not text, expected CSV (--format names another format)")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        note = f"byte {error.start} is not UTF-8: the text is read as Windows' code page 1252"
        return content.decode("cp1252", "replace").encode(), [note]
    return content, []


def _first_line(name: str, content: bytes) -> str:
    """Return the header, which may hold line breaks within quotes."""
    blank = re.match(rb"[\r\n]*", content)
    begin = end = blank.end() if blank else 0
    quotes = 0
    while (stop := content.find(b"\n", end)) >= 0:
        quotes += content.count(b'"', end, stop)
        if quotes % 2 == 0:
            return content[begin:stop].decode()
        end = stop + 1
    if content.count(b'"', begin) % 2:
        raise CorruptFileError(
            f"{name} has a quote in its first line that is not closed, expected another quote after it"
        )
    return content[begin:].decode()


def _split(name: str, line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(line, newline=""), delimiter=separator), [])
    except csv.Error as error:
        raise CorruptFileError(f"{name} has no header of names: {error}") from None


def _separator_of(line: str) -> str:
    quoted, counts = False, Counter[str]()
    for character in line:
        if character == '"':
            quoted = not quoted
        elif not quoted:
            counts[character] += 1
    return max(SEPARATORS, key=lambda s: (counts[s], -SEPARATORS.index(s)))


def _are_numbers(fields: list[str]) -> bool:
    """Whether these are values and no names; 0, 1, 2, ... are names that pandas gives to columns."""
    counted = len(fields) > 2 and fields == [str(k) for k in range(len(fields))]
    return not counted and all(map(_is_number, fields))


def _is_number(field: str) -> bool:
    if "_" in field:  # Python takes 2019_20 for a number
        return False
    try:
        float(field.replace(",", "."))
    except ValueError:
        return False
    return True


def _distinct(name: str, columns: list[str]) -> list[str]:
    """Name unnamed columns by their place; two columns of one name are an error."""
    columns = [column or f"column {k}" for k, column in enumerate(columns, 1)]
    twice = [column for column, count in Counter(columns).items() if count > 1]
    if twice:
        raise ValueError(f"{name} has {columns.count(twice[0])} columns named {shown(twice[0])},"
                         " expected a name of its own for each")  # fmt: skip
    return columns


def _frame(name: str, content: bytes, separator: str, headless: bool) -> Any:
    """Read the rows; a line of gaps, such as ",,", is one of them."""
    content = _without_blank_lines(content)
    try:
        return pl.read_csv(
            content, separator=separator, has_header=not headless, infer_schema=False
        )
    except pl.exceptions.PolarsError:
        return _line_by_line(name, content, separator, headless)


def _without_blank_lines(content: bytes) -> bytes:
    """Leave out lines that are empty or hold spaces, unless they are within quotes."""
    content = content.rstrip(b" \r\n")
    kept, begin, counted, quotes = [], 0, 0, 0
    for blank in re.finditer(rb"\n *\r?(?=\n)", content):
        quotes += content.count(b'"', counted, blank.start())
        counted = blank.start()
        if quotes % 2 == 0:
            kept.append(content[begin : blank.start()])
            begin = blank.end()
    return b"".join([*kept, content[begin:]]) if kept else content


def _line_by_line(name: str, content: bytes, separator: str, headless: bool) -> Any:
    """Read text that polars does not read, such as 5" pipe, or say which line is wrong."""
    text = io.StringIO(content.decode(), newline="")
    reader = csv.reader(text, delimiter=separator, strict=True)
    rows: list[list[str]] = []
    try:
        for row in reader:
            if not row:  # a blank line
                continue
            rows.append(row)
            if len(row) > len(rows[0]):
                raise CorruptFileError(
                    f"{name} has {len(row)} values in line {reader.line_num}, expected {len(rows[0])} as"
                    f" in the {'first line' if headless else 'header'}"
                )
    except csv.Error as problem:
        if "end of data" in str(problem):
            raise CorruptFileError(
                f"{name} has a quote that is not closed, expected another quote after it"
            ) from None
        raise CorruptFileError(
            f"{name} is not a table: {problem} in line {reader.line_num}"
        ) from None
    width = len(rows[0])
    names = [f"column_{k}" for k in range(width)]
    filled = [row + [""] * (width - len(row)) for row in (rows if headless else rows[1:])]
    return pl.DataFrame(filled, schema=dict.fromkeys(names, pl.String), orient="row")


def _with_decimal_points(frame: Any) -> tuple[Any, list[str]]:
    """Write the numbers of columns with decimal commas with points."""
    found: list[str] = []
    for column in frame.columns:
        values = frame[column].alias("value").drop_nulls()
        numbers = values.str.contains(r"^[+-]?\d*,?\d+([eE][+-]?\d+)?$")
        if len(values) and numbers.all() and values.str.contains(",", literal=True).any():
            found.append(column)
    return frame.with_columns(selectors.by_name(found).str.replace(",", ".", literal=True)), found


def _listed(names: list[str]) -> str:
    listed = ", ".join(names[:5])
    return f"{listed} and {len(names) - 5} more columns" if len(names) > 5 else listed
