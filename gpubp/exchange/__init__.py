"""Networks and estimators for other libraries and programs, and from them.

`Network.to_onnx` and `to_c`, and those of the estimators, call the modules here. A module imports the
library that it needs when it is called.
"""

from .flax import from_flax
from .keras import from_keras
from .onnx_converters import register_with_skl2onnx
from .onnx_graph import Graph

__all__ = ["Graph", "from_flax", "from_keras", "register_with_skl2onnx"]
