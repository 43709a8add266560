"""Networks to and from PyTorch, and networks within PyTorch's models.

- `from_module` makes a network of an ``nn.Sequential``, and `to_module` the reverse.
- `Module` is an ``nn.Module`` that computes with a network. Its one parameter is the network's memory, so
  PyTorch's optimizers train the network.
- `as_function` gives a function of tensors, `shared_parameters` the network's parameters as a tensor.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    if error.name != "torch":
        raise
    raise ImportError("gpubp.torch needs PyTorch; pip install torch", name="torch") from error

from .function import NetworkFunction, as_function, shared_parameters
from .module import Module
from .reading import from_module
from .writing import to_module

__all__ = [
    "Module",
    "NetworkFunction",
    "as_function",
    "from_module",
    "shared_parameters",
    "to_module",
]
