"""The explicit kernels: CUDA text, NumPy twin and compiled form of each, side by side.

The tables are `activations.ACTIVATIONS`, `costs.COSTS`, `updates.UPDATES` and `precision.PRECISIONS`. Each
operation has one file with three forms; bias_activate.py describes them. Three modules serve all of them:
`cuda` makes CuPy kernels from CUDA text, `cpu` compiles the same text for the CPU, and `blocks` cuts the
arrays of NumPy twins into cache-sized blocks. Nothing here imports the rest of gpubp.
"""

from .activations import ACTIVATIONS, SOFTMAX, Activation
from .costs import COSTS, Cost
from .output_head import OutputHead
from .precision import PRECISIONS, Precision
from .update_rules import ParameterArrays, StepVariables, Update, UpdateOptions, UpdateRule
from .updates import UPDATES

__all__ = [
    "ACTIVATIONS",
    "COSTS",
    "PRECISIONS",
    "SOFTMAX",
    "UPDATES",
    "Activation",
    "Cost",
    "OutputHead",
    "ParameterArrays",
    "Precision",
    "StepVariables",
    "Update",
    "UpdateOptions",
    "UpdateRule",
]
