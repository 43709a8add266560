"""Exports: the methods of the estimators that write them for other programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sklearn.utils.validation import check_is_fitted

from ..network import Network

__all__ = ["ClassifierExports", "RegressorExports"]


class ClassifierExports:
    """The part of `MLPClassifier` that writes files which other programs run."""

    def to_onnx(self, path: Any, *, custom: Mapping[str, Callable[..., str]] | None = None) -> None:
        """Write the classifier to an .onnx file, with the names of skl2onnx.

        The input is "X" of shape (rows, n_features), in the network's dtype. The output "label" has what
        `predict` returns, strings or int64; bools are 0 and 1. "probabilities" of shape (rows, n_classes)
        has what `predict_proba` returns; if there is no such method, "outputs" has the network's outputs.

        Parameters
        ----------
        path, custom
            As in `Network.to_onnx`.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ImportError, ValueError, TypeError, OSError
            As in `Network.to_onnx`; also if a class is a number that is not an int64.

        Examples
        --------
        >>> import gpubp, onnxruntime
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = gpubp.MLPClassifier((10,), solver="lbfgs", tol=0.01, random_state=0).fit(X, y)
        >>> model.to_onnx("iris.onnx")
        >>> session = onnxruntime.InferenceSession("iris.onnx", providers=["CPUExecutionProvider"])
        >>> label, probabilities = session.run(None, {"X": X})
        >>> label.shape, probabilities.shape, bool((label == model.predict(X)).all())
        ((150,), (150, 3), True)
        """
        from ..exchange import onnx_estimators  # noqa: PLC0415

        check_is_fitted(self)
        onnx_estimators.classifier_to_onnx(path, self, custom)

    def to_c(
        self, path: Any, *, name: str | None = None, custom: Mapping[str, str] | None = None
    ) -> None:
        """Write the classifier to a C file with the functions predict and classify.

        ``<name>_predict`` is that of `Network.to_c`. ``int <name>_classify(const float x[n_features])``
        returns the index of the class in ``<name>_labels``, a table of strings or numbers. With several
        labels for each row, ``void <name>_classify(const float x[n_features], int labels[n_labels])``
        writes a 0 or a 1 for each.

        Parameters
        ----------
        path, name, custom
            As in `Network.to_c`.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError, TypeError, OSError
            As in `Network.to_c`; also if a class is a number that is not an int64.

        Examples
        --------
        >>> import gpubp, pathlib
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = gpubp.MLPClassifier((10,), solver="lbfgs", tol=0.01, random_state=0)
        >>> model.fit(X, load_iris().target_names[y]).to_c("iris.c")
        >>> text = pathlib.Path("iris.c").read_text()
        >>> "int iris_classify(const double x[4]);" in text, '"versicolor"' in text
        (True, True)
        """
        from ..exchange import c_estimators  # noqa: PLC0415

        check_is_fitted(self)
        c_estimators.classifier_to_c(path, self, name, custom)


class RegressorExports:
    """The part of `MLPRegressor` that writes files which other programs run."""

    network_: Network

    def to_onnx(self, path: Any, *, custom: Mapping[str, Callable[..., str]] | None = None) -> None:
        """Write the regressor to an .onnx file, with the names of skl2onnx.

        The input is "X" of shape (rows, n_features), in the network's dtype. The output is "variable" of
        shape (rows, n_outputs): what `predict` returns, as a column if there is one output.

        Parameters
        ----------
        path, custom
            As in `Network.to_onnx`.

        Raises
        ------
        NotFittedError
            If the regressor is not fitted.
        ImportError, ValueError, TypeError, OSError
            As in `Network.to_onnx`.

        Examples
        --------
        >>> import gpubp, onnxruntime
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = gpubp.MLPRegressor(hidden_layer_sizes=5, solver="lbfgs", alpha=10, tol=1)
        >>> model.set_params(random_state=0).fit(X, y).to_onnx("diabetes.onnx")
        >>> session = onnxruntime.InferenceSession("diabetes.onnx", providers=["CPUExecutionProvider"])
        >>> (variable,) = session.run(None, {"X": X})
        >>> variable.shape, bool(abs(variable[:, 0] - model.predict(X)).max() < 0.01)
        ((442, 1), True)
        """
        from ..exchange import onnx_estimators  # noqa: PLC0415

        check_is_fitted(self)
        onnx_estimators.regressor_to_onnx(path, self, custom)

    def to_c(
        self, path: Any, *, name: str | None = None, custom: Mapping[str, str] | None = None
    ) -> None:
        """Write the regressor to a C file that predicts.

        Parameters
        ----------
        path, name, custom
            As in `Network.to_c`.

        Raises
        ------
        NotFittedError
            If the regressor is not fitted.
        ValueError, TypeError, OSError
            As in `Network.to_c`.

        Examples
        --------
        >>> import gpubp, pathlib
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = gpubp.MLPRegressor(hidden_layer_sizes=5, solver="lbfgs", alpha=10, tol=1)
        >>> model.set_params(random_state=0).fit(X, y).to_c("diabetes.c")
        >>> text = pathlib.Path("diabetes.c").read_text()
        >>> "void diabetes_predict(const double x[10], double out[1]);" in text
        True
        """
        check_is_fitted(self)
        self.network_.to_c(path, name=name, custom=custom)
