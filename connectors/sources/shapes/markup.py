"""HTML and character references become the text that people see. Pure."""

from __future__ import annotations

import html
import re
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode

_REFERENCE: Final = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_WHITE_SPACE: Final = re.compile(r"[ \t\n\f\r]+")
_NOT_HTML: Final = re.compile("[\0\ud800-\udfff]")
"""Characters that an HTML parser drops or cannot read."""

_PRIVATE: Final = range(0x100000, 0x10FFFE)
"""Code points of a plane for private use, which an HTML parser leaves alone."""

_PARAGRAPHS: Final = frozenset({"blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "table", "ul"})
_LINES: Final = frozenset(
    {"address", "article", "aside", "dd", "div", "dl", "dt", "figure", "footer", "header", "hr", "li", "main", "nav"}
    | {"section", "tr"}
)
_UNSEEN: Final = frozenset({"head", "iframe", "noscript", "object", "script", "style", "template", "title"})
_UNSEEN_CLASSES: Final = frozenset({"quote-inline"})
"""Classes of elements that a client of Mastodon does not show, because it shows the quoted post instead."""


def unescaped(text: str) -> str:
    """Replace character references such as `&amp;` and `&#39;` once.

    A reference ends with a semicolon. So `R&D` and `?a=1&copy=2` stay as they are.
    """
    return _REFERENCE.sub(lambda found: html.unescape(found[0]), text) if "&" in text else text


def html_text(markup: str) -> str:
    """Returns the text of HTML as people see it.

    A `br` and the borders of blocks become line breaks, two between paragraphs. Other white space becomes one blank,
    except in `pre`. Scripts and styles have no text. Characters that cannot be stored stay, so that they are counted
    where they are replaced.

    Args:
        markup: a fragment of HTML, or a text without any markup.
    """
    return html_text_and_hashtags(markup)[0]


def html_text_and_hashtags(markup: str) -> tuple[str, tuple[str, ...]]:
    """Returns the text of HTML, and the texts of the links that begin with `#`, without it.

    Args:
        markup: as for `html_text`.
    """
    if "<" not in markup and "&" not in markup:
        return _WHITE_SPACE.sub(" ", markup).strip(), ()
    stand_ins = _stand_ins(markup)
    body = LexborHTMLParser(markup.translate(stand_ins)).body
    if body is None:
        return "", ()
    found = _Text()
    found.add(body)
    originals = {stand_in: original for original, stand_in in stand_ins.items()}
    hashtags = dict.fromkeys(hashtag.translate(originals) for hashtag in found.hashtags)
    return found.result().translate(originals), tuple(hashtags)


def _stand_ins(markup: str) -> dict[int, int]:
    """Returns a private character that is not in the markup for each one that an HTML parser drops or cannot read."""
    unused = (code for code in _PRIVATE if chr(code) not in markup)
    return {ord(character): next(unused, 0xFFFD) for character in set(_NOT_HTML.findall(markup))}


class _Text:
    """Collects the text of a tree. It does not recurse, so that no depth of markup is too deep."""

    def __init__(self) -> None:
        self.hashtags: list[str] = []
        self._parts: list[str] = []
        self._breaks = 0
        self._blank = False

    def result(self) -> str:
        return "".join(self._parts).strip()

    def add(self, root: LexborNode) -> None:
        # A number on the stack is the line breaks at the end of a block; the truth value says whether a node is in pre.
        stack: list[tuple[LexborNode | int, bool]] = [(root, False)]
        while stack:
            node, kept = stack.pop()
            if isinstance(node, int):
                self._break(node)
            elif node.is_text_node:
                self._add_text(node.text_content or "", kept)
            elif (tag := node.tag) == "br":
                self._add_break()
            elif tag is not None and node.is_element_node and not _is_unseen(node, tag):
                if tag == "a":
                    self._add_hashtag(node)
                breaks = 2 if tag in _PARAGRAPHS else int(tag in _LINES)
                self._break(breaks)
                stack.append((breaks, kept))
                children = list(node.iter(include_text=True))
                stack.extend((child, kept or tag == "pre") for child in reversed(children))

    def _add_break(self) -> None:
        if self._parts:
            self._parts[-1] = self._parts[-1].rstrip(" ")
        self._parts.append("\n")
        self._blank = False

    def _break(self, count: int) -> None:
        self._breaks = max(self._breaks, count)

    def _add_text(self, text: str, kept: bool) -> None:
        if not kept:
            text = _WHITE_SPACE.sub(" ", text)
        at_start = bool(self._breaks) or not self._parts or self._parts[-1].endswith("\n")
        if not kept and (at_start or self._blank):
            text = text.lstrip(" ")
        if not text:
            return
        if self._breaks and self._parts:
            self._parts[-1] = self._parts[-1].rstrip(" ")
            self._parts.append("\n" * self._breaks)
        self._breaks = 0
        self._parts.append(text)
        self._blank = text.endswith(" ")

    def _add_hashtag(self, link: LexborNode) -> None:
        text = link.text().strip()
        if text.startswith("#") and len(text) > 1:
            self.hashtags.append(text[1:])


def _is_unseen(node: LexborNode, tag: str) -> bool:
    if tag in _UNSEEN:
        return True
    classes = (node.attributes.get("class") or "").split() if tag in {"p", "span"} else ()
    return not _UNSEEN_CLASSES.isdisjoint(classes)
