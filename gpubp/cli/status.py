"""Exit statuses of the commands, as a shell knows them."""

__all__ = ["INTERRUPTED"]

INTERRUPTED = 130
"""The status after Ctrl-C: 128 and the number of SIGINT."""
