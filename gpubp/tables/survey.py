"""One pass over a table, which learns what every column's values have in common."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import time
from typing import Any

import polars as pl

from .table import Table
from .text import cleaned

__all__ = ["Survey", "as_known", "as_text", "surveys_of"]

DATE_FORMATS = {
    "%Y-%m-%d": "year-month-day",
    "%Y/%m/%d": "year/month/day",
    "%Y-%m-%d %H:%M:%S%.f": "year-month-day and time",
    "%Y-%m-%dT%H:%M:%S%.f": "year-month-day and time",
    "%Y-%m-%d %H:%M": "year-month-day and time",
    "%Y-%m-%dT%H:%M": "year-month-day and time",
    "%Y-%m-%dT%H:%M:%S%.fZ": "year-month-day and time",
    "%d.%m.%Y": "day.month.year",
    "%d.%m.%Y %H:%M": "day.month.year and time",
    "%d.%m.%Y %H:%M:%S": "day.month.year and time",
    "%d/%m/%Y": "day/month/year",
    "%m/%d/%Y": "month/day/year",
    "%d/%m/%Y %H:%M": "day/month/year and time",
    "%m/%d/%Y %H:%M": "month/day/year and time",
}
"""The formats in which dates that are text are known. The first that fits all values counts."""


class Survey:
    """What is known of a column's values.

    Attributes
    ----------
    name : str
        The column.
    dtype : polars.DataType
        Its type in the file.
    rows, gaps : int
        The number of rows, and of those without a value. Infinity is no value.
    is_text : bool
        Whether the values are text in the file.
    unsupported : bool
        Whether values of this type cannot be used.
    numeric, integer, whole : bool
        Whether all values are numbers; are integers; are whole numbers, such as 1 and 1.0.
    """

    LIMIT = 10_000
    """The most distinct values that are counted."""

    def __init__(self, name: str, dtype: Any) -> None:
        self.name, self.dtype, self.rows, self.gaps = name, dtype, 0, 0
        self.unsupported = not (
            dtype in (pl.String, pl.Boolean, pl.Date, pl.Datetime, pl.Categorical, pl.Enum)
            or dtype.is_numeric()
            or dtype == pl.Null
        )
        text = dtype in (pl.String, pl.Categorical, pl.Enum)
        self.numeric = text or dtype.is_numeric()
        self.integer = text or dtype.is_integer()
        self.whole = True
        self._dates = list(DATE_FORMATS) if text else []
        self.is_text, self._row_of_text = text, 0
        self._first_text: str | None = None
        self._low: Any = None
        self._high: Any = None
        self._counts: Any = None
        self._many = self._counts_up = False
        self._last: Any = None
        self._has_time = False

    def add(self, series: Any) -> None:
        """Take note of further rows."""
        first = self.rows == 0
        values = valid(series)
        self.rows += len(series)
        self.gaps += values.null_count()
        present = values.drop_nulls()
        if not len(present) or self.unsupported:
            self._counts_up = False
            return
        numbers = present
        if self.is_text:
            numbers = self._narrow(values, present)
            infinite = 0 if numbers is None else int((~numbers.is_finite()).sum())
            self.gaps += infinite  # as in columns of floats, where `valid` has seen to it
            numbers = numbers.filter(numbers.is_finite()) if infinite else numbers
        if self.dtype == pl.Datetime:
            self._has_time |= bool((present.dt.time() != time()).any())
        if self.integer and self.numeric:
            self._watch_counting(numbers, first)
        if self.numeric and numbers is not None and len(numbers):
            self.whole &= self.integer or bool((numbers == numbers.round()).all())
            low, high = numbers.min(), numbers.max()
            self._low = low if self._low is None else min(low, self._low)
            self._high = high if self._high is None else max(high, self._high)
        if not self._many:
            self._count(present)

    def _narrow(self, values: Any, present: Any) -> Any:
        """Give up what text is not: integers, numbers, dates; return the numbers."""
        if self.integer:
            self.integer = bool(present.str.contains(r"^[+-]?(0|[1-9]\d{0,17})$").all())
        numbers = None
        if self.numeric:
            numbers = present.cast(pl.Float64, strict=False)
            codes = present.str.contains(r"^[+-]?0\d")  # a code such as 007 is no number
            wrong = numbers.is_null() | codes
            if wrong.any():
                self.numeric = self.integer = False
                text = present.filter(wrong)[0]
                self._first_text = text
                self._row_of_text = self.rows - len(values) + int((values == text).arg_max() or 0)
                numbers = None
        self._dates = [f for f in self._dates if not as_dates(present, f).has_nulls()]
        return present.str.strip_prefix("+").cast(pl.Int64) if self.integer else numbers

    def _watch_counting(self, numbers: Any, first: bool) -> None:
        """Find out whether the column counts the rows."""
        if first:
            self._counts_up = True
        if not self._counts_up:
            return
        whole = numbers.cast(pl.Int64, strict=False)  # null where it has no room
        begins = self._last is None or int(numbers[0]) == self._last + 1
        counts = begins and not whole.has_nulls() and (whole.diff().drop_nulls() == 1).all()
        self._counts_up = bool(counts) and not self.gaps
        self._last = int(numbers[-1])

    def _count(self, present: Any) -> None:
        begin = present.head(2 * self.LIMIT)  # enough to see that values hardly repeat
        self._many = begin.n_unique() > self.LIMIT
        counts = (begin if self._many else present).alias("value").value_counts(name="len")
        self._many = counts.height > self.LIMIT
        if self._many:
            self._counts = None
            return
        counts = counts.with_columns(as_text(counts["value"]))
        if self._counts is not None:
            counts = pl.concat([self._counts, counts]).group_by("value").agg(pl.col("len").sum())
        self._many = counts.height > self.LIMIT
        self._counts = None if self._many else counts

    @property
    def type_name(self) -> str:
        """The type in the file, without its details."""
        return str(self.dtype).partition("(")[0]

    @property
    def distinct(self) -> int | None:
        """The number of distinct values; None if they are too many to be counted."""
        return None if self._many or self._counts is None else int(self._counts.height)

    @property
    def constant(self) -> bool:
        """Whether all values are the same."""
        return self.distinct == 1 or (self._low is not None and self._low == self._high)

    @property
    def example(self) -> str:
        """One of the values."""
        return str(self._low) if self._counts is None else str(self._counts["value"][0])

    @property
    def consecutive(self) -> bool:
        """Whether the column holds n, n + 1, n + 2, ... for more than two rows."""
        return self._counts_up and self.integer and self.rows > 2

    @property
    def is_date(self) -> bool:
        """Whether all values are dates."""
        return self.dtype in (pl.Date, pl.Datetime) or bool(self._dates and not self.numeric)

    @property
    def date_format(self) -> str:
        """The format of dates that are text."""
        return self._dates[0] if self._dates and not self.numeric else ""

    @property
    def has_time(self) -> bool:
        """Whether dates have times of day."""
        return self._has_time or "%H" in self.date_format

    @property
    def date_words(self) -> str:
        """The format in words."""
        return DATE_FORMATS[self.date_format]

    def most_frequent(self, count: int) -> list[str]:
        """Return the most frequent values, as text: numbers in their order, other values by name."""
        top = self._counts.sort(["len", "value"], descending=[True, False])["value"].head(count)
        return sorted(top, key=lambda v: (float(v), v)) if self.numeric else sorted(top)

    def counts(self) -> dict[str, int]:
        """Return how often each value occurs, by its text."""
        return dict(self._counts.iter_rows())

    def not_a_number(self) -> str:
        """Describe a value that is not a number."""
        if self._first_text is not None:
            return f"the text {self._first_text!r} in row {self._row_of_text + 1}"
        return f"values of type {self.type_name}"


def surveys_of(table: Table, rows_at_once: int) -> dict[str, Survey]:
    """Read a table once, and return what is known of each column."""
    surveys = {name: Survey(name, dtype) for name, dtype in table.schema.items()}
    for start in range(0, table.rows, rows_at_once):
        frame = table.read(start, min(start + rows_at_once, table.rows))
        for name, survey in surveys.items():
            survey.add(frame[name].alias("value"))  # polars takes a name such as ^a$ for a pattern
    return surveys


def valid(series: Any) -> Any:
    """Make all gaps of a column null: the texts that mean one, NaN and infinity."""
    if series.dtype in (pl.String, pl.Categorical, pl.Enum):
        return cleaned(series)
    if series.dtype.is_float():
        return pl.select(pl.when(series.is_finite()).then(series)).to_series().alias(series.name)
    if series.dtype == pl.Decimal:
        return series.cast(pl.Float64)
    return series


def as_text(series: Any) -> Any:
    """Convert values to the text by which categories and classes are known: 3.0 is "3"."""
    text = series.cast(pl.String)
    if not series.dtype.is_float():
        return text
    whole = series.cast(pl.Int64, strict=False)
    is_whole = whole.cast(series.dtype) == series
    return pl.select(
        pl.when(is_whole).then(whole.cast(pl.String)).otherwise(text).alias(series.name)
    ).to_series()


def as_known(text: Any, known: Sequence[str]) -> Any:
    """Write values as the known ones are written that mean the same: 3.0 as 3, True as true.

    Integers are written as 3.0 by what knows no gaps in integers, and true in many ways.
    """
    strange = text.filter(text.is_not_null() & ~text.is_in(list(known))).unique().to_list()
    meanings = {_meaning(value): value for value in known} if strange else {}
    if len(meanings) < len(known):
        return text
    same = {value: meanings[_meaning(value)] for value in strange if _meaning(value) in meanings}
    return text.replace(list(same), list(same.values())) if same else text


def _meaning(value: str) -> str | float:
    if re.fullmatch(r"[+-]?(0|[1-9]\d{0,14})(\.\d*)?", value):
        return float(value)
    return value.lower() if value.lower() in ("true", "false") else value


def as_dates(series: Any, date_format: str) -> Any:
    """Convert text to times; what does not fit the format is null."""
    return series.str.to_datetime(date_format, strict=False, time_unit="us", ambiguous="earliest")
