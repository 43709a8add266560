"""The explicit kernels: CUDA text, NumPy twin and compiled form of each, side by side.

Tables: `activations.ACTIVATIONS`, `costs.COSTS`, `updates.UPDATES`, `precision.PRECISIONS`. Operations: a
file each, in three forms (bias_activate.py says how). Machinery: `cuda` makes CuPy kernels of CUDA text,
`cpu` compiles the same text for the CPU, `blocks` cuts NumPy twins into cache-sized blocks. Nothing here
imports the rest of gpubp.
"""

from .activations import ACTIVATIONS, SOFTMAX, Activation
from .costs import COSTS, Cost
from .output_head import OutputHead
from .precision import PRECISIONS, Precision
from .updates import (
    UPDATES,
    ParameterArrays,
    StepVariables,
    Update,
    UpdateOptions,
    UpdateRule,
)

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
