"""Dates as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

__all__ = ["DateParts"]

PARTS = ("days", "month_sin", "month_cos", "weekday_sin", "weekday_cos", "hour_sin", "hour_cos")


class DateParts(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A transformer that makes numbers of dates.

    A date becomes the days since 1970-01-01, with the time of day as a fraction, then the sine and cosine
    of its place in the year (by months), in the week and in the day: December is near January. Of a gap
    the days are NaN, and the others 0, which is no direction.

    Parameters
    ----------
    hours : bool, default True
        Whether to add the place in the day.
    """

    def __init__(self, hours: bool = True) -> None:
        self.hours = hours

    def fit(self, X: Any, y: Any = None) -> DateParts:
        """Take note of the columns; nothing is learned.

        Parameters
        ----------
        X : DataFrame of shape (rows, columns)
            Dates or times.
        y : None
            Unused.
        """
        self.feature_names_in_ = np.array(list(X.columns), dtype=object)
        self.n_features_in_ = len(self.feature_names_in_)
        return self

    def transform(self, X: Any) -> Any:
        """Convert dates to numbers.

        Parameters
        ----------
        X : DataFrame of shape (rows, columns)
            Dates or times.

        Returns
        -------
        float64 array of shape (rows, 7 * columns), or 5 * columns without hours
            The parts of the first column, then those of the next.
        """
        count = len(PARTS) if self.hours else len(PARTS) - 2
        return np.hstack([_parts(X[name].to_numpy())[:, :count] for name in X.columns])

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Name the outputs: the column's name and the part's."""
        names = self.feature_names_in_ if input_features is None else input_features
        parts = PARTS if self.hours else PARTS[:-2]
        return np.array([f"{name}_{part}" for name in names for part in parts], dtype=object)


def _parts(dates: Any) -> Any:
    dates = dates.astype("datetime64[us]")
    gaps = np.isnat(dates)
    filled = np.where(gaps, np.datetime64(0, "us"), dates)
    days = filled.astype(np.int64) / 86_400e6
    months = filled.astype("datetime64[M]").astype(np.int64) % 12
    weekdays = (np.floor(days) + 3) % 7  # 1970-01-01 was a Thursday, the third day after Monday
    angles = 2 * np.pi * np.stack([months / 12, weekdays / 7, days % 1])
    circles = np.stack([np.sin(angles), np.cos(angles)], axis=1).reshape(6, -1)
    return np.where(gaps, [[np.nan], *[[0.0]] * 6], np.vstack([days, circles])).T
