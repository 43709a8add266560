"""The command line: `gpubp train`, `predict`, `evaluate`, `trace`, `demo`, `info`, `bench`, `completion`.

A shell runs this module to complete a word. So the modules of commands import only light modules; when
they run, they import what they need.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]

STATUSES = """\
exit status:
  0    the command has done its work
  1    an error, which one sentence on standard error explains; or a contender
       of bench has failed
  2    an unknown command, option or value
  130  Ctrl-C
  141  what reads the output has closed it, as `head` does
  143  SIGTERM
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str or None
        The words after `gpubp`; None stands for those of the process.

    Returns
    -------
    int
        The exit status: 0; 1 after an error, which is printed in one sentence; 2 for an unknown command,
        option or value; 130 after Ctrl-C; 141 if what reads the output has closed it; 143 after SIGTERM.
    """
    command = ["gpubp"]

    def run() -> int:
        from .commands import command_line  # noqa: PLC0415 - as below

        options = command_line().parse_args(arguments)
        command.append(options.command)
        return int(options.run(options) or 0)

    try:
        from .ending import ended  # noqa: PLC0415 - Ctrl-C may come during an import
    except KeyboardInterrupt:
        return 130
    return ended(run, lambda: " ".join(command), is_process=arguments is None)
