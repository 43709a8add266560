"""scikit-learn's own tests of its MLPs, as they are installed, run against gpubp's."""

from __future__ import annotations

import functools
import importlib.util
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("sklearn", minversion="1.7")

import sklearn.neural_network

import gpubp

# In scikit-learn's own runs, warnings are no errors either.
pytestmark = pytest.mark.filterwarnings("ignore")

PRIVATE = {"test_gradient": "it calls the private _loss_grad_lbfgs"}


def their_tests() -> ModuleType:
    """Load scikit-learn's tests, with gpubp's estimators in the place of scikit-learn's."""
    spec = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLPClassifier", "MLPRegressor"):
            ours = functools.partial(getattr(gpubp, name), dtype=None)
            patch.setattr(sklearn.neural_network, name, ours)
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def global_random_seed() -> int:
    """The seed of scikit-learn's runs, unless they are asked for others."""
    return 42


def with_marks(name: str, test: Any) -> Any:
    return pytest.mark.skip(reason=PRIVATE[name])(test) if name in PRIVATE else test


globals().update(
    {
        name: with_marks(name, test)
        for name, test in vars(their_tests()).items()
        if name.startswith("test_")
    }
)
