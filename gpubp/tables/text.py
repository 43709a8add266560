"""Read CSV and TSV text: its encoding, separator, header and decimal commas are found.

All values stay text. `columns.py` finds out what they mean, from every row, so that a column is read in the
same way however its first rows look.
"""

from __future__ import annotations

import codecs
import csv
from collections import Counter
from typing import Any

import polars as pl

from ..errors import CorruptFileError
from ..kernels.messages import shown

__all__ = ["GAPS", "cleaned", "read_text"]

GAPS = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A", "?")
"""The texts that stand for a value that is not there."""

SEPARATORS = ",;\t|"
_BOMS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def read_text(name: str, content: bytes, separator: str | None = None) -> tuple[Any, list[str]]:
    """Read the text of a table.

    Parameters
    ----------
    name : str
        The name of the file in messages.
    content : bytes
        The text. UTF-8 is expected; UTF-16 with a byte order mark and Windows' code page 1252 are found.
    separator : str, optional
        What stands between columns; by default the comma, semicolon, tab or bar that is most frequent in
        the first line.

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
    first = _first_line(content)
    if not first.strip():
        raise CorruptFileError(f"{name} is empty, expected a header and rows")
    if separator is None:
        separator = _separator_of(first)
        if separator != ",":
            notes.append(f"columns are separated by {_WORDS.get(separator, shown(separator))}")
    names = next(csv.reader([first], delimiter=separator))
    headless = all(_is_number(field) for field in names)
    if headless:
        names = [f"x{k}" for k in range(len(names))]
        notes.append(f"the first line holds numbers: columns are called x0 to x{len(names) - 1}")
    frame = _frame(name, content, separator, headless)
    frame.columns = _distinct(name, [column.strip() for column in names])
    frame = frame.select(cleaned(pl.col(column)).alias(column) for column in frame.columns)
    frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))  # blank lines
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


def _first_line(content: bytes) -> str:
    """Return the header, which may hold line breaks within quotes."""
    lines = content.lstrip(b"\r\n")[: 2**20].splitlines()
    taken: list[bytes] = []
    for line in lines:
        taken.append(line)
        if b"\n".join(taken).count(b'"') % 2 == 0:
            break
    return b"\n".join(taken).decode()


def _separator_of(line: str) -> str:
    quoted, counts = False, Counter[str]()
    for character in line:
        if character == '"':
            quoted = not quoted
        elif not quoted:
            counts[character] += 1
    return max(SEPARATORS, key=lambda s: (counts[s], -SEPARATORS.index(s)))


def _is_number(field: str) -> bool:
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
    try:
        return pl.read_csv(
            content,
            separator=separator,
            has_header=not headless,
            infer_schema=False,
        )
    except pl.exceptions.PolarsError as error:
        raise CorruptFileError(f"{name} {_what_is_wrong(content, separator, error)}") from None


def _what_is_wrong(content: bytes, separator: str, error: Exception) -> str:
    """Say which line does not fit the header."""
    reader = csv.reader(content.decode("utf-8", "replace").splitlines(True), delimiter=separator)
    try:
        width = len(next(reader))
        for row in reader:
            if len(row) > width:
                return f"has {len(row)} values in line {reader.line_num}, expected {width} as in the header"
    except csv.Error as problem:
        return f"is not a table: {problem} in line {reader.line_num}"
    if "escaped" in str(error):
        return "has a quote that is not closed, expected another quote after it"
    return f"is not a table: {str(error).strip().splitlines()[0]}"


def _with_decimal_points(frame: Any) -> tuple[Any, list[str]]:
    """Write the numbers of columns with decimal commas with points."""
    found: list[str] = []
    for column in frame.columns:
        values = frame[column].drop_nulls()
        numbers = values.str.contains(r"^[+-]?\d*,?\d+([eE][+-]?\d+)?$")
        if len(values) and numbers.all() and values.str.contains(",", literal=True).any():
            found.append(column)
    return frame.with_columns(pl.col(found).str.replace(",", ".", literal=True)), found


def _listed(names: list[str]) -> str:
    listed = ", ".join(names[:5])
    return f"{listed} and {len(names) - 5} more columns" if len(names) > 5 else listed
