"""py.typed holds: a user's script passes mypy --strict, and public calls have useful types."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import gpubp

# For each public call in the script, the type that mypy reveals.
SCRIPT = """
from __future__ import annotations

from typing import Any

import numpy as np

import gpubp

x = np.zeros((32, 4), np.float32)
y = np.zeros(32, np.int64)


def swish(xp: Any, z: Any) -> Any:
    return z / (1 + xp.exp(-z))


def swish_derivative(xp: Any, z: Any) -> Any:
    s = 1 / (1 + xp.exp(-z))
    return s + z * s * (1 - s)


class Watch(gpubp.Callback):
    def on_epoch_end(self, trainer: gpubp.Trainer, history: gpubp.History) -> None:
        if history.cost[-1] < 0.1:
            trainer.stop("good enough")


def show(trainer: gpubp.Trainer, history: gpubp.History) -> None:
    print(len(history), trainer.network)


custom = gpubp.Activation.from_functions("my_swish", swish, swish_derivative)
net = gpubp.Network((4, 8, 3), hidden=custom, output="softmax", backend="numpy", seed=0)
reveal_type(net)  # gpubp.network.network.Network
reveal_type(net.sizes)  # tuple[int, ...]
reveal_type(net.dtype)  # numpy.dtype[Any]
reveal_type(net.precision)  # str | None
reveal_type(net.cost_function)  # gpubp.kernels.costs.Cost
reveal_type(net.backend)  # gpubp.backends.base.Backend
reveal_type(net.layers)  # tuple[gpubp.layers.Layer, ...]
reveal_type(net.layers[0].activation)  # gpubp.kernels.activations.Activation
reveal_type(net.layers[0].dropout)  # float
reveal_type(net.predict(x))  # Any
reveal_type(net.cost(x, y))  # float

computed = net.backprop(x, y)
reveal_type(computed)  # gpubp.network.results.Backprop
reveal_type(computed.cost)  # float
reveal_type(computed.deltas)  # list[Any]
reveal_type(computed.bias_gradients)  # list[Any | None]
reveal_type(net.forward(x))  # gpubp.network.results.Forward
reveal_type(gpubp.check_gradients(net, x, y))  # gpubp.network.gradient_check.GradientCheck
reveal_type(gpubp.check_gradients(net, x, y).relative_error)  # float

optimizer = gpubp.Adam(learning_rate=1e-3)
reveal_type(optimizer)  # gpubp.training.optimizers.Adam
reveal_type(gpubp.get_optimizer("sgd", momentum=0.9))  # gpubp.training.optimizer.Optimizer
trainer = gpubp.Trainer(
    net, optimizer, batch_size=8, schedule=gpubp.schedules.Cosine(), callbacks=[Watch(), show]
)
reveal_type(trainer.network)  # gpubp.network.network.Network
reveal_type(trainer.batch_size)  # int
reveal_type(trainer.step(x, y))  # None
reveal_type(trainer.step_cost)  # float
history = trainer.fit(x, y, epochs=2, validation_data=(x, y))
reveal_type(history)  # gpubp.training.history.History
reveal_type(history.cost)  # list[float]
reveal_type(history.best_epoch)  # int
reveal_type(history.stopped)  # str

reveal_type(history.validation_metrics)  # dict[str, list[float]]
reveal_type(net.summary())  # gpubp.network.summary.Summary
reveal_type(trainer.learning_rate)  # float
trainer.learning_rate = 1e-4
curve = trainer.find_learning_rate(x, y)
reveal_type(curve)  # gpubp.training.range_test.LearningRateCurve
reveal_type(curve.suggestion)  # float


def cosine(step: int, total: int, per_epoch: int) -> float:
    return 1 - step / total


def recall(y: Any, predictions: Any) -> float:
    return float((predictions[y == 1] == 1).mean())


stopping = gpubp.EarlyStopping(5, monitor="recall", higher_is_better=True)
gpubp.Trainer(
    net, gpubp.SGD(0.1), schedule=cosine, metrics={"recall": recall}, early_stopping=stopping
)

