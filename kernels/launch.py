"""How CUDA text becomes a kernel; the same for every entry of every table.

`cupy` is passed in, never imported: a machine without it can import every kernel file, and a test can
pass a stand-in that runs the same text on the host. Kernels are built once per text and type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

__all__ = ["c_type", "device_function", "elementwise", "raw", "source"]

# Arithmetic is done in `compute`'s result type: a type narrower than float widens here and nowhere else.
COMPUTE = """
__device__ __forceinline__ float compute(float x) { return x; }
__device__ __forceinline__ double compute(double x) { return x; }
"""


def device_function(
    name: str, arguments: str, body: str, constants: Mapping[str, float] | None = None
) -> str:
    """CUDA text of `template <typename T> T name(T argument, ...)` around `body`."""
    head = ", ".join(f"T {argument}" for argument in arguments.split())
    declared = " ".join(
        f"const T {key} = T({value!r});" for key, value in (constants or {}).items()
    )
    return f"template <typename T> __device__ __forceinline__ T {name}({head}) {{ {declared} {body} }}\n"


@cache
def elementwise(
    cupy: Any, inputs: str, outputs: str, operation: str, name: str, preamble: str = ""
) -> Any:
    """A cupy.ElementwiseKernel; outputs are always given by the caller, and may be read."""
    identifier = re.sub(r"\W", "_", name, flags=re.ASCII)  # a user's own name may be none
    return cupy.ElementwiseKernel(
        inputs, outputs, operation, identifier, preamble=COMPUTE + preamble, no_return=True
    )


def c_type(array: Any) -> str:
    """What CUDA calls the type of the array's elements."""
    return {"float32": "float", "float64": "double"}[array.dtype.name]


def source(file: str) -> str:
    """The text of a .cu file of this package."""
    return (resources.files(__package__) / file).read_text(encoding="utf-8")


@cache
def raw(cupy: Any, file: str, name: str, preamble: str = "", **types: str) -> Any:
    """A cupy.RawKernel from `preamble` and a .cu file, with types named as it names them: T="float".

    Types are typedefs, not -D options: a macro called T would rewrite the compiler's own headers.
    """
    typedefs = "".join(f"typedef {c_type} {alias};\n" for alias, c_type in types.items())
    code = COMPUTE + preamble + typedefs + source(file)
    return cupy.RawKernel(code, name, options=("-std=c++17",))
