"""Errors that are not mistakes, and how much an error says."""

from __future__ import annotations

LONGEST = 500  # characters of a message


class Stopped(Exception):
    """Work was asked to stop (Ctrl-C, SIGTERM) and has saved its state."""


def shorten(message: object, most: int = LONGEST) -> str:
    """A message as UTF-8 text of at most so many characters; what is too much goes from its middle."""
    text = printable(str(message))
    if len(text) <= most:
        return text
    kept = most - len(" [...] ")
    return f"{text[: kept - kept // 3]} [...] {text[-(kept // 3) :]}"


def printable(text: str) -> str:
    """The text with what UTF-8 cannot hold (of file names in other encodings, say) as backslashed numbers."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
