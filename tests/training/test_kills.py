"""SIGKILL at random moments of training and of writing checkpoints loses nothing but the steps since."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import killed_training
import pytest
from environment import rounds
from killed_training import trainer
from resuming import assert_same


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_killed_training_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    script, folder = killed_training.__file__, tmp_path / "run"
    folder.mkdir()
    kills = rounds(30, 200)
    done = subprocess.run(
        [sys.executable, script, str(folder), str(kills), "0"],
        capture_output=True, text=True, timeout=60 + 5 * kills, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    killed, writing = map(int, done.stdout.split())
    print(f"{killed} kills, {writing} of them within the writing of a file")
    assert killed == kills
    resumed, x, y = trainer(folder)
    epochs = len(resumed.resume(folder)) + 2
    whole = trainer()[0]
    assert_same(
        (resumed, resumed.fit(x, y, epochs=epochs, validation_data=(x, y))),
        (whole, whole.fit(x, y, epochs=epochs, validation_data=(x, y))),
    )
    assert len(list(folder.iterdir())) == 2  # what the killed had begun to write is gone
