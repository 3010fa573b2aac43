"""Makes texts of strangers harmless in messages: their direction, control characters, and mentions. Pure."""

from __future__ import annotations

import re
from typing import Final

FSI: Final = "\u2068"
PDI: Final = "\u2069"

_ISOLATES: Final = "\u2066\u2067\u2068"
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_MENTIONS: Final = re.compile(r"@(?=[\w!&<])|<(?=[!@#&/\w])|\](?=[(\[:])")
_REMOVED: Final = dict.fromkeys(map(ord, _ISOLATES + PDI))
_GAP: Final = "\u200b"


def one_line(text: str) -> str:
    """Returns a text in one line, without control characters."""
    return _CONTROLS.sub(" ", text).strip()


def balanced(text: str) -> str:
    """Returns a text that opens and closes the same isolates: what it leaves open would reach the text behind it."""
    depth, kept = 0, []
    for character in text:
        if character in _ISOLATES:
            depth += 1
        elif character == PDI:
            if depth == 0:
                continue
            depth -= 1
        kept.append(character)
    return "".join(kept) + PDI * depth


def isolated(text: str) -> str:
    """Returns a text in one line, isolated from the direction of the text around it (UAX 9, First Strong Isolate).

    Embeddings and overrides in it end with the isolate. Line breaks would end the isolate, and become spaces.
    """
    return f"{FSI}{balanced(one_line(text))}{PDI}"


def without_isolates(text: str) -> str:
    """Returns a text without isolates, for terminals and logs, which show them as escapes."""
    return text.translate(_REMOVED)


def without_mentions(text: str) -> str:
    """Returns a text that mentions nobody and hides no link in chats: a zero-width space parts what would.

    This holds for `@everyone`, for `<!channel>` and `<@U123>` of Slack, and for `[text](link)` of Markdown.
    """
    return _MENTIONS.sub(lambda found: found[0] + _GAP, text)
