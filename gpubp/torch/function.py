"""A network as a function of tensors, through which gradients flow."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from ..backends import Array
from ..kernels.messages import shortened, shown
from ..network import Network, OutsidePasses

__all__ = ["NetworkFunction", "as_function", "shared_parameters"]


def as_function(network: Network) -> NetworkFunction:
    """Return a function that computes a network's outputs on tensors, and through which gradients flow.

    Parameters
    ----------
    network : Network
        The network. The function uses its weights as they are when it is called.

    Returns
    -------
    NetworkFunction
        A function of x, or of x and the `shared_parameters`.

    Raises
    ------
    TypeError
        If it is no network.

    See Also
    --------
    Module : Has the network's parameters, too, for PyTorch's optimizers.
    shared_parameters : The second argument of the function.

    Examples
    --------
    >>> import gpubp.torch, torch
    >>> function = gpubp.torch.as_function(gpubp.Network((2, 3, 1), backend="numpy", seed=0))
    >>> x = torch.ones(4, 2, requires_grad=True)
    >>> function(x).sum().backward()
    >>> x.grad.shape
    torch.Size([4, 2])
    """
    return NetworkFunction(check_network(network))


def shared_parameters(network: Network) -> torch.Tensor:
    """Return a network's parameters as a tensor in the same memory.

    What changes the tensor in place changes the network, and the reverse.

    Parameters
    ----------
    network : Network
        The network.

    Returns
    -------
    tensor of shape (size,)
        All weights, then all biases, on the network's device.

    Raises
    ------
    TypeError
        If it is no network.
    ValueError
        If this PyTorch cannot read the memory of the network's device.

    Examples
    --------
    >>> import gpubp.torch, torch
    >>> network = gpubp.Network((2, 1), backend="numpy", seed=0)
    >>> tensor = gpubp.torch.shared_parameters(network)
    >>> tensor[:] = torch.tensor([0.5, -2.0, 1.0])
    >>> network.parameters.tolist()
    [0.5, -2.0, 1.0]
    """
    try:
        return as_tensor(check_network(network).parameters)
    except (RuntimeError, BufferError, AssertionError) as error:
        came = f"{type(error).__name__}: {shortened(error)}"
        raise ValueError(
            f"network is on {network.backend.name}, whose memory this PyTorch cannot read ({came}),"
            " expected a network on its devices"
        ) from error


def check_network(network: Any) -> Network:
    """Return the network, or say that it is none."""
    if not isinstance(network, Network):
        raise TypeError(f"network is {shown(network)}, expected a gpubp.Network")
    return network


def as_tensor(array: Array) -> torch.Tensor:
    """Return a tensor in the memory of an array."""
    if isinstance(array, np.ndarray):  # the same as by DLPack, in a third of the time
        return torch.from_numpy(array)
    return torch.from_dlpack(array)


def as_array(tensor: torch.Tensor) -> Any:
    """Return an array in the memory of a tensor; a tensor on a device as it is, for CuPy reads it."""
    tensor = tensor.detach()
    return tensor.numpy() if tensor.device.type == "cpu" else tensor


class NetworkFunction:
    """A function that computes a network's outputs on tensors; `as_function` makes it.

    The derivative of the backward pass is not there: a second derivative is PyTorch's error. Several
    threads may call the function; they take turns, as in `Network.predict`.

    Parameters
    ----------
    network : Network
        The network.

    Attributes
    ----------
    network : Network
        The network.

    Examples
    --------
    The derivative of sin 2x is 2 cos 2x, which is 2 at x = 0:

    >>> import gpubp.torch, torch
    >>> network = gpubp.Network((1, 1, 1), hidden="sine", backend="numpy", seed=0)
    >>> network.parameters = [2.0, 1.0, 0.0, 0.0]
    >>> function = gpubp.torch.as_function(network)
    >>> x = torch.zeros(1, 1, requires_grad=True)
    >>> function(x).sum().backward()
    >>> x.grad.tolist()
    [[2.0]]
    """

    def __init__(self, network: Network) -> None:
        self.network, self._passes = network, OutsidePasses(network)

    def __reduce__(self) -> tuple[Any, ...]:
        return as_function, (self.network,)  # a copy shares the memory of its own network

    def __repr__(self) -> str:
        return f"NetworkFunction({self.network!r})"

    def __call__(
        self, x: torch.Tensor, parameters: torch.Tensor | None = None, *, drops: bool = False
    ) -> torch.Tensor:
        """Compute the outputs.

        Parameters
        ----------
        x : tensor of shape (..., n_in)
            The inputs, of the network's dtype. Within ``torch.autocast`` they may be float16 or bfloat16.
        parameters : tensor of shape (size,), optional
            The tensor that `shared_parameters` returns, or one in the same memory. If it requires
            gradients, it gets them. The function reads the network's memory: if this is another tensor, it
            is an error.
        drops : bool, default False
            Whether to apply the network's dropout. PyTorch's generator of random numbers chooses the masks.

        Returns
        -------
        tensor of shape (..., n_out)
            The outputs, on the device of x.

        Raises
        ------
        TypeError
            If x is no tensor.
        ValueError
            If x does not fit the network, holds NaN or infinity, or `parameters` is not the network's
            memory.

        Examples
        --------
        With `parameters`, they get gradients: here those of y = w x + b at x = 3.

        >>> import gpubp.torch, torch
        >>> network = gpubp.Network((1, 1), backend="numpy", seed=0)
        >>> parameters = gpubp.torch.shared_parameters(network).requires_grad_()
        >>> y = gpubp.torch.as_function(network)(torch.tensor([[3.0]]), parameters)
        >>> y.sum().backward()
        >>> parameters.grad.tolist()
        [3.0, 1.0]
        """
        if torch.compiler.is_compiling():  # the compiler leaves gpubp's own code as it is
            return torch.compiler.disable(self._compute)(x, parameters, drops)
        return self._compute(x, parameters, drops)

    def _compute(
        self, x: torch.Tensor, parameters: torch.Tensor | None, drops: bool
    ) -> torch.Tensor:
        network = self.network
        x = _under_autocast(x, network)
        _check_tensor("x", x, network)
        n_in, n_out = network.sizes[0], network.sizes[-1]
        if not x.ndim or x.shape[-1] != n_in:
            raise ValueError(f"x has shape {tuple(x.shape)}, expected (..., {n_in})")
        if parameters is not None:
            _check_tensor("parameters", parameters, network)
            self._check_shared(parameters)
        passes, step = self._passes, None
        if drops and passes.drops:
            step = int(torch.randint(LARGEST_STEP, ()))
        result: torch.Tensor
        if x.ndim == 2:
            result = _Passes.apply(x, parameters, passes, step)
        else:
            result = _Passes.apply(x.reshape(-1, n_in), parameters, passes, step)
            result = result.reshape(*x.shape[:-1], n_out)
        return result

    @cached_property
    def _address(self) -> int:
        """The address of the network's parameters, which never changes."""
        array = self.network.parameters
        on_host = isinstance(array, np.ndarray)
        about = array.__array_interface__ if on_host else array.__cuda_array_interface__
        return int(about["data"][0])

    def _check_shared(self, parameters: torch.Tensor) -> None:
        """Check that a tensor is the whole memory of the network's parameters."""
        whole = parameters.shape == (self.network.layout.size,) and parameters.is_contiguous()
        if not whole or parameters.data_ptr() != self._address:
            raise ValueError(
                "parameters is another tensor than the network's, expected one in its memory, as"
                " gpubp.torch.shared_parameters(network) gives"
            )


