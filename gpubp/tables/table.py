"""Tables: rows of named columns, which are read when they are needed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from ..errors import suggestion
from ..kernels.messages import shown

__all__ = ["Table", "no_column"]

MOST_NAMES = 8
"""The most columns that an error lists."""


class Table(ABC):
    """Rows of named columns.

    Attributes
    ----------
    name : str
        The name of the file in messages.
    schema : dict of str to polars.DataType
        The columns and their types.
    rows : int
        The number of rows.
    streams : bool
        Whether a part of the rows can be read without the others.
    notes : list of str
        What was found when the file was opened, in sentences for a user.

    Examples
    --------
    >>> import gpubp.tables, polars
    >>> rows = {"id": range(6), "size": [1.5, 2.5, 4.5, 5.5, 7.5, 9.0], "kind": ["a", "b"] * 3}
    >>> polars.DataFrame(rows).write_csv("rows.csv")
    >>> table = gpubp.tables.open_table("rows.csv")
    >>> table.name, table.rows, list(table.schema)
    ('rows.csv', 6, ['id', 'size', 'kind'])
    """

    streams = False

    def __init__(self, name: str, schema: dict[str, Any], rows: int, notes: Sequence[str] = ()):
        self.name, self.schema, self.rows, self.notes = name, schema, rows, list(notes)
        if not rows:
            raise ValueError(f"{name} has no rows, expected at least one")

    @abstractmethod
    def read(self, start: int, stop: int, columns: Sequence[str] | None = None) -> Any:
        """Read rows.

        Parameters
        ----------
        start, stop : int
            The number of the first row, and the number after the last.
        columns : sequence of str, optional
            The columns to read; by default all.

        Returns
        -------
        polars.DataFrame
            The rows, with the columns in the order that was asked for.

        Raises
        ------
        CorruptFileError
            If the file is damaged.

        Examples
        --------
        >>> import gpubp.tables, polars
        >>> rows = {"id": range(6), "size": [1.5, 2.5, 4.5, 5.5, 7.5, 9.0], "kind": ["a", "b"] * 3}
        >>> polars.DataFrame(rows).write_parquet("rows.parquet")
        >>> table = gpubp.tables.open_table("rows.parquet")
        >>> table.read(1, 3, ["kind", "size"]).rows()
        [('b', 2.5), ('a', 4.5)]
        """

    def column(self, name: str) -> str:
        """Find a column by its name or, if none has this name, by its place: 0, 1, ... or -1, -2, ...

        Parameters
        ----------
        name : str
            The name, or the place as text.

        Returns
        -------
        str
            The name.

        Raises
        ------
        ValueError
            If there is none; the message suggests the nearest.

        Examples
        --------
        >>> import gpubp.tables, polars
        >>> rows = {"id": range(6), "size": [1.5, 2.5, 4.5, 5.5, 7.5, 9.0], "kind": ["a", "b"] * 3}
        >>> polars.DataFrame(rows).write_csv("rows.csv")
        >>> table = gpubp.tables.open_table("rows.csv")
        >>> table.column("size"), table.column("-1")
        ('size', 'kind')
        >>> table.column("siez")
        Traceback (most recent call last):
        ValueError: rows.csv has no column 'siez'; did you mean 'size'?
        """
        names = list(self.schema)
        if name in self.schema:
            return name
        if name.removeprefix("-").isdecimal() and -len(names) <= int(name) < len(names):
            return names[int(name)]
        raise no_column(name, names, self.name)


def no_column(name: str, known: Sequence[str], of: str) -> ValueError:
    """Make the error of an unknown column: it suggests the nearest name, or lists the first."""
    hint = suggestion(name, known)
    if not known:
        hint = "it has none"
    elif not hint:
        more = f" and {len(known) - MOST_NAMES} more" if len(known) > MOST_NAMES else ""
        hint = f"it has {', '.join(map(shown, known[:MOST_NAMES]))}{more}"
    return ValueError(f"{of} has no column {shown(name)}; {hint}")
