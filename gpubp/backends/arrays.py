"""The part of a backend that makes and moves its arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ..kernels import Precision
from ..kernels.typing import Array

__all__ = ["Arrays"]

_NOTHING = nullcontext()


class Arrays(ABC):
    """The backend's arrays: how they are made and moved.

    Attributes
    ----------
    name : str
        The backend's name for `get_backend`.
    xp : module
        The array namespace: NumPy, or a module that follows NumPy's interface.
    """

    name: str
    xp: Any

    @property
    @abstractmethod
    def device(self) -> str:
        """Description of the device, for people to read."""

    def use(self) -> AbstractContextManager[Any]:
        """Return a context that makes this backend's device current in this thread.

        gpubp's own functions need none. It is for your own calls of CuPy, where there are several devices.

        Returns
        -------
        context manager
            The context; it does nothing on the CPU.

        Examples
        --------
        >>> import gpubp
        >>> backend = gpubp.get_backend("numpy")
        >>> with backend.use():
        ...     twice = 2 * backend.xp.ones(3)
        >>> twice.tolist()
        [2.0, 2.0, 2.0]
        """
        return _NOTHING

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        """Make an array that is not initialised.

        Parameters
        ----------
        shape : int or tuple of int
            The shape.
        dtype : dtype
            The dtype.

        Returns
        -------
        array
            A C-contiguous array of this backend.

        Examples
        --------
        >>> import gpubp
        >>> gpubp.get_backend("numpy").empty((2, 3), "float32").shape
        (2, 3)
        """
        return self.xp.empty(shape, dtype)

    def zeros(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        """Make an array of zeros.

        Parameters
        ----------
        shape : int or tuple of int
            The shape.
        dtype : dtype
            The dtype.

        Returns
        -------
        array
            A C-contiguous array of this backend.

        Examples
        --------
        >>> import gpubp
        >>> gpubp.get_backend("numpy").zeros(3, "int64").tolist()
        [0, 0, 0]
        """
        return self.xp.zeros(shape, dtype)

    @abstractmethod
    def operands(self, shape: tuple[int, ...], precision: Precision) -> Array:
        """Make an array for matmul operands of a precision, in the backend's dtype for them.

        Parameters
        ----------
        shape : tuple of int
            The shape.
        precision : Precision
            The format that the operands are rounded to.

        Returns
        -------
        array
            An array that is not initialised: float32 on the CPU, else of the dtype `Precision.storage`.

        Examples
        --------
        >>> import gpubp
        >>> from gpubp.kernels import PRECISIONS
        >>> str(gpubp.get_backend("numpy").operands((2, 3), PRECISIONS["bfloat16"]).dtype)
        'float32'
        """

    @abstractmethod
    def asarray(self, values: Any, dtype: Any = None) -> Array:
        """Convert values to a contiguous array of this backend, without a copy if possible.

        Parameters
        ----------
        values : array, or sequence of numbers
            The values, on the host or on the backend's device.
        dtype : dtype, optional
            The dtype; by default that of the values.

        Returns
        -------
        array
            The array: the same object if it is one of this backend already, and of this dtype.

        Examples
        --------
        >>> import gpubp, numpy as np
        >>> backend = gpubp.get_backend("numpy")
        >>> backend.asarray([1, 2, 3], "float32").tolist()
        [1.0, 2.0, 3.0]
        >>> values = np.zeros(3)
        >>> backend.asarray(values) is values
        True
        """

    @abstractmethod
    def to_numpy(self, array: Array) -> Any:
        """Convert an array of this backend to a NumPy array, after all work on it is done.

        Parameters
        ----------
        array : array
            The array.

        Returns
        -------
        numpy.ndarray
            The values: a copy, or the array itself on the CPU.

        Examples
        --------
        >>> import gpubp
        >>> network = gpubp.Network((2, 1), backend="numpy", initializer="zeros")
        >>> network.backend.to_numpy(network.parameters).tolist()
        [0.0, 0.0, 0.0]
        """

    @abstractmethod
    def owns(self, array: Any) -> bool:
        """Whether an object is an array of this backend, on its device.

        Parameters
        ----------
        array : object
            The object.

        Returns
        -------
        bool
            Whether it is.

        Examples
        --------
        >>> import gpubp, numpy as np
        >>> backend = gpubp.get_backend("numpy")
        >>> backend.owns(np.zeros(3)), backend.owns([0.0, 0.0, 0.0])
        (True, False)
        """

    @abstractmethod
    def free_memory(self) -> int | None:
        """Return the memory that new arrays may take.

        Returns
        -------
        int or None
            Its bytes; None if the system does not say.

        Examples
        --------
        >>> import gpubp
        >>> free = gpubp.get_backend("numpy").free_memory()
        >>> free is None or free > 2**20
        True
        """

    def feed(self) -> Callable[[str, Any], Array]:
        """Return a function that copies batch after batch to the backend, and reuses its memory.

        Returns
        -------
        callable
            A function (name, values) -> array. An array is valid until the second later call with its name.

        Examples
        --------
        >>> import gpubp, numpy as np
        >>> copy = gpubp.get_backend("numpy").feed()
        >>> for k in range(2):
        ...     print(copy("x", np.full(2, k)).tolist())
        [0, 0]
        [1, 1]
        """
        return lambda name, values: self.asarray(values)

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until all work of the device has finished, for example before you read a clock.

        Examples
        --------
        >>> import gpubp, time
        >>> network = gpubp.Network((784, 100, 10), backend="numpy", seed=0)
        >>> began = time.perf_counter()
        >>> outputs = network.predict(network.backend.zeros((32, 784), "float32"))
        >>> network.backend.synchronize()
        >>> time.perf_counter() > began
        True
        """
