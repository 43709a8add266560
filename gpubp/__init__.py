"""gpubp: a GPU-accelerated backpropagation engine with explicit kernels."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

TYPE_CHECKING = False  # typing takes longer to import than all else that a shell's completion needs

if find_spec(f"{__name__}.kernels") is None:
    raise ImportError(
        "gpubp/kernels is not a folder, expected a link to kernels/: git has checked out links as text,"
        " which `git config core.symlinks true` and a new checkout mend"
    )

if TYPE_CHECKING:
    from typing import Any

    from . import exchange as exchange
    from . import torch as torch
    from .estimators import LossCurveDisplay as LossCurveDisplay
    from .estimators import MLPClassifier as MLPClassifier
    from .estimators import MLPRegressor as MLPRegressor
    from .public import *  # noqa: F403

try:
    # A build or an installation writes this file: the version of git's tags at that time.
    from ._version import __version__ as __version__
except ImportError:
    __version__ = "0.1.0.dev0"  # a checkout from which nothing was built or installed

_ESTIMATORS = ("LossCurveDisplay", "MLPClassifier", "MLPRegressor")
_NEEDED = {
    "sklearn": "scikit-learn 1.7 or later; pip install 'gpubp[sklearn]'",
    "torch": "PyTorch; pip install torch",
}


def __getattr__(name: str) -> Any:
    """Import at the first use: a submodule, the estimators, or all names of `public` at once.

    The command line imports this module when a shell completes a word, which must be quick. Only the
    estimators need scikit-learn, and `gpubp.torch` PyTorch.
    """
    if name.startswith("__") and name != "__all__":
        raise AttributeError(f"module 'gpubp' has no attribute {name!r}")
    # A submodule may be wanted, as of `from .. import backprop`, before all of `public` is there.
    package = "estimators" if name in _ESTIMATORS else name
    if not find_spec(f"{__name__}.{package}"):
        return _public(name)
    try:
        module = import_module(f"{__name__}.{package}")
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _NEEDED:
            raise
        told = f"gpubp.{name} needs {_NEEDED[missing]}"
        # hasattr, help and inspect expect an AttributeError. After it, `from gpubp import` would tell
        # something else; it asks here from this function of importlib.
        if sys._getframe(1).f_code.co_name == "_handle_fromlist":
            raise ImportError(told, name=error.name) from error
        raise AttributeError(told, name=name) from error
    return module if name == package else getattr(module, name)


def _public(name: str) -> Any:
    """Take all names of `public` into this module, and return one."""
    public = import_module(".public", __name__)
    names = globals()
    names.update({"__all__": public.__all__, **{k: getattr(public, k) for k in public.__all__}})
    if name not in names:
        hint = f"; did you mean gpubp.schedules.{name}?" * (name in public.schedules.__all__)
        told = f"module 'gpubp' has no attribute {name!r}{hint}"
        # Python adds the nearest name.
        raise AttributeError(told, name=name, obj=sys.modules[__name__])
    return names[name]


def __dir__() -> list[str]:
    _public("__all__")
    estimators = _ESTIMATORS if find_spec("sklearn") else ()
    # Not torch: who looks at every member would import PyTorch.
    return sorted({*globals(), "exchange", *estimators})
