"""The parser of the command line: argparse's, with short errors and help as wide as the terminal."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import textwrap
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from ..synonyms import our_arguments, our_name
from .ending import last_line
from .status import WRONG_ARGUMENTS

__all__ = ["Parser", "complete", "either", "near", "not_among"]


class _Formatter(argparse.HelpFormatter):
    """argparse's formatter, which keeps names with hyphens and text of several lines whole."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return "".join(f"{indent}{line}" for line in text.splitlines(keepends=True))
        return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):  # the commands alone, without "COMMAND"
            return "".join(map(super()._format_action, action._get_subactions()))
        return super()._format_action(action)


class Parser(argparse.ArgumentParser):
    """argparse's parser, whose errors are one sentence without the usage of all options."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(formatter_class=_Formatter, **keywords)
        self._positionals.title = "arguments"

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, and refuse what is left over: here its command, and with it the options, are known."""
        found, left = super().parse_known_args(args, namespace)
        if left:
            options = [
                name
                for action in self._actions
                for name in action.option_strings
                if name.startswith("--")
            ]
            kind = "option" if left[0].startswith("-") else "argument"
            typed = left[0].partition("=")[0]
            ours = [name for name in our_options(typed) if name in options]
            hint = f"did you mean {ours[0]!r}?" if ours else near(typed, options, cutoff=0.7)
            hint = hint or f"{self.prog} --help lists what it has"
            self.error(f"unknown {kind} {typed}; {hint}")
        return found, left

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = None if action.choices is None else [str(choice) for choice in action.choices]
        if choices is None or value in choices:
            return
        if isinstance(action, argparse._SubParsersAction):
            hint = near(value, choices) or f"expected {either(choices)}"
            raise argparse.ArgumentError(action, f"unknown command {value}; {hint}")
        option = action.option_strings[-1] if action.option_strings else str(action.metavar)
        raise argparse.ArgumentError(action, not_among(option, value, choices))

    def _print_message(self, message: str, file: Any = None) -> None:
        stream = sys.stderr if file is None else file
        if stream is not None:
            stream.write(message)  # argparse ignores an error here

    def error(self, message: str) -> NoReturn:
        """Print one sentence, and end with the status of wrong arguments."""
        # argparse puts "argument --epochs: " before what the option's type says, which names it too.
        message = re.sub(r"^argument ([^:]+): (?=\1|unknown )", "", message)
        message = re.sub(r"^argument ([^:]+): expected", r"\1 has no value, expected", message)
        message = re.sub(r"^argument ([^:]+): (?=not allowed)", r"\1 is ", message)
        before, _, missing = message.partition("the following arguments are required: ")
        if missing and not before:
            *others, last = missing.split(", ")
            told = f"{', '.join(others)} and {last} are" if others else f"{last} is"
            message = f"{told} missing; see {self.prog} --help"
        raise SystemExit(last_line(f"{self.prog}: {message}", WRONG_ARGUMENTS))


def our_options(typed: str) -> list[str]:
    """Return the options that may be what others call `typed`: --learning-rate for --lr."""
    return [
        f"--{name.replace('_', '-')}"
        for names in our_arguments(typed)
        for name in names.split(" and ")
    ]


def not_among(option: str, typed: str, known: Iterable[str], kind: str = "") -> str:
    """Say that the value of an option is not one of the known names.

    Suggest gpubp's name for what others call so, if names of this kind (such as "activation") are known;
    else the nearest name, or list all.
    """
    known = list(known)
    ours = our_name(kind, typed, known)
    hint = f"gpubp calls it {ours!r}" if ours else near(typed, known)
    return (
        f"{option} is {typed}; {hint}" if hint else f"{option} is {typed}, expected {either(known)}"
    )


def near(typed: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the question "did you mean 'train'?" with the nearest known word, or "" if none is near."""
    found = difflib.get_close_matches(typed, sorted(known), 1, cutoff)
    return f"did you mean {found[0]!r}?" if found else ""


def either(names: Iterable[str]) -> str:
    """Return "auto, numpy or cupy"."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def complete(action: argparse.Action, words: Callable[..., Iterable[str]]) -> None:
    """Set what completes an option's value in a shell.

    Parameters
    ----------
    action : argparse.Action
        What `add_argument` returned.
    words : callable
        A function that argcomplete calls with keywords, such as `prefix`; it returns the words.
    """
    action.completer = words  # type: ignore[attr-defined]
