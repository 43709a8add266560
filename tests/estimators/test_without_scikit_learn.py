"""gpubp without scikit-learn: everything but the estimators works, and these say what they need."""

from __future__ import annotations

import subprocess
import sys

import pytest

import gpubp

TOLD = "gpubp.{} needs scikit-learn 1.7 or later; pip install 'gpubp[sklearn]'"
PROGRAM = """
import inspect, pydoc, sys
sys.modules["sklearn"] = None
import gpubp
try: gpubp.MLPClassifier
except AttributeError as error: print(error)
try: from gpubp import Network, MLPRegressor
except ImportError as error: print(error)
print(hasattr(gpubp, "MLPClassifier"), getattr(gpubp, "MLPRegressor", None))
print([name for name, _ in inspect.getmembers(gpubp) if "MLP" in name])
print("class Network" in pydoc.plain(pydoc.render_doc(gpubp)))
"""


def test_an_estimator_says_which_extra_it_needs_and_the_module_can_be_inspected() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    refused, not_imported, *inspected = done.stdout.splitlines()
    assert refused == TOLD.format("MLPClassifier")
    assert not_imported == TOLD.format("MLPRegressor")
    assert inspected == ["False None", "[]", "True"]


def test_with_scikit_learn_the_estimators_are_members() -> None:
    pytest.importorskip("sklearn", minversion="1.7")
    assert {"MLPClassifier", "MLPRegressor"} <= set(dir(gpubp))
    with pytest.raises(AttributeError, match="no attribute 'MLPKlassifier'"):
        gpubp.MLPKlassifier  # noqa: B018
