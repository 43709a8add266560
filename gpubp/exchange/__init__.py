"""Networks and estimators for other libraries and programs.

`Network.to_onnx` and `to_c`, and those of the estimators, call the modules here. A module imports the
library that it needs when it is called.
"""

from .onnx_converters import register_with_skl2onnx
from .onnx_graph import Graph

__all__ = ["Graph", "register_with_skl2onnx"]
