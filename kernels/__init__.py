"""The explicit kernels: CUDA text and NumPy twin of each, side by side.

Tables: `activations.ACTIVATIONS`, `costs.COSTS`, `updates.UPDATES`, `precision.PRECISIONS`. Machinery:
`launch` builds CuPy kernels from CUDA text, `blocks` cuts NumPy twins into cache-sized blocks. Nothing here
imports the rest of gpubp.
"""

from .activations import ACTIVATIONS, SOFTMAX, Activation
from .costs import COSTS, Cost
from .precision import PRECISIONS, Precision
from .updates import UPDATES, Update, UpdateOptions

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
