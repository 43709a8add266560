"""Why an array of PyTorch or JAX cannot be read, in a sentence.

Neither library is imported: an object is an array of a library only if a program has imported it.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["refusal"]


def refusal(name: str, values: Any) -> str:
    """Return the sentence that refuses `values`, an array of this name; "" if nothing speaks against it."""
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    if torch is not None and isinstance(values, torch.Tensor):
        return _of_tensor(name, values, torch)
    data = sys.modules.get("torch.utils.data")
    if data is not None and isinstance(values, data.Dataset):
        return f"{name} is a Dataset, expected an array, or batches, as a DataLoader of it gives"
    if jax is not None and isinstance(values, jax.core.Tracer):
        return (
            f"{name} is a JAX tracer, expected an array with numbers, as there is outside of jax.jit and"
            " jax.grad, and within jax.pure_callback"
        )
    sparse = sys.modules.get("jax.experimental.sparse")
    if sparse is not None and isinstance(values, sparse.JAXSparse):
        return f"{name} is sparse, expected a dense array, as {name}.todense() gives"
    return ""


def _of_tensor(name: str, tensor: Any, torch: Any) -> str:
    device, dtype = tensor.device.type, str(tensor.dtype).removeprefix("torch.")
    known = dtype in ("float16", "float32", "float64") or not tensor.is_floating_point()
    came, expected = "", ""
    if device == "meta":
        came, expected = "a tensor on the device meta", "one that holds numbers"
    elif device not in ("cpu", "cuda"):
        came = f"a tensor on the device {device}"
        expected = f"one on the CPU or a CUDA device, as {name}.cpu() gives"
    elif tensor.is_quantized:
        came, expected = "a quantized tensor", f"real numbers, as {name}.dequantize() gives"
    elif tensor.layout != torch.strided:
        came, expected = "a sparse tensor", f"a dense one, as {name}.to_dense() gives"
    elif tensor.requires_grad:
        came = "a tensor that requires gradients"
        expected = f"one without, as {name}.detach() gives"
    elif not known:
        came = f"a tensor of dtype {dtype}"
        expected = f"float16, float32 or float64, as {name}.float() gives"
    return came and f"{name} is {came}, expected {expected}"
