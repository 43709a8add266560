"""Checkpoints: the setting that says where and when a fit writes them, and their writer."""

from __future__ import annotations

import errno
import math
import os
import re
import tempfile
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CorruptFileError
from ..files import file_name
from ..kernels.messages import shown
from ..keywords import tells_keywords
from ..network import Network
from ..validation import check_number
from .callbacks import Callback
from .schedules import Schedule
from .snapshot import Snapshot, callback_states
from .snapshot_file import read_snapshot, write_snapshot
from .step import TrainingStep
from .values import check_values

__all__ = ["WRITE_ERRORS", "Checkpoint", "CheckpointWriter", "as_checkpoint", "newest_snapshot"]

SECONDS = {"second": 1, "minute": 60, "hour": 3600}

WRITE_ERRORS = OSError, MemoryError, TypeError, ValueError
"""What `CheckpointWriter.write` raises if a checkpoint cannot be written."""

_FILE = re.compile(r"checkpoint-(\d{6,})\.safetensors")


@tells_keywords
@dataclass(frozen=True)
class Checkpoint:
    """Where and how often a fit writes checkpoints.

    A checkpoint is one safetensors file with everything that training needs to go on: the network, the
    optimizer's state, the position in the data, early stopping and the history. `Trainer.resume` reads it.
    It is also a network's file: `Network.load` reads the network as it was at that moment.

    Besides the checkpoints at `every`, a fit writes one when it ends or is stopped, also by Ctrl-C or
    SIGTERM. A file is written beside the others and then renamed, so that a file with the name of a
    checkpoint is whole.

    Parameters
    ----------
    folder : path-like
        The folder of the files ``checkpoint-<number>.safetensors``; it is made if there is none.
    every : str, default "5 minutes"
        The time or the number of steps or epochs from one checkpoint to the next, such as "30 seconds",
        "2 hours", "1000 steps" or "1 epoch".
    keep : int, default 3
        The number of files to keep; older ones are removed after a new one has been written.
    on_error : {"warn", "raise"}, default "warn"
        What happens if a checkpoint cannot be written, for example because the disk is full. With "warn"
        training goes on, and each failure is a RuntimeWarning. With "raise" training ends after the step,
        the network keeps its parameters, and `fit` raises the error.

    Attributes
    ----------
    newest : pathlib.Path or None
        The newest checkpoint in the folder; None if there is none.
    interval : tuple (float or int, str)
        The number in `every` and its unit: "second", "step" or "epoch".

    Raises
    ------
    ValueError, TypeError
        If an argument is not valid; the message names it.

    Examples
    --------
    >>> import gpubp
    >>> checkpoint = gpubp.Checkpoint("runs/first", every="1 epoch", keep=2)
    >>> checkpoint.newest is None
    True
    >>> trainer = gpubp.Trainer(gpubp.Network((1, 1)), checkpoint=checkpoint)
    >>> history = trainer.fit([[0.0]], [[1.0]], epochs=4)
    >>> [file.name for file in sorted(checkpoint.folder.iterdir())]
    ['checkpoint-000003.safetensors', 'checkpoint-000004.safetensors']
    >>> gpubp.Network.load(checkpoint.newest).sizes
    (1, 1)
    """

    folder: Path
    every: str = "5 minutes"
    keep: int = 3
    on_error: str = "warn"
    interval: tuple[float, str] = field(init=False, repr=False, compare=False)

    if TYPE_CHECKING:  # the name of a folder becomes a Path

        def __init__(
            self,
            folder: str | os.PathLike[str],
            every: str = "5 minutes",
            keep: int = 3,
            on_error: str = "warn",
        ) -> None: ...

    def __post_init__(self) -> None:
        given: Any = self.folder
        if given in ("", b""):  # Path("") would be the current folder
            raise ValueError(
                f"folder is {shown(given)}, expected the name of a folder; '.' is the current one"
            )
        try:
            object.__setattr__(self, "folder", Path(os.fsdecode(self.folder)))
        except TypeError:
            came = shown(self.folder)
            raise TypeError(f"folder is {came}, expected the name of a folder") from None
        object.__setattr__(self, "interval", _interval(self.every))
        check_number("keep", self.keep, 1, math.inf, whole=True)
        if not isinstance(self.on_error, str) or self.on_error not in ("warn", "raise"):
            raise ValueError(f"on_error is {shown(self.on_error)}, expected 'warn' or 'raise'")

    @property
    def newest(self) -> Path | None:
        """The newest checkpoint in the folder; None if there is none.

        Examples
        --------
        >>> import gpubp
        >>> trainer = gpubp.Trainer(gpubp.Network((1, 1)), checkpoint="runs")
        >>> history = trainer.fit([[0.0]], [[1.0]], epochs=1)
        >>> trainer.checkpoint.newest.name
        'checkpoint-000001.safetensors'
        """
        files = checkpoint_files(self.folder)
        return files[-1] if files else None


