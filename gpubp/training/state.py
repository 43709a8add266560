"""A training step's state: what one step passes to the next, to copy and to restore."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..arrays import home_of, move, to_host
from ..backends import Array
from ..memory import allocated
from ..signals import uninterrupted

if TYPE_CHECKING:
    from ..network import Network
    from .optimizer_state import OptimizerState

__all__ = ["HasState", "State"]


@dataclass
class State:
    """Copies of the arrays that one step passes to the next, and the number of steps taken.

    A pickled state holds NumPy arrays, also if the arrays were on a device.

    Attributes
    ----------
    steps_taken : int
        The number of steps since the optimizer's state began.
    state_of : str
        The name of the update that the optimizer's state belongs to.
    arrays : dict of arrays
        The arrays by name: "parameters", "counters", "loss_scale" if there is one, and the optimizer's
        state.
    """

    steps_taken: int = 0
    state_of: str = ""
    arrays: dict[str, Array] = field(default_factory=dict)

    def copy_from(self, arrays: Mapping[str, Array]) -> None:
        """Copy the arrays, into the memory of an earlier copy if there is one."""
        if arrays.keys() == self.arrays.keys() and all(
            map(_are_alike, arrays.values(), map(self.arrays.get, arrays))
        ):
            for name, array in arrays.items():
                self.arrays[name][...] = array
        else:
            self.arrays = allocated(
                lambda: {name: array.copy() for name, array in arrays.items()},
                "a copy of the parameters and the optimizer's state",
                sum(array.nbytes for array in arrays.values()),
                home_of(next(iter(arrays.values()))),
            )

    def __getstate__(self) -> dict[str, Any]:
        on_host = {name: to_host(array) for name, array in self.arrays.items()}
        return vars(self) | {"arrays": on_host}


class HasState:
    """A base class of training steps: what one step passes to the next, to take and to restore."""

    network: Network
    steps_taken: int
    steps_prepared: int
    _counters: Array
    _loss_scale: Array | None
    _optimizer_state: OptimizerState

    @property
    def state_of(self) -> str:
        """The name of the update that the optimizer's state belongs to."""
        return self._optimizer_state.plan.state_of

    @property
    def _lasting(self) -> dict[str, Array]:
        """The arrays that one step passes to the next, except the parameters."""
        loss_scale = {} if self._loss_scale is None else {"loss_scale": self._loss_scale}
        return {"counters": self._counters, **loss_scale, **self._optimizer_state.by_name}

    @property
    def state_arrays(self) -> dict[str, Array]:
        """The parameters and everything else that one step passes to the next: not copies."""
        return {"parameters": self.network.parameters, **self._lasting}

    def take(self, state: State | None = None) -> State:
        """Copy the parameters and everything else that one step passes to the next.

        Parameters
        ----------
        state : State, optional
            The state to copy to, whose memory is reused; by default a new one.

        Returns
        -------
        State
            The copies.

        Examples
        --------
        >>> import gpubp
        >>> trainer = gpubp.Trainer(gpubp.Network((1, 1), initializer="zeros"), "adam")
        >>> trainer.step([[1.0]], [[1.0]])
        >>> state = trainer.training_step.take()
        >>> state.steps_taken, sorted(state.arrays)
        (1, ['counters', 'first', 'parameters', 'second'])
        """
        state = State() if state is None else state
        state.copy_from(self.state_arrays)
        state.steps_taken, state.state_of = self.steps_taken, self.state_of
        return state

    @uninterrupted
    def restore(self, state: State) -> None:
        """Restore the state of this step or a similar one; another optimizer's state begins anew.

        Parameters
        ----------
        state : State
            What `take` has returned.

        Examples
        --------
        >>> import gpubp
        >>> network = gpubp.Network((1, 1), initializer="zeros")
        >>> trainer = gpubp.Trainer(network, "adam")
        >>> state = trainer.training_step.take()
        >>> trainer.step([[1.0]], [[1.0]])
        >>> trainer.training_step.restore(state)
        >>> network.parameters.tolist(), trainer.training_step.steps_taken
        ([0.0, 0.0], 0)
        """
        goes_on = state.state_of == self.state_of
        begins_anew = {} if goes_on else self._optimizer_state.by_name
        for name, array in self.state_arrays.items():
            if name in begins_anew:
                array.fill(0)
            else:
                array[...] = move(state.arrays[name], self.network.backend)
        self.steps_taken, self.steps_prepared = state.steps_taken if goes_on else 0, 0


def _are_alike(array: Array, copy: Array) -> bool:
    return type(array) is type(copy) and array.shape == copy.shape