LARGEST_STEP = 2**62
"""The numbers of steps, which choose dropout masks, are below it."""

_DTYPES = {4: torch.float32, 8: torch.float64}
"""PyTorch's dtypes of networks, by the bytes of a number."""


def _check_tensor(name: str, values: Any, network: Network) -> None:
    if not isinstance(values, torch.Tensor):
        raise TypeError(f"{name} is {shown(values)}, expected a tensor")
    if values.layout != torch.strided or values.is_nested:
        kind = "nested" if values.is_nested else "sparse"
        raise ValueError(f"{name} is a {kind} tensor, expected a dense one")
    _check_memory(name, values)
    if values.dtype is not _DTYPES[network.dtype.itemsize]:
        dtype = str(values.dtype).removeprefix("torch.")
        raise ValueError(
            f"{name} has dtype {dtype}, expected {network.dtype}, the network's, as"
            f" {name}.to(torch.{network.dtype}) gives"
        )


def _check_memory(name: str, values: torch.Tensor) -> None:
    try:
        values.data_ptr()
    except RuntimeError:
        raise ValueError(
            f"{name} is a tensor without memory, as within torch.func and torch.export, expected one"
            " outside of them"
        ) from None


def _under_autocast(x: Any, network: Network) -> Any:
    """Convert what autocast has made narrow, as PyTorch does for its functions that need float32."""
    narrow = isinstance(x, torch.Tensor) and x.dtype in (torch.float16, torch.bfloat16)
    if narrow and x.device.type in ("cpu", "cuda") and torch.is_autocast_enabled(x.device.type):
        return x.to(_DTYPES[network.dtype.itemsize])
    return x


class _Passes(torch.autograd.Function):  # type: ignore[misc]
    """The forward pass; and the backward pass, which repeats the forward pass.

    So there is nothing to keep but x, and a function may be called again before its backward pass.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, parameters: Any, passes: OutsidePasses, step: int | None) -> Any:
        ctx.passes, ctx.step = passes, step
        # PyTorch finds out whether one of them has been changed in place before the backward pass.
        ctx.save_for_backward(x, parameters)
        if not len(x):
            return x.new_empty(0, passes.network.sizes[-1])
        return as_tensor(passes.forward(as_array(x), step))

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, output_gradient: Any) -> Any:
        x, parameters = ctx.saved_tensors
        of_x, of_parameters, *_ = ctx.needs_input_grad
        _check_memory("the outputs' gradient", output_gradient)
        if not len(x):
            given = (x, of_x), (parameters, of_parameters)
            return (
                *(torch.zeros_like(tensor) if needed else None for tensor, needed in given),
                None,
                None,
            )
        arrays = as_array(x), as_array(output_gradient)
        gradient, inputs = ctx.passes.backward(*arrays, ctx.step)
        return (
            as_tensor(inputs) if of_x else None,
            as_tensor(gradient) if of_parameters else None,
            None,
            None,
        )
