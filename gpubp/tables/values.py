"""The values of a table in the form that a model knows: numbers, text of categories, times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from ..errors import suggestion
from ..kernels.messages import shown
from .columns import Column, used
from .survey import DATE_FORMATS, as_dates, as_known, as_text, valid

__all__ = ["Findings", "check_columns", "check_has_texts", "conform", "rows_of"]

LARGEST = 1e100
"""The largest number that is taken: the squares of larger ones have no room in float64."""
TIME = pl.Datetime("us")
ISO_FORMATS = tuple(text for text in DATE_FORMATS if text.startswith("%Y-"))
"""The formats of dates that are read whatever the format was in training."""
_DTYPES = {"number": pl.Float64, "category": pl.String, "date": TIME}


@dataclass
class Findings:
    """What was found in rows that a model had not seen when it was trained.

    Attributes
    ----------
    unknown : dict of str to dict of str to int
        For columns with unknown categories: how often each occurs.
    gaps : dict of str to int
        For columns that had no gaps: the number of rows without a value.
    """

    unknown: dict[str, dict[str, int]] = field(default_factory=dict)
    gaps: dict[str, int] = field(default_factory=dict)

    def sentences(self) -> list[str]:
        """Describe the findings, a sentence for each column."""
        told = []
        for name, counts in self.unknown.items():
            first = ", ".join(map(shown, list(counts)[:3])) + (", ..." if len(counts) > 3 else "")
            told.append(
                f"column {name!r} has unknown categories in {rows_of(sum(counts.values()))} ({first}):"
                " all inputs of the column are 0 there"
            )
        for name, count in self.gaps.items():
            told.append(
                f"column {name!r} has gaps in {rows_of(count)}, and had none in training: they are taken as"
                " its mean, or as no category"
            )
        return told


def check_columns(name: str, columns: Sequence[Column], given: Iterable[str]) -> list[str]:
    """Check that all columns are there that a model needs; return those that it does not need.

    Raises
    ------
    ValueError
        If columns are missing; the message suggests the nearest names.
    """
    given, needed = list(given), used(columns)
    missing = [column for column in needed if column not in given]
    known = {column.name for column in columns}
    others = [column for column in given if column not in known]
    if not missing:
        return others
    hint = suggestion(missing[0], others)
    hint = hint or f"it has {', '.join(map(shown, given[:8]))}{', ...' if len(given) > 8 else ''}"
    more = f" and {len(missing) - 1} more columns" if len(missing) > 1 else ""
    raise ValueError(f"{name} has no column {missing[0]!r}{more}, which the model needs; {hint}")


def conform(
    name: str, frame: Any, columns: Sequence[Column], findings: Findings, first: int = 0
) -> Any:
    """Convert rows to what the columns are: Float64, String or Datetime, with null for gaps.

    Parameters
    ----------
    name : str
        The name of the table in messages.
    frame : polars.DataFrame
        Rows, with all columns that are used.
    columns : sequence of Column
        What the columns are.
    findings : Findings
        What is found of gaps and categories is added.
    first : int, default 0
        The number of the first row in the table, for messages.

    Raises
    ------
    ValueError
        If a column holds what it did not in training; the message names the value and its row.
    """
    made = []
    for column in columns:
        if column.kind == "dropped":
            continue
        series = valid(
            frame[column.name].alias("value")
        )  # polars takes a name such as ^a$ for a pattern
        values = _CONVERSIONS[column.kind](name, series, column, first)
        gaps = int(values.null_count())
        if gaps and not column.gaps:
            findings.gaps[column.name] = findings.gaps.get(column.name, 0) + gaps
        if column.kind == "category" and not column.others:
            _note_unknown(values, column, findings)
        made.append(values.alias(column.name))
    return pl.DataFrame(made)


def _numbers(name: str, series: Any, column: Column, first: int) -> Any:
    if not (series.dtype.is_numeric() or series.dtype in (pl.String, pl.Boolean, pl.Null)):
        raise _wrong_type(name, series, column, "numbers")
    values = valid(
        _checked(name, series, series.cast(pl.Float64, strict=False), column, first, "numbers")
    )
    large = values.abs() > LARGEST
    if large.any():
        row = int(large.arg_max())
        raise ValueError(
            f"column {column.name!r} of {name} holds {values[row]:g} in row {first + row + 1}, expected"
            f" numbers up to {LARGEST:g}"
        )
    return values


def _categories(name: str, series: Any, column: Column, first: int) -> Any:
    check_has_texts(name, column.name, series)
    return as_known(as_text(series), column.categories)


def check_has_texts(name: str, column: str, series: Any) -> None:
    """Check that values can be written as the texts of categories and classes."""
    dtype = series.dtype
    if not dtype.is_numeric() and dtype not in (
        pl.String, pl.Boolean, pl.Categorical, pl.Enum, pl.Null
    ):  # fmt: skip
        raise ValueError(
            f"column {column!r} of {name} holds values of type {dtype}, expected text or integers"
        )


def _dates(name: str, series: Any, column: Column, first: int) -> Any:
    if series.dtype in (pl.Date, pl.Datetime):
        return _without_zone(series)
    if series.dtype == pl.Null:
        return series.cast(TIME)
    if series.dtype != pl.String:
        raise _wrong_type(name, series, column, "dates")
    first_format = column.date_format or "%Y-%m-%d"
    for date_format in (first_format, *ISO_FORMATS):  # of another format than in training
        dates = as_dates(series, date_format)
        if dates.null_count() == series.null_count():
            return dates
    dates = as_dates(series, first_format)
    return _checked(name, series, dates, column, first, "dates")


_CONVERSIONS = {"number": _numbers, "category": _categories, "date": _dates}


def _without_zone(series: Any) -> Any:
    if getattr(series.dtype, "time_zone", None):
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return series.cast(TIME)


def _checked(name: str, series: Any, values: Any, column: Column, first: int, expected: str) -> Any:
    """Return the converted values; if one has been lost, say which."""
    lost = values.is_null() & series.is_not_null()
    if lost.any():
        row = int(lost.arg_max())
        raise ValueError(
            f"column {column.name!r} of {name} holds {shown(series[row])} in row {first + row + 1},"
            f" expected {expected}"
        )
    return values


def _wrong_type(name: str, series: Any, column: Column, expected: str) -> ValueError:
    return ValueError(
        f"column {column.name!r} of {name} holds values of type {series.dtype}, expected {expected}"
    )


def _note_unknown(values: Any, column: Column, findings: Findings) -> None:
    unknown = values.filter(values.is_not_null() & ~values.is_in(list(column.categories)))
    if len(unknown):
        counts = findings.unknown.setdefault(column.name, {})
        for value, count in unknown.value_counts(sort=True).iter_rows():
            counts[value] = counts.get(value, 0) + count


def rows_of(count: int) -> str:
    """Return a number of rows in words."""
    return f"{count:,} row{'' if count == 1 else 's'}"
