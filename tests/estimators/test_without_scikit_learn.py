"""gpubp without scikit-learn: everything but the estimators works, and these say what they need."""

from __future__ import annotations

import subprocess
import sys

import pytest

import gpubp

TOLD = "gpubp.MLPClassifier needs scikit-learn 1.7 or later; pip install 'gpubp[sklearn]'"


def printed(program: str) -> str:
    """Run a program for which scikit-learn cannot be imported, and return what it prints."""
    program = f"import sys; sys.modules['sklearn'] = None; import gpubp\n{program}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("use", "error"),
    [
        ("gpubp.MLPClassifier", "AttributeError"),
        ("from gpubp import MLPClassifier", "ImportError"),
        ("from gpubp import Network, MLPClassifier", "ImportError"),
    ],
)
def test_an_estimator_says_which_extra_it_needs(use: str, error: str) -> None:
    assert printed(f"try: {use}\nexcept {error} as error: print(error)") == TOLD


def test_the_module_can_be_inspected() -> None:
    program = (
        "import inspect, pydoc\n"
        "print(hasattr(gpubp, 'MLPClassifier'), getattr(gpubp, 'MLPRegressor', None))\n"
        "print(*(name for name, _ in inspect.getmembers(gpubp) if 'MLP' in name))\n"
        "print('class Network' in pydoc.plain(pydoc.render_doc(gpubp)))"
    )
    assert printed(program).split("\n") == ["False None", "", "True"]


def test_with_scikit_learn_the_estimators_are_members() -> None:
    pytest.importorskip("sklearn", minversion="1.7")
    assert {"MLPClassifier", "MLPRegressor"} <= set(dir(gpubp))
    with pytest.raises(AttributeError, match="no attribute 'MLPKlassifier'"):
        gpubp.MLPKlassifier  # noqa: B018
