"""The launches of a captured step on CUDA, with the bytes and multiply-adds of each.

`calls.py` notes what the engine asks its backend for. Here is what the backend makes of it: a verb may be
several launches, and with `fused` a launch may hold several verbs, or a verb none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from ..backends import RowBlock
from ..backends.cupy import CupyBackend
from ..kernels.typing import Array, Bound
from .calls import ACCESSES, LAYER_VERBS, VERBS, Access, bytes_of, product_of

__all__ = ["Launch", "watch_launches"]


class Launch(NamedTuple):
    """A launch within a captured step.

    Attributes
    ----------
    kernel : str
        The kernel's name, "cuBLAS", or "cuBLASLt" with its epilogue.
    verbs : tuple of str
        The verbs that it computes; empty if another launch computes the rest of the same verb.
    read, written : int
        Bytes of the arrays that it reads and writes.
    work : int
        Multiply-adds of its products.
    narrow : bool
        Whether the operands of its products are narrower than float32.
    branch : int
        The branch of the graph: 0 is the main one.
    waits : bool
        Whether it is the first after the branches have met.
    """

    kernel: str
    verbs: tuple[str, ...]
    read: int
    written: int
    work: int
    narrow: bool
    branch: int
    waits: bool

    @property
    def moved(self) -> int:
        """The bytes that the launch reads and writes."""
        return self.read + self.written


def watch_launches(backend: CupyBackend) -> list[Launch]:
    """Note the launches of every step that a backend captures as a graph.

    Parameters
    ----------
    backend : CupyBackend
        The backend. It is changed for good, so open one for this.

    Returns
    -------
    list of Launch
        The launches so far; the list grows with each capture.
    """
    return _Notes(backend).launches


class _Verb:
    """A verb that runs, or that waits for another verb's launch."""

    def __init__(self, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        plain = tuple(_array_of(argument) for argument in arguments)
        accesses = OUTPUT_LAYER if name == "output_layer" else ACCESSES[name]
        self.name, self.launched = name, False
        self.read, self.written = accesses(*plain, **options)
        for block in arguments:
            if isinstance(block, RowBlock):
                self.read = [*self.read, block.counters, block.rows.order]
        self.work, self.narrow = 0, False
        if name == "output_layer":
            _, x, weights, *_ = plain
            self.work, self.narrow = x.size * len(weights), x.itemsize < 4
        elif name == "matmul" or name in LAYER_VERBS:
            (a, _, out), _ = product_of(name, plain, options)
            self.work, self.narrow = a.size * out.shape[1], a.itemsize < 4

    def is_in(self, arrays: list[Array]) -> bool:
        """Whether one of these arrays is one that the verb writes."""
        places = {array.data.ptr for array in arrays}
        return any(array is not None and array.data.ptr in places for array in self.written)


class _Notes:
    def __init__(self, backend: CupyBackend) -> None:
        self.launches: list[Launch] = []
        self._backend, self._recording = backend, backend._recording
        self._running: list[_Verb] = []
        self._waiting: list[_Verb] = []
        self._epilogues: dict[int, tuple[str, Access, Bound]] = {}
        self._met = False
        self._do, self._meet = backend._do, backend.meet
        changed: Any = backend
        # `round` launches nothing on CUDA.
        for verb in {*VERBS, "output_layer"} - {"round"}:
            setattr(changed, verb, self._noting(verb))
        changed._do, changed.meet = self._note, self._note_meeting
        if backend._epilogues is not None:
            products: Any = backend._epilogues._products
            products.bind = partial(self._bind_with_ending, products.bind)

    def _noting(self, name: str) -> Callable[..., None]:
        original = getattr(self._backend, name)

        def run(*arguments: Any, **options: Any) -> None:
            verb = _Verb(name, arguments, options)
            with self._within(verb):
                original(*arguments, **options)
            recording = self._recording
            if verb.launched:
                if self._running:
                    self._running[-1].launched = True  # by this inner verb
            elif recording.held_products or recording.held_cost is not None:
                self._waiting.append(verb)

        return run

    @contextmanager
    def _within(self, verb: _Verb) -> Iterator[None]:
        self._running.append(verb)
        try:
            yield
        finally:
            self._running.pop()

    def _note_meeting(self) -> None:
        self._meet()
        self._met = True

    def _bind_with_ending(self, bind: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Note what cuBLASLt reads and writes, such as relu's mask instead of activations."""
        bound = bind(*arguments, **options)
        if bound is not None:
            a, b, out, _, _, ending, _ = arguments
            read, written = [a, b], [out]
            (written if ending.name == "BGRADB" else read).append(ending.bias)
            (read if ending.name.startswith("D") else written).append(ending.aux)
            name = f"cuBLASLt {ending.name or 'DEFAULT'}"
            self._epilogues[id(bound)] = name, (read, written), bound  # which keeps the id
        return bound

    def _note(self, call: Bound) -> None:
        # A product with biases that are rounded first is two launches.
        parts = [part for part in getattr(call, "args", ()) if callable(part)]
        if len(parts) == 2:
            self._note_one(parts[0], alone=True)
        self._note_one(parts[1] if len(parts) == 2 else call)
        self._do(call)

    def _note_one(self, call: Any, alone: bool = False) -> None:
        """Note a launch; one `alone` is no verb's, and reads its first array and writes its second."""
        name, arrays = _name_of(call), _arrays_of(call)
        verbs: list[_Verb] = []
        access: Access | None = None
        if id(call) in self._epilogues:
            name, access, _ = self._epilogues[id(call)]
        if alone:
            access = arrays[:1], arrays[1:]
        else:
            there = [verb for verb in (*self._waiting, *self._running[-1:]) if verb.is_in(arrays)]
            verbs = [verb for verb in there or self._running[-1:] if not verb.launched]
        for verb in verbs:
            verb.launched = True
        self._waiting = [verb for verb in self._waiting if not verb.launched]
        if self._recording.held is None:
            return
        if access is None:
            read = [array for verb in verbs for array in verb.read]
            access = read, [array for verb in verbs for array in verb.written]
        branch = self._branch()
        bytes_read, bytes_written = map(bytes_of, access)
        self.launches.append(
            Launch(
                name,
                tuple(verb.name for verb in verbs),
                bytes_read,
                bytes_written,
                sum(verb.work for verb in verbs),
                any(verb.narrow for verb in verbs),
                branch,
                self._met and branch == 0,
            )
        )
        self._met = self._met and branch > 0

    def _branch(self) -> int:
        cupy = self._backend.xp
        streams = [stream.ptr for stream in self._recording.streams(cupy)]
        return streams.index(cupy.cuda.get_current_stream().ptr)


def OUTPUT_LAYER(
    head: Any, x: Array, weights: Array, biases: Array, z: Array, a: Array, targets: Any,
    scale: Array, delta: Array, costs: Array, precision: Any = None, keep: bool = False,
) -> Access:  # fmt: skip
    """Return what `output_layer` reads and writes in one launch; z stays within it."""
    block = targets.block
    read = [x, weights, biases, block.rows.y[: block.count], scale, block.counters]
    return [*read, block.rows.order], [delta, a, costs]


def _array_of(argument: Any) -> Any:
    """Return the rows of a `RowBlock` as an array of their size."""
    return argument.rows.x[: argument.count] if isinstance(argument, RowBlock) else argument


def _name_of(call: Any) -> str:
    if isinstance(call, partial):
        return str(getattr(call.func, "name", call.func)).removeprefix("cupy_")
    return "cuBLAS"


def _arrays_of(call: Any) -> list[Array]:
    """Find the arrays that a launch is bound to; none if only its addresses are known."""
    if not isinstance(call, partial):
        return []
    given = [*call.args, *call.keywords.values()]
    flat = [a for one in given for a in (one if isinstance(one, tuple) else [one])]
    return [a for a in flat if hasattr(getattr(a, "data", None), "ptr")]