reveal_type(gpubp.Checkpoint("runs", every="1 epoch").folder)  # pathlib.Path

classifier = gpubp.MLPClassifier((8,), learning_rate=cosine)
reveal_type(classifier)  # gpubp.estimators.classifier.MLPClassifier
reveal_type(classifier.fit(x, y))  # gpubp.estimators.classifier.MLPClassifier
reveal_type(classifier.partial_fit(x, y))  # gpubp.estimators.classifier.MLPClassifier
reveal_type(classifier.fit(x, y).history_)  # gpubp.training.history.History
reveal_type(classifier.network_)  # gpubp.network.network.Network
reveal_type(classifier.predict(x))  # Any
reveal_type(classifier.predict_proba(x))  # Any
reveal_type(classifier.score(x, y))  # float
reveal_type(gpubp.MLPRegressor().fit(x, y).predict(x))  # Any
reveal_type(gpubp.MLPRegressor().fit(x, y))  # gpubp.estimators.regressor.MLPRegressor

net.save("net.safetensors")
reveal_type(gpubp.Network.load("net.safetensors"))  # gpubp.network.network.Network
reveal_type(gpubp.get_activation("elu", alpha=0.5))  # gpubp.kernels.activations.Activation
reveal_type(gpubp.get_cost("huber"))  # gpubp.kernels.costs.Cost
reveal_type(gpubp.get_backend("numpy"))  # gpubp.backends.base.Backend
reveal_type(gpubp.available_backends())  # list[str]
"""

# Mistakes of a user; mypy must reject each line after the network.
WRONG = """import gpubp

net = gpubp.Network((4, 8, 3))
net.precision = 3
gpubp.Network((4, 8, 3), hiden="relu")
gpubp.Trainer(net, batch_size="8")
gpubp.Adam(0.1, 0.9)
"""

# What the package installs under other folders of the checkout.
LINKED = """import gpubp.kernels
from gpubp.benchmarks.results import Point


def rows(point: Point) -> int:
    reveal_type(gpubp.kernels.ACTIVATIONS)
    return point.rows
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Run mypy on the scripts as a user would, in a separate folder; return its lines for each.

    It finds gpubp as it is installed, or in the checkout if the tests run from there.
    """
    if find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    folder = tmp_path_factory.mktemp("user")
    scripts = {"right.py": SCRIPT, "wrong.py": WRONG, "linked.py": LINKED}
    for name, script in scripts.items():
        (folder / name).write_text(script)
    installed = (Path(sys.executable).parent / "gpubp").exists() and "PYTHONPATH" not in os.environ
    path = "" if installed else str(Path(gpubp.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-color-output", *scripts],
        cwd=folder,
        env=os.environ | {"MYPYPATH": "", "PYTHONPATH": path, "MYPY_CACHE_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr
    lines = done.stdout.splitlines()
    return {name: [line for line in lines if line.startswith(name)] for name in scripts}


def plain(revealed: str) -> str:
    """Remove from a revealed type what versions of mypy write differently."""
    revealed = revealed.replace("*", "").replace("builtins.", "").replace("typing.", "")
    return re.sub(r"Union\[(\w+), None\]", r"\1 | None", revealed)


def test_a_users_script_passes_mypy_strict_and_its_types_are_known(
    said: dict[str, list[str]],
) -> None:
    assert [line for line in said["right.py"] if ": error:" in line] == []
    revealed = re.findall(r'Revealed type is "(.*)"', "\n".join(said["right.py"]))
    assert [plain(t) for t in revealed] == re.findall(r"reveal_type\(.*\)  # (.*)", SCRIPT)


def test_a_users_mistakes_are_seen_by_mypy(said: dict[str, list[str]]) -> None:
    found = re.findall(r"wrong\.py:(\d+): error", "\n".join(said["wrong.py"]))
    assert found == ["4", "5", "6", "7"]


def test_the_types_of_kernels_and_benchmarks_are_seen(said: dict[str, list[str]]) -> None:
    assert [line for line in said["linked.py"] if ": error:" in line] == []
    assert "Mapping[str, gpubp.kernels.activations.Activation]" in "\n".join(said["linked.py"])
