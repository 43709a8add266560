"""Classifiers as C files that predict a class."""

from __future__ import annotations

from typing import Any

from ..kernels.messages import shown
from .c_network import CFile
from .c_text import c_number, c_string
from .labels import label_values

__all__ = ["classifier_to_c"]


def classifier_to_c(path: Any, classifier: Any, name: Any, custom: Any) -> None:
    """Write a fitted classifier as `MLPClassifier.to_c` describes it."""
    network = classifier.network_
    file = CFile(path, network, name, custom)
    width, half = network.sizes[-1], c_number(0.5, network.dtype)
    if classifier.multilabel_:
        function = f"void {file.name}_classify({file.arguments}, int labels[{width}])"
        told = "Writes a 0 or a 1 for each label of one row."
        choose = [
            f"    for (int i = 0; i < {width}; ++i)",
            f"        labels[i] = out[i] > {half};",
        ]
    else:
        labels = label_values(classifier).tolist()
        for label in labels:
            if isinstance(label, str) and "\0" in label:
                raise ValueError(f"classes_ has {shown(label)}, expected strings without NUL for C")
        table = f"const {_kind(labels)} {file.name}_labels[{len(labels)}]"
        file.declarations += ["", f"extern {table};"]
        file.definitions += ["", f"{table} = {{", *(f"    {_label(v)}," for v in labels), "};"]
        function = f"int {file.name}_classify({file.arguments})"
        told = f"Returns the index of the row's class in {file.name}_labels."
        choose = _index(width, len(labels), half)
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


def _index(width: int, classes: int, half: str) -> list[str]:
    """Return the lines that find the index of the class in the outputs."""
    if classes == 1:
        return ["    return 0;"]
    if width == 1:
        return [f"    return out[0] > {half};"]
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