def checkpoint_files(folder: Path) -> list[Path]:
    """List the checkpoints in a folder, the newest last; none if there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted((file for file in folder.iterdir() if _FILE.fullmatch(file.name)), key=_number)


def as_checkpoint(checkpoint: Any) -> Checkpoint | None:
    """Convert the setting: the name of a folder means a Checkpoint with the defaults."""
    if checkpoint is None or isinstance(checkpoint, Checkpoint):
        return checkpoint
    if isinstance(checkpoint, str | os.PathLike):
        try:
            return Checkpoint(checkpoint)
        except ValueError as error:
            raise ValueError(f"checkpoint: {error}") from None
    raise TypeError(
        f"checkpoint is {shown(checkpoint)}, expected a Checkpoint, the name of a folder, or None"
    )


def newest_snapshot(path: Any, step: TrainingStep) -> Snapshot:
    """Read a checkpoint, or the newest whole one in a folder.

    Raises
    ------
    FileNotFoundError
        If there is no checkpoint.
    CorruptFileError
        If no checkpoint is whole.
    ValueError
        If it is the checkpoint of another network.

    Warns
    -----
    RuntimeWarning
        If the newest checkpoint in the folder is not whole.
    """
    folder = Path(file_name(path))
    if not folder.is_dir():
        return read_snapshot(folder, step)
    files = checkpoint_files(folder)
    if not files:
        raise FileNotFoundError(errno.ENOENT, "this folder has no checkpoint", str(folder))
    damage: list[CorruptFileError] = []
    for file in reversed(files):
        try:
            snapshot = read_snapshot(file, step)
        except CorruptFileError as error:
            damage.append(error)
            continue
        if damage:
            warnings.warn(
                f"{damage[0]}; {file.name} is taken instead", RuntimeWarning, stacklevel=5
            )
        return snapshot
    raise damage[0]


class CheckpointWriter:
    """Writes the checkpoints of one fit.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where, how often, and how many.
    schedule : Schedule
        The schedule of the fit.
    callbacks : sequence of Callback
        The callbacks of the fit.
    resumed_from : str
        The file of the checkpoint that the fit goes on from, or "". Only the folder of this file may have
        checkpoints.

    Raises
    ------
    OSError
        If the folder cannot be made or written to.
    ValueError
        If the folder has checkpoints of another fit.
    TypeError
        If the state of the schedule or of a callback cannot be written.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        schedule: Schedule,
        callbacks: Sequence[Callback],
        *,
        resumed_from: str,
    ) -> None:
        check_values(type(schedule).__name__, schedule.state())
        for callback in callback_states(callbacks):
            check_values(callback["class"], callback["state"])
        folder = checkpoint.folder
        folder.mkdir(parents=True, exist_ok=True)
        ours = bool(resumed_from) and _is_in(resumed_from, folder)
        if checkpoint.newest is not None and not ours:
            raise ValueError(
                f"checkpoint is the folder {folder}, which has checkpoints of another fit;"
                " Trainer.resume or an estimator's warm_start goes on from them, and a new fit needs a"
                " new folder"
            )
        with tempfile.TemporaryFile(dir=folder):  # it can be written to
            pass
        self._checkpoint, self._written = checkpoint, time.monotonic()

    @property
    def counts_steps(self) -> bool:
        """Whether a checkpoint may be due after any step, rather than at a moment or after an epoch."""
        return self._checkpoint.interval[1] == "step"

    def is_due(self, steps: int, epochs: int | None) -> bool:
        """Whether to write a checkpoint after so many steps of the fit.

        Parameters
        ----------
        steps : int
            The number of steps that have been done.
        epochs : int or None
            The number of epochs that have ended; None within an epoch.
        """
        count, unit = self._checkpoint.interval
        if unit == "second":
            return time.monotonic() - self._written >= count
        done = steps if unit == "step" else epochs
        return done is not None and done % count == 0

    def write(self, snapshot: Snapshot, network: Network) -> Path | None:
        """Write the next checkpoint, and remove the oldest.

        Returns
        -------
        path or None
            The file; None after an error that was a warning.

        Raises
        ------
        OSError, MemoryError, TypeError, ValueError
            If the file cannot be written and `on_error` is "raise". It is a TypeError or a ValueError if
            the state of the schedule or of a callback has become one that no file can hold. Earlier
            checkpoints are unchanged.

        Warns
        -----
        RuntimeWarning
            If the file cannot be written and `on_error` is "warn".
        """
        checkpoint = self._checkpoint
        try:
            newest = checkpoint.newest
            number = 1 if newest is None else _number(newest) + 1
            file = checkpoint.folder / f"checkpoint-{number:06}.safetensors"
            write_snapshot(file, snapshot, network)
        except WRITE_ERRORS as error:
            if checkpoint.on_error == "raise":
                raise
            warnings.warn(
                f"no checkpoint could be written: {error}; the earlier ones are unchanged",
                RuntimeWarning,
                stacklevel=2,
            )
            return None
        finally:  # not before: after a long write the next one would be due at once
            self._written = time.monotonic()
        with suppress(OSError):  # it is tried again after the next file
            for old in checkpoint_files(checkpoint.folder)[: -checkpoint.keep]:
                old.unlink(missing_ok=True)
        return file


def _is_in(file: str, folder: Path) -> bool:
    return os.path.dirname(os.path.realpath(file)) == os.path.realpath(folder)


def _number(file: Path) -> int:
    match = _FILE.fullmatch(file.name)
    assert match is not None
    return int(match[1])


def _interval(every: Any) -> tuple[float, str]:
    """Split "5 minutes" into a count and a unit; the unit is "second", "step" or "epoch"."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) (second|minute|hour|step|epoch)s?", str(every))
    count, unit = (float(match[1]), match[2]) if match else (0.0, "")
    if count <= 0 or (unit in ("step", "epoch") and count % 1):
        raise ValueError(
            f"every is {shown(every)}, expected for example '5 minutes', '1000 steps' or '1 epoch'"
        )
    return (count * SECONDS[unit], "second") if unit in SECONDS else (int(count), unit)
