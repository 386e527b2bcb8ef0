"""The commands that a text tells its reader to type, as lists of words."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

_BLOCK = re.compile(r"^ *```sh\n(?P<lines>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(?P<line>(?:\.venv/bin/wake|make|kubectl|kn|sql) [^`]+)`")

_SUBSTITUTED = re.compile(r"\$\((?P<line>[^()]+)\)")


def typed(file: Path) -> Iterator[list[str]]:
    """Each command of a text: of its shell blocks, line by line, through pipes and in `$(…)`, and between backticks."""
    text = file.read_text()
    lines = [line for block in _BLOCK.finditer(text) for line in block["lines"].splitlines()]
    lines += [match["line"] for line in lines for match in _SUBSTITUTED.finditer(line)]
    lines += [match["line"] for match in _INLINE.finditer(_BLOCK.sub("", text))]
    for line in lines:
        words: list[str] = []
        for word in shlex.split(line, comments=True):
            if word in {"|", "&&"}:
                yield words
                words = []
            else:
                words.append(word)
        yield words


def of(program: str, folder: Path) -> list[list[str]]:
    """What is typed of one program in every text of a folder, without the program's name."""
    found = [words for file in sorted(folder.rglob("*.md")) for words in typed(file) if words]
    return [words[1:] for words in found if words[0].removeprefix(".venv/bin/") == program]
