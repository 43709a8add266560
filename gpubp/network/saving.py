"""The methods of a network that write and read its files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from ..backends import Backend, get_backend
from ..files import write_tensors
from ..kernels import Activation, Cost
from . import arguments, storage

if TYPE_CHECKING:
    from .network import Network

__all__ = ["Saving"]


class Saving:
    """The part of `Network` that writes files, and reads them."""

    def save(self, path: Any) -> None:
        """Write the network to a .safetensors file. After an error the old file, if any, is unchanged.

        Parameters
        ----------
        path : path-like
            The file to write. The same network gives the same bytes. A file that exists keeps its mode.

        Raises
        ------
        TypeError
            If `path` is no path.
        ValueError
            If a parameter is NaN or infinite: `load` would refuse the file.
        OSError
            If the file cannot be written; `filename` is the path.

        Examples
        --------
        >>> import gpubp
        >>> network = gpubp.Network((2, 3, 1), seed=0)
        >>> network.save("network.safetensors")
        >>> same = gpubp.Network.load("network.safetensors")
        >>> (same.parameters == network.parameters).all().item()
        True
        """
        write_tensors(path, *storage.content(cast("Network", self)))

    @classmethod
    def load(
        cls,
        path: Any,
        *,
        backend: str | Backend = "auto",
        precision: str | None = None,
        custom: Sequence[Activation | Cost] = (),
    ) -> Network:
        """Read a network that `save` has written. Nothing in it is executed, and all of it is checked.

        Parameters
        ----------
        path : path-like
            The file to read.
        backend : str or Backend, default "auto"
            The backend, as in `Network`; files do not store it.
        precision : {"tf32", "bfloat16", "float16"}, optional
            The precision, as in `Network`; files do not store it.
        custom : sequence of Activation and Cost, default ()
            The custom activations and costs of the network.

        Returns
        -------
        Network
            The network.

        Raises
        ------
        TypeError
            If `path` is no path, or `custom` does not contain activations and costs alone.
        CorruptFileError
            If the file is damaged, or is not a gpubp network.
        ValueError
            If the file needs an activation or a cost that is not in `custom`.
        OSError
            If the file cannot be read; FileNotFoundError, for example.
        BackendUnavailableError
            If the backend cannot run here.

        Examples
        --------
        >>> import gpubp
        >>> square = gpubp.Activation.from_functions("square", lambda xp, z: z * z, lambda xp, z: 2 * z)
        >>> gpubp.Network((2, 3, 1), hidden=square).save("squares.safetensors")
        >>> gpubp.Network.load("squares.safetensors", custom=[square]).layers
        (Layer(2 to 3, square), Layer(3 to 1, identity))
        """
        if backend != "auto":
            get_backend(backend)  # raises before anything is read if it cannot run
        made_with, layers = storage.load(path, custom)
        arguments.check_precision(precision, made_with["dtype"])
        make = cast("type[Network]", cls)
        network = make(**made_with, backend=backend, precision=precision, initializer="zeros")
        for layer, (weights, biases) in zip(network.layers, layers, strict=True):
            layer.weights = weights
            if biases is not None:
                layer.biases = biases
        return network
