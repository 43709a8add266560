"""Classifiers as C files that predict a class."""

from __future__ import annotations

from typing import Any

from .c_network import CFile
from .c_text import c_string
from .labels import label_values

__all__ = ["classifier_to_c"]


def classifier_to_c(path: Any, classifier: Any, name: Any, custom: Any) -> None:
    """Write a fitted classifier as `MLPClassifier.to_c` describes it."""
    network = classifier.network_
    file = CFile(path, network, name, custom)
    width = network.sizes[-1]
    if classifier._multilabel:
        function = f"void {file.name}_classify({file.arguments}, int labels[{width}])"
        told = "Writes a 0 or a 1 for each label of one row."
        choose = [
            f"    for (int i = 0; i < {width}; ++i)",
            "        labels[i] = out[i] > 0.5f;",
        ]
    else:
        labels = label_values(classifier).tolist()
        table = f"const {_kind(labels)} {file.name}_labels[{len(labels)}]"
        file.declarations += ["", f"extern {table};"]
        file.definitions += ["", f"{table} = {{", *(f"    {_label(v)}," for v in labels), "};"]
        function = f"int {file.name}_classify({file.arguments})"
        told = f"Returns the index of the row's class in {file.name}_labels."
        choose = _index(width, len(labels))
    file.declarations += ["", f"/* {told} */", f"{function};"]
    file.definitions += [
        "",
        function,
        "{",
        f"    {file.type} out[{width}];",
        f"    {file.name}_predict(x, out);",
        *choose,
        "}",
    ]
    file.write()


def _index(width: int, classes: int) -> list[str]:
    """Return the lines that find the index of the class in the outputs."""
    if classes == 1:
        return ["    return 0;"]
    if width == 1:
        return ["    return out[0] > 0.5f;"]
    return [
        "    int best = 0;",
        f"    for (int i = 1; i < {width}; ++i)",
        "        if (out[i] > out[best])",
        "            best = i;",
        "    return best;",
    ]


def _kind(labels: list[Any]) -> str:
    if isinstance(labels[0], str):
        return "char *const"
    return "long" if all(abs(label) < 2**31 for label in labels) else "long long"


def _label(label: Any) -> str:
    if isinstance(label, str):
        return c_string(label)
    return str(label) if label > -(2**63) else f"{label + 1} - 1"  # the least is no constant in C
