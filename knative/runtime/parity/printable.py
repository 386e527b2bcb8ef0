"""What a server says, as a terminal may show it: it is a stranger's text, and must not move the cursor. Pure."""

from __future__ import annotations


def printable(text: str) -> str:
    """One line, with what is no character to look at (controls, line ends, marks of direction) as Python writes it."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
