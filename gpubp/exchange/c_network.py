"""Networks as C files that predict."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gpubp

from ..files import file_name, write_whole
from ..kernels import ACTIVATIONS, Activation
from ..network import storage
from .c_text import body_in, c_array, c_comment, c_number, c_type, check_c_name
from .custom import check_custom

if TYPE_CHECKING:
    from ..network import Network

__all__ = ["CFile", "network_to_c"]


def network_to_c(path: Any, network: Network, name: Any, custom: Any) -> None:
    """Write a network as `Network.to_c` describes it."""
    CFile(path, network, name, custom).write()


class CFile:
    """The text of a C file with a network.

    Parameters
    ----------
    path : path-like
        The file.
    network : Network
        The network.
    name : str or None
        What the names in the file begin with; None stands for the name of the file.
    custom : mapping of str to str, or None
        As in `Network.to_c`.

    Attributes
    ----------
    name : str
        What the names begin with.
    type : str
        "float" or "double".
    declarations : list of str
        Lines that declare what other files may use.
    definitions : list of str
        Lines that define what is not the network's.
    """

    def __init__(self, path: Any, network: Network, name: Any, custom: Any) -> None:
        self._path, self._network = path, network
        self.name = _name_of(file_name(path)) if name is None else check_c_name(name)
        self.type = c_type(network.dtype)
        self._custom = check_custom(
            [layer.activation for layer in network.layers],
            custom,
            ACTIVATIONS,
            lambda text: isinstance(text, str),
            "the body of a C function of z, such as 'return z / (1 + fabs(z));',",
        )
        self._tensors, _ = storage.content(network)
        self.arguments = f"const {self.type} x[{network.sizes[0]}]"
        predict = (
            f"void {self.name}_predict({self.arguments}, {self.type} out[{network.sizes[-1]}])"
        )
        self._predict_head = predict
        self.declarations = ["/* Computes the outputs of one row. */", f"{predict};"]
        self.definitions: list[str] = []

    def write(self) -> None:
        """Write the file; after an error the old file, if any, is unchanged."""
        write_whole(self._path, "".join(f"{line}\n" for line in self._lines()).encode())

    def _lines(self) -> Iterator[str]:
        yield from self._head()
        for k, _ in enumerate(self._network.layers):
            yield from self._parameters(k)
        yield from self._function(_LAYER)
        yield from self._activations()
        yield from self._predict()
        yield from self.definitions
        yield from ("", "#ifdef __cplusplus", "}", "#endif")

    def _head(self) -> Iterator[str]:
        network, size = self._network, self._network.dtype.itemsize
        even, odd = self._buffers()
        yield f"/* {c_comment(repr(network))}"
        yield ""
        yield f"   Written by gpubp {gpubp.__version__}. C99 or C++; needs <math.h> alone (link with -lm)."
        yield f"   The parameters take {network.layout.size * size} bytes of constant memory, and a call"
        yield f"   takes about {(even + odd) * size} bytes of the stack. out must not overlap x."
        yield "*/"
        yield from ("", "#include <math.h>", "", "#ifdef __cplusplus", 'extern "C" {', "#endif", "")
        n_in, n_out = (
            f"{self.name}_n_{end} = {network.sizes[k]}" for end, k in (("in", 0), ("out", -1))
        )
        yield f"enum {{ {n_in}, {n_out} }};"
        yield from ("", *self.declarations)

    def _parameters(self, k: int) -> Iterator[str]:
        for part in ("weights", "biases"):
            array = self._tensors.get(f"layers.{k}.{part}")
            if array is not None:
                shape = " by ".join(map(str, array.shape))
                yield from ("", f"/* {part} of layer {k}, {shape} */")
                yield f"static const {self.type} {self.name}_{part}_{k}[{array.size}] = {{"
                yield from c_array(array if array.ndim == 2 else array[None])
                yield "};"

    def _activations(self) -> Iterator[str]:
        """Yield a function for each activation of the network."""
        written = set()
        for layer in self._network.layers:
            activation = layer.activation
            function = self._function_of(activation)
            if activation.is_identity or function in written:
                continue
            written.add(function)
            if activation.rowwise:
                yield from self._function(_SOFTMAX)
                continue
            text = self._custom.get(activation.name, activation.cuda)
            arguments = ", ".join(f"{self.type} {name}" for name in ("z", *activation.parameters))
            yield from ("", f"/* {c_comment(activation.formula)} */")
            yield f"static {self.type} {function}({arguments})"
            yield "{"
            body = body_in(text, self._network.dtype)
            yield from (f"    {line}".rstrip() for line in body.splitlines())
            yield "}"

    def _function(self, text: str) -> list[str]:
        """Return the lines of a function that is written for any type and any name."""
        return ["", *body_in(text.format(name=self.name), self._network.dtype).splitlines()]

    def _function_of(self, activation: Activation) -> str:
        if activation.name not in self._custom:
            return f"{self.name}_{activation.name}"
        return f"{self.name}_custom_{list(self._custom).index(activation.name)}"

    def _buffers(self) -> tuple[int, int]:
        """Return the widths of the two buffers, which hidden layers use in turn."""
        hidden = self._network.sizes[1:-1]
        return max(hidden[::2], default=0), max(hidden[1::2], default=0)

    def _predict(self) -> Iterator[str]:
        layers = self._network.layers
        yield from ("", self._predict_head, "{")
        for buffer, width in zip("ab", self._buffers(), strict=True):
            if width:
                yield f"    {self.type} {buffer}[{width}];"
        source = "x"
        for k, layer in enumerate(layers):
            target = "out" if k == len(layers) - 1 else "ab"[k % 2]
            biases = f"{self.name}_biases_{k}" if layer.biases is not None else "0"
            places = f"{self.name}_weights_{k}, {biases}, {source}, {target}"
            yield ""
            yield f"    {self.name}_layer({layer.n_in}, {layer.n_out}, {places});"
            yield from self._activate(layer.activation, layer.n_out, target)
            source = target
        yield "}"

    def _activate(self, activation: Activation, width: int, target: str) -> Iterator[str]:
        function = self._function_of(activation)
        if activation.rowwise:
            yield f"    {function}({width}, {target});"
        elif not activation.is_identity:
            constants = (c_number(v, self._network.dtype) for v in activation.parameters.values())
            arguments = ", ".join([f"{target}[i]", *constants])
            yield f"    for (int i = 0; i < {width}; ++i)"
            yield f"        {target}[i] = {function}({arguments});"


def _name_of(path: str) -> str:
    """Make a name in C of a file's name."""
    stem = os.path.splitext(os.path.basename(path))[0]
    name = re.sub(r"[^A-Za-z0-9_]", "_", stem)
    return name if re.match("[A-Za-z]", name) else f"net_{name}"


_LAYER = """
/* z = x w' + b, where w has n_out rows and n_in columns; b may be null. */
static void {name}_layer(int n_in, int n_out, const T *w, const T *b, const T *x, T *z)
{{
    for (int i = 0; i < n_out; ++i, w += n_in) {{
        T sum = 0;
        for (int k = 0; k < n_in; ++k)
            sum += w[k] * x[k];
        z[i] = b ? sum + b[i] : sum;
    }}
}}"""

_SOFTMAX = """
/* The softmax of z, in its place. */
static void {name}_softmax(int n, T *z)
{{
    T largest = z[0], sum = 0;
    for (int i = 1; i < n; ++i)
        if (z[i] > largest)
            largest = z[i];
    for (int i = 0; i < n; ++i)
        sum += z[i] = exp(z[i] - largest);
    for (int i = 0; i < n; ++i)
        z[i] /= sum;
}}"""
