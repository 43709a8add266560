"""What the columns of a table are: numbers, categories or dates, or of no use."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ..kernels.messages import shortened, shown
from .survey import Survey, surveys_of
from .table import Table, no_column

__all__ = ["Column", "Wishes", "describe_columns", "used"]

MOST_INTEGERS = 20
"""The most distinct values of an integer column that is a category; it needs 20 rows for each, too."""
MOST_CATEGORIES = 100
"""The most categories of a column that have an input of their own."""


@dataclass(frozen=True)
class Column:
    """What a column is, and how its values become inputs of the network.

    Attributes
    ----------
    name : str
        The name.
    kind : {"number", "category", "date", "dropped"}
        Numbers are standardised, a category has an input for each of its values, a date becomes days since
        1970 and the places of its month and weekday in the year and the week.
    why : str
        Why the column is of this kind, for a user.
    categories : tuple of str, default ()
        A category's values, as text.
    others : bool, default False
        Whether a category has further values, which are too rare to have an input.
    gaps : int, default 0
        The number of rows without a value.
    date_format : str, default ""
        The format of dates that are text.
    has_time : bool, default False
        Whether dates have times of day.

    Examples
    --------
    >>> import gpubp.tables, polars
    >>> rows = {"id": range(6), "size": [1.5, 2.5, 4.5, 5.5, 7.5, 9.0], "kind": ["a", "b"] * 3}
    >>> polars.DataFrame(rows).write_csv("rows.csv")
    >>> table = gpubp.tables.open_table("rows.csv")
    >>> column = gpubp.tables.Plan(table, "size").columns[-1]
    >>> column.name, column.kind, column.categories, column.gaps
    ('kind', 'category', ('a', 'b'), 0)
    >>> column.why
    '2 different texts'
    """

    name: str
    kind: str
    why: str
    categories: tuple[str, ...] = ()
    others: bool = False
    gaps: int = 0
    date_format: str = ""
    has_time: bool = False


@dataclass(frozen=True)
class Wishes:
    """What a user says of columns.

    Attributes
    ----------
    drop, categorical, numeric : collection of str
        Names of columns that are left out, or are categories or numbers.
    """

    drop: Collection[str] = ()
    categorical: Collection[str] = ()
    numeric: Collection[str] = ()
    kinds: dict[str, str] = field(init=False, default_factory=dict)

    def check(self, table: Table, target: str) -> None:
        """Check that each is a column, not the target, and that no two wishes contradict each other."""
        for wish in ("drop", "categorical", "numeric"):
            for name in getattr(self, wish):
                if name not in table.schema:
                    raise no_column(name, list(table.schema), f"{wish}: {table.name}")
                if name == target:
                    raise ValueError(f"{wish} names the target {name!r}, expected another column")
                if name in self.kinds and self.kinds[name] != wish:
                    raise ValueError(
                        f"column {name!r} is in {self.kinds[name]} and in {wish}, expected one of them"
                    )
                self.kinds[name] = wish


def describe_columns(
    table: Table, target: str, wishes: Wishes, rows_at_once: int
) -> tuple[list[Column], Survey]:
    """Find what each column is, by one pass over the table.

    Parameters
    ----------
    table : Table
        The table.
    target : str
        The name of its target column.
    wishes : Wishes
        What the user says of columns.
    rows_at_once : int
        The most rows that are in memory.

    Returns
    -------
    columns : list of Column
        All columns but the target, those that are dropped among them.
    survey : Survey
        What is known of the target's values.
    """
    wishes.check(table, target)
    surveys = surveys_of(table, rows_at_once)
    kinds = wishes.kinds
    columns = [
        _column(survey, kinds.get(name, "")) for name, survey in surveys.items() if name != target
    ]
    if all(column.kind == "dropped" for column in columns):
        # Of a small table, which someone has made up, the only column may count its rows.
        columns = [
            _number(surveys[c.name]) if surveys[c.name].consecutive and not kinds.get(c.name) else c
            for c in columns
        ]
    if all(column.kind == "dropped" for column in columns):
        reasons = "; ".join(f"{shortened(column.name)}: {column.why}" for column in columns[:3])
        raise ValueError(
            f"{table.name} has no column to predict {target!r} from, expected at least one"
            f"{reasons and f' ({reasons})'}"
        )
    return columns, surveys[target]


def _column(survey: Survey, wish: str) -> Column:
    """Choose the kind of a column."""
    useless = _reason_to_drop(survey, wish)
    if useless:
        return Column(survey.name, "dropped", useless, gaps=survey.gaps)
    if wish == "categorical":
        return _category(survey, "--categorical names it")
    if wish == "numeric":
        if not survey.numeric:
            raise ValueError(
                f"column {survey.name!r} holds {survey.not_a_number()}, expected numbers with --numeric"
            )
        return Column(survey.name, "number", "--numeric names it", gaps=survey.gaps)
    if survey.is_date:
        return Column(
            survey.name,
            "date",
            f"dates{survey.date_format and f', read as {survey.date_words}'}",
            gaps=survey.gaps,
            date_format=survey.date_format,
            has_time=survey.has_time,
        )
    return _number(survey) if survey.numeric else _text(survey)


def _reason_to_drop(survey: Survey, wish: str) -> str:
    """Return why a column is of no use, or "" if it may be."""
    if wish == "drop":
        return "--drop names it"
    if not survey.name or survey.unsupported:
        return (
            f"values of type {survey.type_name} are not supported"
            if survey.name
            else "it has no name"
        )
    if survey.gaps == survey.rows:
        return "it has no values"
    if survey.constant and not survey.gaps:
        return f"it is constant ({shown(survey.example)} in all rows)"
    if survey.consecutive and not wish:
        return "it counts the rows"
    return ""


def _number(survey: Survey) -> Column:
    if not survey.integer:
        return Column(survey.name, "number", "numbers", gaps=survey.gaps)
    if survey.distinct is None or survey.distinct > MOST_INTEGERS:
        return Column(survey.name, "number", "integers", gaps=survey.gaps)
    if survey.distinct * MOST_INTEGERS >= survey.rows:  # 5 % of the rows
        why = f"{survey.distinct} different integers in only {survey.rows:,} rows"
        return Column(survey.name, "number", why, gaps=survey.gaps)
    return _category(survey, f"{survey.distinct} different integers")


def _text(survey: Survey) -> Column:
    if survey.distinct is None:
        return Column(survey.name, "dropped", f"it has more than {Survey.LIMIT:,} different texts")
    values = survey.rows - survey.gaps
    names_rows = survey.distinct == values and values > 2
    if names_rows or (survey.distinct > MOST_INTEGERS and 2 * survey.distinct > values):
        why = f"{survey.distinct:,} different texts in {values:,} rows name or describe the rows"
        return Column(survey.name, "dropped", why)
    what = f"{survey.distinct} different texts" if survey.is_text else "true and false"
    return _category(survey, what)


def _category(survey: Survey, why: str) -> Column:
    if survey.distinct is None:
        raise ValueError(
            f"column {survey.name!r} has more than {Survey.LIMIT:,} different values, expected fewer for a"
            " category"
        )
    values = survey.most_frequent(MOST_CATEGORIES)
    others = survey.distinct > MOST_CATEGORIES
    if others:
        why += f", the {MOST_CATEGORIES} most frequent have an input each"
    return Column(survey.name, "category", why, tuple(values), others, survey.gaps)


def used(columns: Sequence[Column], kind: str = "") -> list[str]:
    """Return the names of the columns of a kind, or of all that are not dropped."""
    return [c.name for c in columns if c.kind == kind or (not kind and c.kind != "dropped")]
