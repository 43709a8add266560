"""gpubp's exceptions, and the error for an unknown name.

This module imports nothing of gpubp but `kernels.messages` and `synonyms`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from .kernels.messages import shown
from .synonyms import our_argument, our_name

__all__ = [
    "BackendUnavailableError",
    "CorruptFileError",
    "DivergenceError",
    "suggestion",
    "unknown_name",
]


class BackendUnavailableError(RuntimeError):
    """A backend that was named cannot run here; the message says what is missing.

    Examples
    --------
    A GPU if there are ten, else the CPU:

    >>> import gpubp
    >>> try:
    ...     backend = gpubp.get_backend("cupy:9")
    ... except gpubp.BackendUnavailableError:
    ...     backend = gpubp.get_backend("numpy")
    >>> backend.name in ("cupy:9", "numpy")
    True
    """


class CorruptFileError(ValueError):
    """A file is damaged, or is not what it should be; the message names it and says what is wrong.

    Examples
    --------
    >>> from pathlib import Path
    >>> import gpubp
    >>> gpubp.Network((2, 1)).save("network.safetensors")
    >>> whole = Path("network.safetensors").read_bytes()
    >>> _ = Path("half.safetensors").write_bytes(whole[: len(whole) // 2])
    >>> gpubp.Network.load("half.safetensors")
    Traceback (most recent call last):
        ...
    gpubp.errors.CorruptFileError: half.safetensors is not a whole safetensors file: ...
    """


class DivergenceError(ArithmeticError, ValueError):
    """Training has diverged: the cost, the parameters or the gradients are no longer finite.

    The network has its last good parameters. It is a ValueError because scikit-learn raises one.

    Attributes
    ----------
    epoch : int
        The epoch of the divergence, counted from 0.
    history : History
        The record of the epochs before it.

    Examples
    --------
    A step that is far too long makes the next cost overflow:

    >>> import gpubp
    >>> network = gpubp.Network((1, 1), initializer="zeros")
    >>> trainer = gpubp.Trainer(network, gpubp.SGD(1e30))
    >>> try:
    ...     trainer.fit([[1.0]], [[1.0]], epochs=5)
    ... except gpubp.DivergenceError as error:
    ...     print(error.epoch, error.history)
    1 <History of 1 epoch: cost 0.5, best epoch 0, stopped 'diverged'>
    >>> network.parameters.tolist()
    [0.0, 0.0]
    """

    def __init__(self, message: str, epoch: int, history: object) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.history = history

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.epoch, self.history)


def unknown_name(what: str, name: object, known: Iterable[str], of: str = "") -> ValueError:
    """Make an error that tells gpubp's name or the nearest one, or lists all names if none is near.

    For example: "unknown activation 'rellu'; did you mean 'relu'?" and "unknown activation 'swish'; gpubp
    calls it 'silu'"; with `of`, "unknown parameter 'slop' of activation 'leaky_relu'; did you mean
    'slope'?".
    """
    known = sorted(known)
    listed = f"known: {', '.join(known)}" if known else "there are none"
    hint = suggestion(name, known, what) or listed
    return ValueError(f"unknown {what} {shown(name)}{of and f' of {of}'}; {hint}")


def suggestion(name: object, known: Iterable[str], what: str = "") -> str:
    """Return what the user may have meant, or "" if no known name is near.

    Parameters
    ----------
    name : object
        The name that is not known.
    known : iterable of str
        The known names.
    what : str, default ""
        The kind of the names, if other libraries' names are known for it: "activation", for example, or
        "parameter".

    Returns
    -------
    str
        "gpubp calls it 'silu'" or "did you mean 'relu'?", for example.
    """
    known = sorted(known)
    if isinstance(name, str):
        ours = our_argument(name, known) if what == "parameter" else ()
        ours = ours or [n for n in [our_name(what, name, known)] if n]
        if ours:
            return f"gpubp calls it {ours[0]!r}"
    if name is None:
        return ""
    written = shown(name).strip("'")
    near = [
        n for text in (written, written.lower()) for n in difflib.get_close_matches(text, known, 1)
    ]
    return f"did you mean {near[0]!r}?" if near else ""
