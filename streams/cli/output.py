"""Writes lines to standard output, for pipes and terminals.

Posts come from strangers, so control characters are escaped before a terminal could act on them. If the reader of
standard output goes away, the program ends without an error message.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

BROKEN_PIPE = 141
"""Exit code if the reader of standard output has gone: 128 and the number of SIGPIPE, as shells have it."""

# Characters that a terminal might act on, or that make text look like other text: control characters (C0, DEL, C1),
# soft hyphens, zero-width and bidirectional formatting, line separators, lone surrogates and invisible tags. The
# joiners U+200C and U+200D are not among them, because emoji and several scripts need them.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
_NO_SINGLE_SPACE = re.compile(r"[^\S ]|(?<= ) ")


def escaped(text: str) -> str:
    r"""Returns `text` with escapes of what is not safe for a terminal: ESC is written as `\x1b`."""
    return _UNSAFE.sub(_escaped, text)


def printable(text: str) -> str:
    """Returns `text` on one line, safe for a terminal: runs of white space are one space, and the rest is `escaped`."""
    return escaped(" ".join(text.split()))


def printable_name(text: str) -> str:
    r"""Returns a name, such as a keyword, on one line and safe for a terminal.

    Names that differ in white space look different: what is no single space is escaped, such as `\xa0` for a no-break
    space, and `\x20` for the second of two spaces.
    """
    return escaped(_NO_SINGLE_SPACE.sub(lambda match: "\\x20" if match[0] == " " else _escaped(match), text))


def _escaped(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]


def printable_json(document: str) -> str:
    r"""Returns a valid JSON document on one line, safe for a terminal, with the same content.

    Valid JSON has raw control characters between tokens only, and a space can replace them there. It has all other
    unsafe characters in strings only, and an escape such as `\u009b` can replace them there.
    """
    return _UNSAFE.sub(lambda match: _escape(match[0]), document.translate(_WHITE_SPACE))


_WHITE_SPACE = {ord(character): " " for character in "\t\n\r"}


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


@contextmanager
def quiet_pipe() -> Iterator[None]:
    """Exit with `BROKEN_PIPE`, without a message, if the reader of standard output has gone.

    Python flushes standard output at exit and would print an error then, so standard output is redirected to /dev/null.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        # click itself would exit with 1.
        raise SystemExit(BROKEN_PIPE) from None
