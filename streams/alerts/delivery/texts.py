"""Writes what people read of an incident: subject, plain text, HTML, and text for chats. Pure.

Rule names, keywords, words and posts come from strangers. Each is isolated from the direction of the text around it,
has no control characters, and mentions nobody in chats.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from html import escape
from typing import Final
from urllib.parse import quote, urlsplit

from connectors.notify.message import Message
from streams.alerts.engine.series import CLEARED, NO_DATA, RULE_CHANGED
from streams.alerts.isolation import balanced, isolated, one_line, without_mentions
from streams.characters import cut
from streams.records import ALL_KEYWORDS, AlertPost, AlertRecord, Timestamp
from streams.wording import counted

MAX_POSTS: Final = 3
MAX_POST_CHARS: Final = 280
MAX_WORDS: Final = 8
MAX_SUBJECT_CHARS: Final = 180

_BECAUSE: Final = {
    CLEARED: "the value is no longer beyond the limit",
    NO_DATA: "there is no data any more",
    RULE_CHANGED: "the rule was changed, disabled or removed",
}
_PLAIN_KEYWORD: Final = re.compile(r"[^\W_][\w .,+#&-]*")
"""A keyword that can be a part of a command."""

_MARKS: Final = re.compile(r"@(?=all|channel|everyone|here)|[\[\]]", re.IGNORECASE)
"""What mentions everybody, or is a mark of Markdown, in an address."""

Show = Callable[[str], str]


def key_of(incident: str, event: str) -> str:
    """Returns `<incident>/<event>`, in which all but printable ASCII characters are percent-encoded, and `%` too."""
    return quote(f"{incident}/{event}", safe="".join(map(chr, range(0x21, 0x7F))).replace("%", ""))


def message_of(record: AlertRecord, *, public_url: str | None = None, picture: bytes | None = None) -> Message:
    """Returns the message of an event of an incident.

    Args:
        record: the event.
        public_url: the address of the HTTP service for people; None for no link.
        picture: the chart as PNG; None for none.
    """
    return Message(
        key=key_of(record.incident, record.event),
        reply_to="" if record.event == "opened" else key_of(record.incident, "opened"),
        subject=subject(record),
        chat_subject=without_mentions(subject(record)),
        text="\n".join(_lines(record, public_url, isolated)) + "\n",
        chat="\n".join(_lines(record, public_url, lambda text: without_mentions(isolated(text)))),
        html=_html(record, public_url, has_picture=picture is not None),
        body=record.to_json(),
        picture=picture,
    )


def subject(record: AlertRecord) -> str:
    """Returns one line: how urgent it is, and what has happened."""
    if record.event == "opened":
        text = f"{record.severity}: {one_line(record.reason.summary)}"
    else:
        text = f"ended: {isolated(record.rule_name)}, {_keyword(record, isolated)}"
    line = f"[emostream] {text}"
    return balanced(line if len(line) <= MAX_SUBJECT_CHARS else cut(line, MAX_SUBJECT_CHARS - 1) + "…")


def link_of(record: AlertRecord, public_url: str) -> str:
    """Returns the address of the incident on the dashboard."""
    return f"{public_url}/alerts?incident={quote(record.incident, safe='')}"


def _lines(record: AlertRecord, public_url: str | None, show: Show) -> list[str]:
    reason = record.reason
    lines = [_headline(record, show), "", *_facts(record)]
    if record.event == "opened":
        if words := _words(record, show):
            lines += ["", "Words that are more frequent than before (posts now / before):", f"  {words}"]
        if reason.examples:
            lines += ["", "Posts:"]
            for post in reason.examples[:MAX_POSTS]:
                lines.append(f"- {_post(post, show)}")
                if post.url is not None and _is_plain_url(post.url):
                    lines.append(f"  {post.url if show is isolated else _in_chat(post.url)}")
        if reason.note:
            lines += ["", one_line(reason.note)]
    lines += ["", f"Rule: {show(record.rule_name)} ({record.rule}, {record.severity})"]
    if public_url is not None:
        lines.append(f"Dashboard: {link_of(record, public_url)}")
    if record.event == "opened":
        lines.append(f"To mute it for two hours: {_mute_command(record)}")
    return lines


def _headline(record: AlertRecord, show: Show) -> str:
    if record.event == "opened":
        summary = balanced(one_line(record.reason.summary))
        return without_mentions(summary) if show is not isolated else summary
    because = record.ended_because or ""
    return f"The incident of {_keyword(record, show)} has ended: {_BECAUSE.get(because) or show(because)}."


def _keyword(record: AlertRecord, show: Show) -> str:
    return "all posts" if record.keyword == ALL_KEYWORDS else show(record.keyword)


def _facts(record: AlertRecord) -> list[str]:
    reason, number = record.reason, _unit(record)
    lines = [f"Since {_time(record.began)}, certain at {_time(record.decided)}"]
    if record.ended is not None:
        lines.append(f"Ended at {_time(record.ended)}")
    lines.append(
        f"Value: {number(reason.value)}, of {counted(reason.posts, 'post')} "
        f"(95 % interval: {number(reason.low)} to {number(reason.high)})"
    )
    if reason.usual is not None:
        away = "" if reason.z is None else f", {abs(reason.z):.1f} robust standard deviations away"
        lines.append(f"Usual at this hour: {number(reason.usual)} (from {counted(reason.hours, 'hour')}{away})")
    lines.append(f"Limit: {record.direction} {number(reason.limit)}")
    return lines


def _unit(record: AlertRecord) -> Callable[[float], str]:
    if record.measure == "volume":
        return lambda value: f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"
    return lambda value: f"{value:.1f} %"


def _time(moment: Timestamp) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _words(record: AlertRecord, show: Show) -> str:
    words = [word for word in record.reason.words if word.score > 0][:MAX_WORDS]
    return ", ".join(f"{show(word.word)} ({word.now:,} / {word.before:,})" for word in words)


def _post(post: AlertPost, show: Show) -> str:
    text = one_line(post.text or "")
    short = text if len(text) <= MAX_POST_CHARS else cut(text, MAX_POST_CHARS - 1) + "…"
    label = [] if post.label is None else [show(post.label)]
    facts = ", ".join([*label, show(post.source), _time(post.created_at)])
    return f"{show(short) if short else 'without a text'} ({facts})"


def _is_plain_url(url: str | None) -> bool:
    """Returns whether an address leads to where it seems to lead: `https://bank.example@other.example/` does not."""
    if url is None or re.fullmatch(r"[!#-;=?-Z\[\]_a-z~%]{1,2000}", url) is None:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:  # of an unpaired bracket
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc


def _in_chat(url: str) -> str:
    """Returns an address that mentions nobody and hides no link, and still leads to the same place.

    A word after `@` in a path stays: it is the author, in addresses of Mastodon.
    """
    parts = urlsplit(url)
    path = len(parts.scheme) + len("://") + len(parts.netloc)
    return url[:path] + _MARKS.sub(lambda found: quote(found[0]), url[path:])


def _mute_command(record: AlertRecord) -> str:
    command = f"emostream alerts mute {record.rule} --for 2h"
    if record.keyword == ALL_KEYWORDS or not _PLAIN_KEYWORD.fullmatch(record.keyword):
        return command
    return f"{command} --keyword {shlex.quote(record.keyword)}"


def _html(record: AlertRecord, public_url: str | None, *, has_picture: bool) -> str:
    """Returns the lines as HTML. Each text of a stranger is isolated by its characters, which mail programs obey."""
    parts = ['<html><head><meta charset="utf-8"></head><body dir="ltr" style="font-family: sans-serif">']
    paragraph: list[str] = []
    for index, line in enumerate([*_lines(record, public_url, isolated), ""]):
        if line:
            paragraph.append(_linked(line))
            continue
        parts.append(f"<p>{'<br>'.join(paragraph)}</p>")
        paragraph = []
        if has_picture and index == 1:
            parts.append('<p><img src="cid:chart" alt="Chart of the incident" style="max-width: 100%"></p>')
    return "\n".join([*parts, "</body></html>", ""])


def _linked(line: str) -> str:
    before, _, url = line.rpartition(" ")
    if _is_plain_url(url) and before.strip() in ("", "Dashboard:"):
        return f'{escape(before)} <a href="{escape(url)}">{escape(url)}</a>'
    return escape(line)
