"""Models of tables: CSV, TSV, Parquet and NumPy files, and frames of polars and pandas.

`train` makes a `Model`, whose file `load` reads. The commands `gpubp train`, `predict` and `evaluate` do
the same. The package needs polars, scikit-learn and skops: pip install 'gpubp[cli]'.
"""

try:
    import polars as _polars  # noqa: F401
    import sklearn as _sklearn  # noqa: F401
    import skops as _skops  # noqa: F401
except ImportError as error:
    _name = {"sklearn": "scikit-learn"}.get(error.name or "", error.name)
    raise ImportError(
        f"tables need {_name}, which is not installed; pip install 'gpubp[cli]'", name=error.name
    ) from error

from .columns import Column
from .model import Model
from .model_file import load
from .reading import FORMATS, open_table
from .settings import Settings
from .table import Table
from .targets import Target
from .training import Outcome, Plan, train

__all__ = [
    "FORMATS",
    "Column",
    "Model",
    "Outcome",
    "Plan",
    "Settings",
    "Table",
    "Target",
    "load",
    "open_table",
    "train",
]
