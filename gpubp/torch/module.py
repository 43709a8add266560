"""A network as a part of a PyTorch model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..network import Network
from .function import as_function, check_network, shared_parameters

__all__ = ["Module"]

NAME = "network_parameters"


class Module(torch.nn.Module):  # type: ignore[misc]
    """An ``nn.Module`` that computes with a network, for the middle of a PyTorch model.

    Its one parameter is the network's memory. PyTorch's optimizers train the network in place, and what
    gpubp trains, the module computes with.

    The module stays in the dtype and on the device of its network: ``to``, ``half`` and others that would
    give it other memory are errors. In training mode the network's dropout is applied, and not after
    ``eval()``; PyTorch's generator of random numbers chooses the masks. A copy and a pickle have a network
    of their own.

    Parameters
    ----------
    network : Network
        The network.

    Attributes
    ----------
    network : Network
        The network.
    network_parameters : torch.nn.Parameter of shape (size,)
        All weights, then all biases: the memory of ``network.parameters``.

    Raises
    ------
    TypeError
        If it is no network.

    Examples
    --------
    >>> import gpubp.torch, torch
    >>> network = gpubp.Network((8, 16, 4), backend="numpy", seed=0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 8), gpubp.torch.Module(network), torch.nn.Tanh())
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> before = network.parameters.copy()
    >>> model(torch.ones(5, 3)).sum().backward()
    >>> optimizer.step()
    >>> bool((network.parameters != before).any())
    True
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = check_network(network)
        self._share(requires_grad=True)

    def _share(self, requires_grad: bool) -> None:
        self._function, shared = as_function(self.network), shared_parameters(self.network)
        self.network_parameters = torch.nn.Parameter(shared, requires_grad)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the network's outputs.

        Parameters
        ----------
        x : tensor of shape (..., n_in)
            The inputs, of the network's dtype.

        Returns
        -------
        tensor of shape (..., n_out)
            The outputs.

        Raises
        ------
        ValueError
            If x does not fit the network, holds NaN or infinity, or `network_parameters` is not the
            network's memory any more.

        Examples
        --------
        A module is called as a function, which calls `forward`:

        >>> import gpubp.torch, torch
        >>> network = gpubp.Network((2, 1), backend="numpy", seed=0)
        >>> network.parameters = [1.0, 10.0, 0.5]
        >>> gpubp.torch.Module(network)(torch.tensor([[2.0, 3.0]])).tolist()
        [[32.5]]
        """
        return self._function(x, self.network_parameters, drops=self.training)

    def extra_repr(self) -> str:
        """Describe the network.

        Returns
        -------
        str
            The network's repr, which PyTorch shows between the brackets of the module's.

        Examples
        --------
        >>> import gpubp.torch
        >>> gpubp.torch.Module(gpubp.Network((2, 3, 1), backend="numpy", seed=0)).extra_repr()
        "Network((2, 3, 1), hidden='relu', ...)"
        """
        return repr(self.network)

    def _apply(self, fn: Callable[[Any], Any], recurse: bool = True) -> Any:
        """Refuse what would give the parameters other memory, before anything changes."""
        like = torch.empty_like(self.network_parameters, requires_grad=False)
        address, changed = like.data_ptr(), fn(like)
        if changed.data_ptr() != address:
            dtype, device = str(changed.dtype).removeprefix("torch."), changed.device
            raise ValueError(
                f"the module would be {dtype} on the device {device} in other memory, expected"
                f" {self.network.dtype} in the network's; make a new Network and a Module of it"
            )
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        state = {key: value for key, value in self.__dict__.items() if key != "_function"}
        # Without its value the name keeps its place: optimizers know parameters by their order.
        state["_parameters"] = self._parameters | {NAME: None}
        state["_requires_grad"] = self.network_parameters.requires_grad
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        requires_grad = state.pop("_requires_grad")
        super().__setstate__(state)
        self._share(requires_grad)
