"""Values in error messages, which stay short whatever a user has passed."""

from __future__ import annotations

import reprlib

__all__ = ["shortened", "shown"]

LONGEST = 80
"""The most characters of a value in a message."""


def shown(value: object) -> str:
    """Return a value's repr on one line, shortened if it is long.

    Only the first entries of a long list or string are looked at. A value whose repr fails, such as an
    integer of more digits than Python prints, is named by its type.
    """
    try:
        return shortened(_short.repr(value))
    except Exception:
        return f"<{type(value).__name__}>"


def shortened(text: object) -> str:
    """Return a text, such as another library's message, on one line and shortened if it is long."""
    line = " ".join(str(text).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."


_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = LONGEST
