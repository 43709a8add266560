"""The target column: classes or numbers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import unknown_name
from ..kernels.messages import shown
from .columns import Column
from .survey import Survey, as_known, as_text, valid
from .values import Findings, check_has_texts, conform

__all__ = ["TASKS", "Target", "choose_target"]

TASKS = ("auto", "classification", "regression")
MOST_CLASSES = 20
"""The most distinct whole numbers of a target that "auto" takes for classes; it needs 5 rows for each."""


@dataclass(frozen=True)
class Target:
    """What is predicted.

    Attributes
    ----------
    name : str
        The column.
    task : {"classification", "regression"}
        Whether it holds classes or numbers.
    why : str
        Why, for a user.
    classes : tuple of str, int or bool
        The classes.
    mean, scale : float
        Of a number y, the network predicts (y - mean) / scale.
    gaps : int
        The number of rows without a target.

    Examples
    --------
    Of numbers the network predicts (y - mean) / scale; `Model.predict` gives numbers in their own unit.

    >>> import gpubp.tables
    >>> rows = {"size": [k / 4 for k in range(40)], "price": [k / 2 + 1 for k in range(40)]}
    >>> target = gpubp.tables.train(rows, "price", hidden=(), validation_split=0, epochs=1).target
    >>> target.task, round(target.mean, 2), round(target.scale, 2)
    ('regression', 10.75, 5.77)
    """

    name: str
    task: str
    why: str
    classes: tuple[Any, ...] = ()
    mean: float = 0.0
    scale: float = 1.0
    gaps: int = field(default=0, compare=False)

    @property
    def classifies(self) -> bool:
        """Whether the task is classification."""
        return self.task == "classification"

    @property
    def labels(self) -> Any:
        """The classes as a NumPy array of text, integers or booleans."""
        return np.array(self.classes)

    @property
    def texts(self) -> list[str]:
        """The classes as the text by which they are known in a table."""
        return [str(c).lower() if isinstance(c, bool) else str(c) for c in self.classes]

    def scaled(self, mean: float, scale: float) -> Target:
        """Return the target with this mean and this scale.

        Parameters
        ----------
        mean, scale : float
            The mean and the standard deviation of the numbers to train on.

        Returns
        -------
        Target
            The new target; this one is not changed.

        Examples
        --------
        >>> import gpubp.tables
        >>> target = gpubp.tables.Target("price", "regression", "it holds numbers with decimal places")
        >>> target.scaled(10.0, 2.5).mean, target.mean
        (10.0, 0.0)
        """
        return replace(self, mean=mean, scale=scale)

    def read(self, name: str, series: Any, first: int = 0) -> tuple[Any, Any]:
        """Read the target of rows.

        Parameters
        ----------
        name : str
            The name of the table in messages.
        series : polars.Series of shape (rows,)
            The column.
        first : int, default 0
            The number of the first row, for messages.

        Returns
        -------
        present : bool array of shape (rows,)
            Which rows have a target.
        y : int64 or float64 array
            The numbers of the classes, or the values, of the rows that have a target.

        Raises
        ------
        ValueError
            If a value is not a number or not a known class.

        Examples
        --------
        The second row has no target:

        >>> import gpubp.tables, polars
        >>> target = gpubp.tables.Target("kind", "classification", "it holds text", ("a", "b"))
        >>> present, y = target.read("the frame", polars.Series("kind", ["b", None, "a"]))
        >>> present.tolist(), y.tolist()
        ([True, False, True], [1, 0])
        """
        if not self.classifies:
            column = Column(series.name, "number", "", gaps=1)
            numbers = conform(name, series.to_frame(), [column], Findings(), first)
            numbers = numbers.to_series().alias("value")
            present = numbers.is_not_null().to_numpy()
            return present, numbers.drop_nulls().to_numpy()
        check_has_texts(name, series.name, series)
        text = as_known(as_text(valid(series.alias("value"))), self.texts)
        present = text.is_not_null().to_numpy()
        codes = text.replace_strict(self.texts, list(range(len(self.classes))), default=None)
        unknown = text.is_not_null() & codes.is_null()
        if unknown.any():
            row = int(unknown.arg_max())
            raise ValueError(
                f"target column {series.name!r} of {name} holds {shown(text[row])} in row"
                f" {first + row + 1}, expected one of the classes {_listed(self.texts)}"
            )
        return present, codes.drop_nulls().to_numpy().astype(np.int64)


def _listed(classes: list[str]) -> str:
    return ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")


def choose_target(survey: Survey, task: str = "auto") -> Target:
    """Choose the task for a target column.

    Parameters
    ----------
    survey : Survey
        What is known of its values.
    task : {"auto", "classification", "regression"}, default "auto"
        The task. "auto" is classification for text, for true and false, and for at most 20 different
        whole numbers, each for 5 rows on average, or 2 different ones; it is regression for other numbers.
        1.0 is a whole number, too.

    Raises
    ------
    ValueError
        If the column cannot be predicted; the message says why.
    """
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    column, values = f"target column {survey.name!r}", survey.rows - survey.gaps
    if not values:
        raise ValueError(
            f"{column} has no values in {survey.rows} rows, expected classes or numbers"
        )
    if survey.constant:
        raise ValueError(
            f"{column} is constant ({shown(survey.example)} in all rows), expected at least 2 values"
        )
    if survey.unsupported or survey.is_date:
        kind = "dates" if survey.is_date else f"values of type {survey.type_name}"
        raise ValueError(f"{column} holds {kind}, expected classes or numbers")
    chosen, why = _task(survey, values) if task == "auto" else (task, f"--task {task} asks for it")
    if chosen == "regression":
        if not survey.numeric:
            raise ValueError(
                f"{column} holds {survey.not_a_number()}, expected numbers with --task regression"
            )
        return Target(survey.name, chosen, why, gaps=survey.gaps)
    if survey.distinct is None or 2 * survey.distinct > values > 4:
        count = f"{survey.distinct:,}" if survey.distinct else f"more than {Survey.LIMIT:,}"
        hint = " (--task regression predicts numbers)" if survey.numeric else ""
        raise ValueError(
            f"{column} holds {count} different values in {values:,} rows, expected classes of several rows"
            f" each{hint}"
        )
    classes: list[Any] = survey.most_frequent(survey.distinct)
    if not survey.is_text and not survey.numeric:
        classes = [label == "true" for label in classes]
    whole = survey.numeric and all(label.lstrip("-").isdecimal() for label in classes)
    return Target(survey.name, chosen, why, tuple(map(int, classes) if whole else classes),
                  gaps=survey.gaps)  # fmt: skip


def _task(survey: Survey, values: int) -> tuple[str, str]:
    if not survey.numeric:
        return "classification", f"it holds {'text' if survey.is_text else 'true and false'}"
    count = survey.distinct
    if not survey.whole:
        return "regression", "it holds numbers with decimal places"
    if count and len(set(map(float, survey.counts()))) < count:
        return "regression", "it holds whole numbers that are not written alike, such as 1 and 1.0"
    if count is not None and (count <= 2 or (count <= MOST_CLASSES and 5 * count <= values)):
        return "classification", f"it holds {count} different whole numbers"
    many = f"{count:,}" if count else f"more than {Survey.LIMIT:,}"
    return "regression", f"it holds {many} different whole numbers"
