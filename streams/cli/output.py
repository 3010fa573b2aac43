"""Lines on standard output, for pipes and terminals alike.

What a stranger wrote must not steer the terminal, and a reader that goes away must not look like a failure.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

BROKEN_PIPE = 141

# What a terminal might act on, or that would make text look like other text: control characters (C0, DEL, C1), soft
# hyphens, zero-width and bidirectional formatting, line separators, lone surrogates, and invisible tags. The joiners
# U+200C and U+200D stay, because emoji and several scripts are spelt with them.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    r"""`text` on one line, safe for a terminal: white space collapsed, control characters written as `\x1b`."""
    return _UNSAFE.sub(lambda match: ascii(match[0])[1:-1], " ".join(text.split()))


def printable_json(document: str) -> str:
    r"""A valid JSON document on one line, safe for a terminal, and still the same document.

    Raw control characters occur in valid JSON between tokens only, where a space means the same; all other characters
    that are not for printing occur in strings only, where `\u009b` means the same.
    """
    return _UNSAFE.sub(lambda match: _escape(match[0]), document.translate(_WHITE_SPACE))


_WHITE_SPACE = {ord(character): " " for character in "\t\n\r"}


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


@contextmanager
def quiet_pipe() -> Iterator[None]:
    """End the program without a word, with code 141 as a shell expects, if the reader of standard output has gone.

    Python flushes standard output once more when it exits, and would complain again; by then it leads nowhere.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        # Left to itself, click would answer the error with code 1.
        raise SystemExit(BROKEN_PIPE) from None
