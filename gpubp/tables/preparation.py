"""From a table's values to the network's inputs, by scikit-learn's transformers.

StandardScaler ignores gaps, and can learn from one part of the rows after another. After it a gap is filled
with 0, which is the column's mean, and an indicator is added for columns with gaps. Categories are known
before, so their encoder learns nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from .columns import Column, used
from .dates import DateParts
from .reading import chosen
from .values import TIME

__all__ = ["learn_preparation", "prepared", "two_rows"]

FARTHEST = 1e9
"""The largest input, in standard deviations. Beyond it float32 may overflow within the network."""


def learn_preparation(columns: Sequence[Column], parts: Iterable[Any]) -> Any:
    """Make the transformer of these columns, and learn means and standard deviations.

    Parameters
    ----------
    columns : sequence of Column
        What the columns are.
    parts : iterable of polars.DataFrame
        The rows to train on, in the form of `values.conform`, in one or several parts.

    Returns
    -------
    sklearn.compose.ColumnTransformer
        The transformer: the same, to rounding, for any division into parts.
    """
    numbers, dates = used(columns, "number"), used(columns, "date")
    date_parts = DateParts(hours=any(column.has_time for column in columns))
    # By positions: scikit-learn below 1.9 does not find the names of frames of polars 2.
    places = {name: place for place, name in enumerate(used(columns))}
    parts_of_table = [
        ("numbers", Pipeline(_scaled()), numbers),
        ("categories", _encoder(columns), used(columns, "category")),
        ("dates", Pipeline([("parts", date_parts), *_scaled()]), dates),
    ]
    transformer = ColumnTransformer(
        [(kind, each, [places[n] for n in names]) for kind, each, names in parts_of_table if names],
        sparse_threshold=0,
        verbose_feature_names_out=False,
    )
    transformer.fit(two_rows(columns))  # fits all but the scalers, which learn from all rows
    scalers = {name: StandardScaler() for name in ("numbers", "dates")}
    with np.errstate(invalid="ignore"):  # a column may have values only in rows that are held out
        for part in parts:
            if not part.height:
                continue
            if numbers:
                scalers["numbers"].partial_fit(chosen(part, numbers))
            if dates:
                scalers["dates"].partial_fit(date_parts.transform(chosen(part, dates)))
    for name, pipeline in transformer.named_transformers_.items():
        if name in scalers:
            place = [step for step, _ in pipeline.steps].index("scale")
            pipeline.steps[place] = ("scale", scalers[name])
    return transformer


def _scaled() -> list[tuple[str, Any]]:
    gaps = SimpleImputer(strategy="constant", fill_value=0.0, add_indicator=True)
    return [("scale", StandardScaler()), ("gaps", gaps)]


def _encoder(columns: Sequence[Column]) -> Any:
    """Make the encoder of categories; a gap in a column that has gaps is a category of its own, ""."""
    categories = [column for column in columns if column.kind == "category"]
    known = [np.array([*c.categories, *([""] if c.gaps else [])], object) for c in categories]
    encoder = OneHotEncoder(categories=known, handle_unknown="ignore", sparse_output=False)
    gaps = SimpleImputer(missing_values=None, strategy="constant", fill_value="")
    return Pipeline([("gaps", gaps), ("one_hot", encoder)])


def two_rows(columns: Sequence[Column]) -> Any:
    """Make two rows, the first with gaps in all columns that have gaps."""
    examples = {"number": (0.0, pl.Float64), "category": ("", pl.String), "date": (0, TIME)}
    made = []
    for column in columns:
        if column.kind != "dropped":
            value, dtype = examples[column.kind]
            value = column.categories[0] if column.categories else value
            made.append(pl.Series(column.name, [None if column.gaps else value, value], dtype))
    return pl.DataFrame(made)


def prepared(transformer: Any, frame: Any, dtype: Any) -> Any:
    """Transform rows, which may be none, to inputs (rows, inputs) of this dtype."""
    if not frame.height:
        return np.zeros((0, len(transformer.get_feature_names_out())), dtype)
    inputs = transformer.transform(frame)
    return np.ascontiguousarray(np.clip(inputs, -FARTHEST, FARTHEST), dtype)
