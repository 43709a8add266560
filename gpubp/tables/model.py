"""A trained model of a table: it predicts from tables with the same columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..network import Network
from .columns import Column, used
from .preparation import prepared
from .reading import table_of
from .table import Table
from .targets import Target
from .values import Findings, check_columns, conform

__all__ = ["Model"]

CHUNK_BYTES = 2**26
"""About how much memory the inputs take that are predicted from at once."""


@dataclass(eq=False)
class Model:
    """A network, and what it needs to know of a table.

    Attributes
    ----------
    columns : list of Column
        What the columns are that it was trained with.
    target : Target
        What it predicts.
    preparation : sklearn.compose.ColumnTransformer
        Makes inputs of columns.
    network : gpubp.Network
        The network. Of a regression it predicts (y - target.mean) / target.scale.
    training : dict
        How it was trained: numbers of rows and epochs, costs, the validation score.

    Examples
    --------
    >>> import gpubp.tables
    >>> rows = {"petal": [1.4, 1.3, 1.5, 1.7, 4.7, 4.5, 4.9, 4.0] * 5}
    >>> rows["kind"] = (["setosa"] * 4 + ["virginica"] * 4) * 5
    >>> model = gpubp.tables.train(rows, "kind", hidden=(), learning_rate=0.1, epochs=30)
    >>> model.predict({"petal": [1.0, 5.0]}).tolist()
    ['setosa', 'virginica']
    >>> model.target.name, model.input_names, model.network.sizes
    ('kind', ['petal'], (1, 2))
    >>> model.training["rows"], model.training["held_out"]
    (36, 4)
    """

    columns: list[Column]
    target: Target
    preparation: Any
    network: Network
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def input_names(self) -> list[str]:
        """The names of the network's inputs."""
        return list(map(str, self.preparation.get_feature_names_out()))

    def save(self, path: Any) -> None:
        """Write the model to a file, whole or not at all.

        Parameters
        ----------
        path : path-like
            The file; skops' format. It holds no code and no pickle.

        Raises
        ------
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> import gpubp.tables
        >>> rows = {"petal": [1.4, 1.3, 1.5, 1.7, 4.7, 4.5, 4.9, 4.0] * 5}
        >>> rows["kind"] = (["setosa"] * 4 + ["virginica"] * 4) * 5
        >>> model = gpubp.tables.train(rows, "kind", hidden=(), learning_rate=0.1, epochs=30)
        >>> model.save("iris.skops")
        >>> gpubp.tables.load("iris.skops").predict({"petal": [1.0]}).tolist()
        ['setosa']
        """
        from .model_file import save  # noqa: PLC0415 (it imports this module)

        save(self, path)

    def predict(self, data: Any) -> Any:
        """Predict the target of each row.

        Parameters
        ----------
        data : DataFrame of polars or pandas, dict of columns, array of shape (rows, columns), or Table
            Rows with the columns that the model was trained with; others are ignored.

        Returns
        -------
        array of shape (rows,)
            Classes, or numbers in the target's unit.

        Raises
        ------
        ValueError
            If columns are missing or hold what they did not in training.

        Examples
        --------
        >>> import gpubp.tables
        >>> rows = {"petal": [1.4, 1.3, 1.5, 1.7, 4.7, 4.5, 4.9, 4.0] * 5}
        >>> rows["kind"] = (["setosa"] * 4 + ["virginica"] * 4) * 5
        >>> model = gpubp.tables.train(rows, "kind", hidden=(), learning_rate=0.1, epochs=30)
        >>> model.predict({"petal": [1.0, 5.0], "garden": ["north", "south"]}).tolist()
        ['setosa', 'virginica']
        """
        return np.concatenate([self.decide(outputs) for _, _, outputs in self.outputs(data)])

    def predict_proba(self, data: Any) -> Any:
        """Predict the probability of each class.

        Parameters
        ----------
        data
            As in `predict`.

        Returns
        -------
        array of shape (rows, classes)
            Probabilities, in the order of `target.classes`.

        Raises
        ------
        ValueError
            If the model predicts numbers, or columns are missing or hold what they did not in training.

        Examples
        --------
        >>> import gpubp.tables
        >>> rows = {"petal": [1.4, 1.3, 1.5, 1.7, 4.7, 4.5, 4.9, 4.0] * 5}
        >>> rows["kind"] = (["setosa"] * 4 + ["virginica"] * 4) * 5
        >>> model = gpubp.tables.train(rows, "kind", hidden=(), learning_rate=0.1, epochs=30)
        >>> p = model.predict_proba({"petal": [1.0, 5.0]})
        >>> p.shape, model.target.classes
        ((2, 2), ('setosa', 'virginica'))
        >>> bool(p[0, 0] > 0.9 and p[1, 1] > 0.9)
        True
        """
        if not self.target.classifies:
            raise ValueError("the model predicts numbers, expected one that predicts classes")
        return np.concatenate([outputs for _, _, outputs in self.outputs(data)])

    def decide(self, outputs: Any) -> Any:
        """Convert the network's outputs to classes, or to numbers in the target's unit.

        Parameters
        ----------
        outputs : array of shape (rows, n_out)
            What the network predicts.

        Returns
        -------
        array of shape (rows,)
            The classes, or float64 numbers.

        Examples
        --------
        >>> import gpubp.tables
        >>> rows = {"petal": [1.4, 1.3, 1.5, 1.7, 4.7, 4.5, 4.9, 4.0] * 5}
        >>> rows["kind"] = (["setosa"] * 4 + ["virginica"] * 4) * 5
        >>> model = gpubp.tables.train(rows, "kind", hidden=(), learning_rate=0.1, epochs=30)
        >>> import numpy as np
        >>> model.decide(np.array([[0.9, 0.1], [0.2, 0.8]])).tolist()
        ['setosa', 'virginica']
        """
        if self.target.classifies:
            return self.target.labels[outputs.argmax(axis=1)]
        return self.target.mean + self.target.scale * outputs[:, 0].astype(np.float64)

    def outputs(
        self, data: Any, findings: Findings | None = None, extra: tuple[str, ...] = ()
    ) -> Iterator[tuple[int, Any, Any]]:
        """Compute the network's outputs, for some rows after others.

        Parameters
        ----------
        data
            As in `predict`.
        findings : Findings, optional
            What is found in the rows is added.
        extra : tuple of str, default ()
            Further columns to read.

        Yields
        ------
        start : int
            The number of the first row.
        frame : polars.DataFrame
            The rows as they were read.
        outputs : array of shape (rows, n_out)
            The outputs for them.

        Raises
        ------
        ValueError
            If columns are missing or hold what they did not in training.

        Examples
        --------
        >>> import gpubp.tables
        >>> rows = {"petal": [1.4, 1.3, 1.5, 1.7, 4.7, 4.5, 4.9, 4.0] * 5}
        >>> rows["kind"] = (["setosa"] * 4 + ["virginica"] * 4) * 5
        >>> model = gpubp.tables.train(rows, "kind", hidden=(), learning_rate=0.1, epochs=30)
        >>> for start, frame, outputs in model.outputs({"petal": [1.0, 5.0]}):
        ...     print(start, frame.height, outputs.shape, model.decide(outputs).tolist())
        0 2 (2, 2) ['setosa', 'virginica']
        """
        table = data if isinstance(data, Table) else table_of(data)
        findings = Findings() if findings is None else findings
        check_columns(table.name, self.columns, table.schema)
        step = max(1024, CHUNK_BYTES // (8 * max(self.network.sizes)))
        for start in range(0, table.rows, step):
            stop = min(start + step, table.rows)
            raw = table.read(start, stop, list(dict.fromkeys([*used(self.columns), *extra])))
            frame = conform(table.name, raw, self.columns, findings, start)
            x = prepared(self.preparation, frame, self.network.dtype)
            yield start, raw, self.network.predict(x)
