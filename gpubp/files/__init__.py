"""Safetensors files: written whole or not at all, and checked before they are read."""

from .header import Entry, parse_json
from .names import about_file, check_is_file, corrupt, file_name
from .tensors import TensorFile, write_tensors
from .whole import write_whole

__all__ = [
    "Entry",
    "TensorFile",
    "about_file",
    "check_is_file",
    "corrupt",
    "file_name",
    "parse_json",
    "write_tensors",
    "write_whole",
]
