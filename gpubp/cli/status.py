"""Exit statuses of the commands, as a shell knows them, and the error of wrong arguments."""

__all__ = ["CLOSED_PIPE", "FAILED", "INTERRUPTED", "WRONG_ARGUMENTS", "UsageError"]

FAILED = 1
"""The status after an error, which is printed in one sentence."""

WRONG_ARGUMENTS = 2
"""The status after an option or a value that the command does not have."""

INTERRUPTED = 130
"""The status after Ctrl-C: 128 and the number of SIGINT."""

CLOSED_PIPE = 141
"""The status when what reads the output has closed it, as `head` does: 128 and the number of SIGPIPE."""


class UsageError(ValueError):
    """Options do not fit together; the command ends with the status of wrong arguments."""
