"""Tables for the tests: made up, or scikit-learn's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

MESSY = """\
\ufeffid;size (m);town;when;rooms;note;empty;same;price
1;1,5;"Köln; West";31.12.2023;3;first;;x;10,5
2;2,5;Wien;01.01.2024;4;second;;x;12,5
3;NA;"Köln; West";;4;third;;x;9,5

4;3,5;;05.02.2024;3;"four ""4\""";;x;14
5;1,5;Wien;01.01.2024;4;fifth;;x;11,25
"""


def flowers(rows: int = 300, seed: int = 0) -> Any:
    """Make a frame with numbers, text, integers, dates and gaps, and the classes of y."""
    rng = np.random.default_rng(seed)
    town = rng.choice(["Aachen", "Bonn", "Köln"], rows)
    size, rooms = rng.normal(10, 3, rows), rng.integers(1, 5, rows)
    day = np.datetime64("2024-01-01") + rng.integers(0, 366, rows)
    z = (size - 10) / 3 + 2 * (town == "Bonn") - (rooms == 2) + rng.normal(0, 0.1, rows)
    frame = pl.DataFrame({"size": size, "town": town, "rooms": rooms, "day": day, "z": z})
    gaps = pl.Series(rng.random(rows) < 0.1)
    return frame.with_columns(
        size=pl.when(gaps).then(None).otherwise("size"),
        y=pl.when(pl.col("z") > 0).then(pl.lit("big")).otherwise(pl.lit("small")),
    )


def written(frame: Any, path: Path) -> Path:
    """Write a frame in the format of the file's suffix; return the path."""
    if path.suffix == ".parquet":
        frame.write_parquet(path, row_group_size=50)
    else:
        frame.write_csv(path, separator="\t" if path.suffix == ".tsv" else ",")
    return path
