"""The explicit kernels: CUDA text, NumPy twin and compiled form of each, side by side.

The tables are `activations.ACTIVATIONS`, `costs.COSTS`, `updates.UPDATES` and `precision.PRECISIONS`. Each
operation has one file with three forms; bias_activate.py describes them. Three modules serve all of them:
`cuda` makes CuPy kernels from CUDA text, `cpu` compiles the same text for the CPU, and `blocks` cuts the
arrays of NumPy twins into cache-sized blocks. Nothing here imports the rest of gpubp.
"""

from .activations import ACTIVATIONS, SOFTMAX, Activation
from .costs import COSTS, Cost
from .output_head import OutputHead as OutputHead
from .precision import PRECISIONS, Precision
from .update_rules import ParameterArrays as ParameterArrays
from .update_rules import StepVariables as StepVariables
from .update_rules import Update, UpdateOptions
from .update_rules import UpdateRule as UpdateRule
from .updates import UPDATES

# What is not in the list is for gpubp's own backends.

__all__ = [
    "ACTIVATIONS",
    "COSTS",
    "PRECISIONS",
    "SOFTMAX",
    "UPDATES",
    "Activation",
    "Cost",
    "Precision",
    "Update",
    "UpdateOptions",
]
