"""A trainer that lives on inside an estimator: between calls, and in pickles."""

from __future__ import annotations

from typing import Any

from ..training import Optimizer, Trainer

__all__ = ["ResumableTrainer"]


class ResumableTrainer(Trainer):
    """A `Trainer` whose optimizer's hyperparameters can change, and which can be pickled.

    A pickle has the network, the optimizer's state and the random generator, so that training goes on
    from it as it would have without; it has neither data nor buffers.
    """

    def accepts(self, optimizer: Optimizer) -> bool:
        """Whether the state that there is suits this optimizer."""
        old = self.optimizer
        same_place = bool(optimizer.accumulates) == bool(old.accumulates)
        return optimizer.update is old.update and same_place

    def go_on_with(self, optimizer: Optimizer) -> None:
        """Take other hyperparameters from the next step on."""
        if optimizer != self.optimizer:
            self.optimizer, self._steps = optimizer, {}

    def forget_data(self) -> None:
        """Let go of the arrays of the last fit."""
        rows = self._rows
        rows.x = rows.y = rows.weights = rows.order = None

    def __getstate__(self) -> dict[str, Any]:
        steps_taken, (_, *arrays) = self._snapshot()
        return {
            "network": self.network,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "_rng": self._rng,
            "_dropping": self._dropping,
            "snapshot": (steps_taken, [self._backend.to_numpy(array) for array in arrays]),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(  # type: ignore[misc]
            state["network"], state["optimizer"], schedule=state["schedule"]
        )
        self._rng, self._dropping = state["_rng"], state["_dropping"]
        steps_taken, arrays = state["snapshot"]
        arrays = [self._backend.asarray(array) for array in arrays]
        # What self._snapshot() holds, but for the parameters, which the network brings.
        self._steps_taken = steps_taken
        for target, array in zip(
            (self._gradients[0], *self._state, self._clock), arrays, strict=True
        ):
            target[...] = array
