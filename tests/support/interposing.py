"""Replace functions of Cython modules by Python functions.

Cython modules call each other through function pointers. Each module lists its pointers, with their
signatures, in `__pyx_capi__`. For each function, `interpose` writes a C function of the same signature that
calls a Python function, and puts its pointer into the list. Modules that are imported later use it.
"""

from __future__ import annotations

import atexit
import ctypes
import re
from collections.abc import Callable, Mapping
from typing import Any

from .compiling import cache_directory, library, load

__all__ = ["interpose"]

_TYPES = {
    "PyObject *": "PyObject *", "int": "int", "unsigned int": "unsigned", "intptr_t": "intptr_t",
    "size_t": "size_t", "uintmax_t": "uintmax_t", "float": "float", "CUdevice": "int",
    "cudaMemcpyKind": "int",
}  # fmt: skip

_ON_ERROR = {
    **{"PyObject *": "nullptr", "intptr_t": "0", "int": "-1", "size_t": "-1", "float": "0"},
    **{"unsigned": "0", "funcGetAttribute": "-2", "streamGetPriority": "0"},
}
"""What a function returns after an exception, as CuPy declares it; by its return type or by its name."""

_PREAMBLE = r"""
#include <stddef.h>
#include <stdint.h>
#include <type_traits>

struct PyObject;
extern "C" {
PyObject *PyLong_FromLongLong(long long), *PyTuple_New(ptrdiff_t);
PyObject *PyObject_CallObject(PyObject *, PyObject *);
long long PyLong_AsLongLong(PyObject *);
double PyFloat_AsDouble(PyObject *);
int PyTuple_SetItem(PyObject *, ptrdiff_t, PyObject *);
void Py_IncRef(PyObject *), Py_DecRef(PyObject *);
PyObject *Py_BuildValue(const char *, ...);
extern PyObject *trampoline_answers[];
int trampolines_closed;
}

struct Optional { int given, value; };  // Cython's, for one optional argument

static PyObject *object(PyObject *value) { Py_IncRef(value); return value; }
template <class T> PyObject *object(T value) { return PyLong_FromLongLong((long long)value); }
static PyObject *object(const Optional *value) {
    return PyLong_FromLongLong(value && value->given ? value->value : 0);
}

template <class R, class... A> R call(int which, R on_error, A... arguments) {
    if (trampolines_closed) {  // Python is going away, and what CuPy gives back goes with the process
        if constexpr (std::is_pointer_v<R>) return Py_BuildValue("");
        else return 1;
    }
    PyObject *tuple = PyTuple_New(sizeof...(A));
    ptrdiff_t k = 0;
    ((void)PyTuple_SetItem(tuple, k++, object(arguments)), ...);
    PyObject *result = PyObject_CallObject(trampoline_answers[which], tuple);
    Py_DecRef(tuple);
    if (!result) return on_error;
    if constexpr (std::is_pointer_v<R>) return result;
    else {
        const bool floats = std::is_floating_point_v<R>;
        const R value = floats ? R(PyFloat_AsDouble(result)) : R(PyLong_AsLongLong(result));
        Py_DecRef(result);
        return value;
    }
}
"""


_kept: list[Any] = []  # objects that other modules have pointers to


def interpose(module: Any, functions: Mapping[str, Callable[..., Any]]) -> None:
    """Replace the module's functions of these names, for callers in Python and in Cython.

    Functions that the module does not have are ignored.
    """
    offered: dict[str, Any] = getattr(module, "__pyx_capi__", {})
    names = [name for name in functions if name in offered]
    signatures = {name: _capsule_name(offered[name]) for name in names}
    text = [_PREAMBLE]
    for k, name in enumerate(names):
        text.append(_trampoline(k, name, signatures[name].decode()))
    text.append(f'extern "C" {{ PyObject *trampoline_answers[{len(names) + 1}]; }}\n')
    loaded = load(library("".join(text), cache_directory(), ("-O1", "-std=c++17", "-fPIC")))
    answers = (ctypes.py_object * (len(names) + 1)).in_dll(loaded, "trampoline_answers")
    for k, name in enumerate(names):
        answers[k] = functions[name]
        pointer = ctypes.cast(getattr(loaded, f"answer_{name}"), ctypes.c_void_p).value
        offered[name] = _capsule(pointer, signatures[name])
    for name, function in functions.items():
        if hasattr(module, name):
            setattr(module, name, function)
    atexit.register(setattr, ctypes.c_int.in_dll(loaded, "trampolines_closed"), "value", 1)
    _kept.append((loaded, signatures, answers))


def _trampoline(k: int, name: str, signature: str) -> str:
    """Write a C function of Cython's `signature` that calls answer number k.

    A signature reads "intptr_t (size_t, int __pyx_skip_dispatch)". After the arguments come a flag, which
    is dropped, and a struct of optional arguments.
    """
    match = re.fullmatch(r"(.*?)\s*\((.*)\)", signature)
    assert match is not None, signature
    result, declared = _c_type(match[1]), [d.strip() for d in match[2].split(",")]
    parameters, arguments = [], []
    for declaration in declared:
        if declaration in ("", "void"):
            continue
        variable = f"a{len(parameters)}"
        if "__pyx_optional_args" in declaration:
            parameters.append(f"const Optional *{variable}")
        else:
            parameters.append(f"{_c_type(declaration)} {variable}")
        if "__pyx_skip_dispatch" not in declaration:
            arguments.append(variable)
    on_error = _ON_ERROR.get(name, _ON_ERROR[result])
    values = "".join(f", {argument}" for argument in arguments)
    return (
        f'extern "C" {result} answer_{name}({", ".join(parameters)}) {{\n'
        f"    return call<{result}>({k}, static_cast<{result}>({on_error}){values});\n}}\n"
    )


def _c_type(declaration: str) -> str:
    declaration = declaration.replace("__pyx_skip_dispatch", "").strip()
    if declaration.startswith("struct ") and declaration.endswith("*"):
        return "PyObject *"
    if declaration not in _TYPES:
        raise ImportError(f"a function of CuPy's has the unknown type {declaration}")
    return _TYPES[declaration]


_python = ctypes.pythonapi
_python.PyCapsule_GetName.restype = ctypes.c_char_p
_python.PyCapsule_GetName.argtypes = (ctypes.py_object,)
_python.PyCapsule_New.restype = ctypes.py_object
_python.PyCapsule_New.argtypes = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p


def _capsule_name(capsule: Any) -> bytes:
    return bytes(_python.PyCapsule_GetName(capsule))


def _capsule(pointer: int | None, name: bytes) -> Any:
    """Make a capsule as Cython does; `name` must outlive it."""
    return _python.PyCapsule_New(pointer, name, None)
