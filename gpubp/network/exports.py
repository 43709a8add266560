"""Exports: the methods of a network that write it for other programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from .network import Network

__all__ = ["Exports"]


class Exports:
    """The part of `Network` that writes files which other programs run."""

    def to_onnx(self, path: Any, *, custom: Mapping[str, Callable[..., str]] | None = None) -> None:
        """Write the network to an .onnx file. After an error the old file, if any, is unchanged.

        The model has an input "x" of shape (rows, n_in), an output "output" of shape (rows, n_out), both in
        the network's dtype, and the operators of ONNX's opset 13. It computes what `predict` does; nothing
        is dropped. With a `precision` it has the float32 weights and computes in float32, as the network
        does without the precision. It needs the package onnx.

        Parameters
        ----------
        path : path-like
            The file to write.
        custom : mapping of str to callable, optional
            For each custom activation its name and a function (graph, z) -> a, which adds its nodes:
            ``lambda graph, z: graph.node("Softsign", z)``. z and a are names of tensors.
            `gpubp.exchange.Graph` has the methods `node` and `constant`.

        Raises
        ------
        ImportError
            If the package onnx is not installed.
        ValueError
            If a custom activation is not in `custom`, a parameter is NaN or infinite, or the parameters
            need more than an ONNX file can hold, 2 GiB.
        TypeError
            If `path` is no path, or `custom` is not as above.
        OSError
            If the file cannot be written; `filename` is the path.

        Examples
        --------
        >>> import gpubp
        >>> gpubp.Network((4, 8, 3), output="softmax").to_onnx("network.onnx")
        >>> import onnx
        >>> [node.op_type for node in onnx.load("network.onnx").graph.node]
        ['Gemm', 'Relu', 'Gemm', 'Softmax']
        """
        from ..exchange import onnx_network  # noqa: PLC0415

        onnx_network.network_to_onnx(path, cast("Network", self), custom)

    def to_c(
        self, path: Any, *, name: str | None = None, custom: Mapping[str, str] | None = None
    ) -> None:
        """Write the network to a C file that predicts. After an error the old file, if any, is unchanged.

        The file is C99 and C++, and needs nothing but math.h. It has the function ``void
        <name>_predict(const float x[n_in], float out[n_out])``, or double for float64. The function
        allocates no memory, and several threads may call it. It computes what `predict` does, to rounding;
        with a `precision`, what the network does without it.

        Parameters
        ----------
        path : path-like
            The file to write.
        name : str, optional
            What the names in the file begin with; by default the name of the file.
        custom : mapping of str to str, optional
            For each custom activation its name and the body of a C function of z:
            ``"return z / (1 + fabs(z));"``. T is the type, float or double, and functions of math.h become
            those of this type. A simple CUDA text, as in `Activation.from_functions`, is such a body.

        Raises
        ------
        ValueError
            If `name` is no name in C, a custom activation is not in `custom`, or a parameter is NaN or
            infinite.
        TypeError
            If `path` is no path, or `name` or `custom` is not as above.
        OSError
            If the file cannot be written; `filename` is the path.

        Examples
        --------
        >>> from pathlib import Path
        >>> import gpubp
        >>> gpubp.Network((4, 8, 3), output="softmax").to_c("iris.c")
        >>> [line for line in Path("iris.c").read_text().splitlines() if line.endswith("[3])")]
        ['void iris_predict(const float x[4], float out[3])']
        """
        from ..exchange import c_network  # noqa: PLC0415

        c_network.network_to_c(path, cast("Network", self), name, custom)
