"""What people read of an incident. No text of a stranger turns the text beside it, mentions anybody or adds a line."""

from __future__ import annotations

import json

import pytest

from connectors.notify.http import _slack_escaped
from connectors.notify.mail import Mail
from streams.alerts.delivery.texts import key_of, link_of, message_of, subject
from streams.alerts.delivery.trial import trial_message
from streams.alerts.engine.summary import opening
from streams.alerts.isolation import FSI, PDI, balanced, isolated, one_line, without_mentions
from streams.alerts.rules.rule import Rule
from streams.alerts.storage.stored import TOPIC_CHANNEL
from streams.records import AlertPost, AlertRecord, AlertWord, Timestamp
from tests.unit.alert_records import BEGAN, reason, record

OVERRIDE = "offer \u202eevil\u202c and \u2066left open"
"""An override, and an isolate that is left open."""

URL = "https://mood.example.com"


def test_the_message_of_a_begin() -> None:
    message = message_of(record(), public_url=URL)
    assert message.subject == f"[emostream] warning: anger rose to 41.3 % of 320 posts about {FSI}coffee{PDI}."
    assert (
        message.text
        == f"""anger rose to 41.3 % of 320 posts about {FSI}coffee{PDI}.

Since 2026-03-01 12:00 UTC, certain at 2026-03-01 12:10 UTC
Value: 41.2 %, of 320 posts (95 % interval: 36.0 % to 46.8 %)
Usual at this hour: 12.0 % (from 18 hours, 8.1 robust standard deviations away)
Limit: above 30.0 %

Words that are more frequent than before (posts now / before):
  {FSI}queue{PDI} (40 / 3)

Posts:
- {FSI}the queue!{PDI} ({FSI}anger{PDI}, {FSI}rss{PDI}, 2026-03-01 12:00 UTC)
  https://example.com/1

Rule: {FSI}Coffee makes angry{PDI} (angry-coffee, warning)
Dashboard: https://mood.example.com/alerts?incident=angry-coffee%7Ccoffee%7C300%7C2026-03-01T12%3A00%3A00.000Z
To mute it for two hours: emostream alerts mute angry-coffee --for 2h --keyword coffee
"""
    )
    assert AlertRecord.from_json(message.body) == record()
    assert message.key == "angry-coffee|coffee|300|2026-03-01T12:00:00.000Z/opened"
    assert message.reply_to == ""


def test_the_message_of_an_end() -> None:
    ended = record(event="closed", ended=BEGAN, ended_because="no data", keyword="*")
    message = message_of(ended)
    assert message.subject == f"[emostream] ended: {FSI}Coffee makes angry{PDI}, all posts"
    assert message.text.startswith("The incident of all posts has ended: there is no data any more.\n")
    assert "Ended at 2026-03-01 12:00 UTC" in message.text
    assert "mute" not in message.text
    assert message.reply_to == message_of(record()).key


def test_a_volume_has_posts_and_not_percent() -> None:
    text = message_of(record(measure="volume", label=None, reason=reason(value=1234.0, limit=500.5, usual=None))).text
    assert "Value: 1,234, of 320 posts" in text
    assert "Limit: above 500.5" in text
    assert "Usual" not in text


def test_a_long_post_is_cut_and_few_posts_are_shown() -> None:
    posts = tuple(AlertPost(str(n), "rss", BEGAN, f"post {n} " + "x" * 400, "anger") for n in range(5))
    text = message_of(record(reason=reason(examples=posts, note="A note."))).text
    assert [n for n in range(5) if f"post {n}" in text] == [0, 1, 2]
    assert max(len(line) for line in text.splitlines() if line.startswith("- ")) < 280 + 80
    assert "\nA note.\n" in text


def test_an_override_reaches_nothing_beside_it() -> None:
    stranger = OVERRIDE
    rule = Rule.model_validate(
        {"id": "r", "name": stranger, "keywords": [stranger], "window_s": 300, "measure": {"of": "volume"},
         "condition": {"type": "threshold", "limit": 30}}
    )  # fmt: skip
    evil = record(
        rule_name=stranger,
        keyword=stranger,
        reason=reason(
            summary=opening(rule, stranger, reason()),
            words=(AlertWord(stranger, 5.0, 9, 1),),
            examples=(AlertPost("1", stranger, BEGAN, stranger, stranger, 0.5, f"https://example.com/{stranger}"),),
        ),
    )
    for event in "opened", "closed":
        found = AlertRecord.from_fields({**_fields(evil), "event": event, "ended": BEGAN})
        message = message_of(found, public_url=URL)
        # The record has the text as it came; what people read has it in isolates that it can neither leave nor extend.
        assert json.loads(message.body)["keyword"] == stranger
        texts = [message.subject, message.text, message.chat, message.chat_subject, message.html]
        for text in texts:
            for line in text.splitlines():
                assert balanced(line) == line
                assert "\u202e" not in _outside_isolates(line)
        assert "\u202e" in message.text
        mail = Mail("127.0.0.1", 1, "a@example.com", ("b@example.com",)).written(message)
        assert mail["Subject"] == message.subject


def _fields(found: AlertRecord) -> dict[str, object]:
    return {name: getattr(found, name) for name in found.__struct_fields__}


def _outside_isolates(line: str) -> str:
    depth, outside = 0, ""
    for character in line:
        depth -= character == PDI
        outside += character if depth == 0 else ""
        depth += character in "\u2066\u2067\u2068"
    return outside


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a\u2069b", "ab"),
        ("\u2066open", "\u2066open\u2069"),
        ("\u2066x\u2069\u2069y\u2067", "\u2066x\u2069y\u2067\u2069"),
    ],
)
def test_balanced(text: str, expected: str) -> None:
    assert balanced(text) == expected


def test_an_isolate_has_one_line_without_controls() -> None:
    assert isolated("a\r\nBcc: x\x00\x1b[31m\u2029b") == f"{FSI}a Bcc: x [31m b{PDI}"
    assert one_line("\n\ta\x85b\n") == "a b"


@pytest.mark.parametrize("mention", ["@everyone", "@here", "<!channel>", "<@U123>", "<#C1>", "<@&5>", "[a](http://b)"])
def test_chats_find_no_mention(mention: str) -> None:
    post = AlertPost("1", "rss", BEGAN, f"hey {mention} you", "anger", 0.9)
    chat = message_of(record(rule_name=mention, keyword=mention, reason=reason(
        summary=f"about {mention}", examples=(post,)))).chat  # fmt: skip
    assert mention not in chat
    assert mention not in without_mentions(mention)
    assert mention not in message_of(record(reason=reason(summary=mention))).chat_subject
    assert "<!" not in _slack_escaped(chat)


def test_without_mentions_changes_nothing_else() -> None:
    assert without_mentions("a@ b, 1 < 2, [x] (y)") == "a@ b, 1 < 2, [x] (y)"


def test_html_has_no_tags_of_strangers() -> None:
    tag = '<script>alert("x")</script><img src=x onerror=y>'
    post = AlertPost("1", tag, BEGAN, tag, tag, 0.9, 'https://example.com/"><script>')
    html = message_of(record(rule_name=tag, keyword=tag, reason=reason(summary=tag, examples=(post,)))).html
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize(
    ("url", "in_chat"),
    [
        ("https://example.social/@jo/1?b=[1]", "https://example.social/@jo/1?b=%5B1%5D"),
        ("https://e.com/@everyone", "https://e.com/%40everyone"),
        ("http://[::1]/[x](http://e.com)@HERE", "http://[::1]/%5Bx%5D(http://e.com)%40HERE"),
    ],
)
def test_the_address_of_a_post_mentions_nobody_in_chats(url: str, in_chat: str) -> None:
    post = AlertPost("1", "rss", BEGAN, "hello", None, None, url)
    message = message_of(record(reason=reason(examples=(post,))))
    assert f"\n  {in_chat}\n" in message.chat
    assert f"\n  {url}\n" in message.text


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "https://example.com/a b",
        "https://e.com/<!channel>",
        "https://[x",
        "https://a]b/",
        "https:///x",
        "https://bank.example@e.com/",
        "https://bank.example\\@e.com/",
        None,
        "x",
    ],
)
def test_only_plain_addresses_of_posts_are_shown(url: str | None) -> None:
    post = AlertPost("1", "rss", BEGAN, "hello", None, None, url)
    message = message_of(record(reason=reason(examples=(post,))))
    assert "hello" in message.text
    assert "http" not in message.text
    assert "href" not in message.html


def test_a_post_without_a_text() -> None:
    assert "- without a text (" in message_of(record(reason=reason(examples=(AlertPost("1", "rss", BEGAN),)))).text


def test_the_key_is_printable_ascii_and_differs_where_the_incident_does() -> None:
    keys = [key_of(f"r|{word}|60|x", "opened") for word in ("coffee", "café", "caf%C3%A9", "a\r\nb", "a b", "a%0D%0Ab")]
    assert all(key.isascii() and key.isprintable() and " " not in key for key in keys)
    assert len(set(keys)) == len(keys)


def test_a_long_summary_is_cut_in_the_subject_and_stays_isolated() -> None:
    line = subject(record(reason=reason(summary=f"about {FSI}{'long ' * 100}{PDI}\nBcc: x")))
    assert len(line) <= 185
    assert balanced(line) == line
    assert "\n" not in line


def test_a_keyword_that_is_no_part_of_a_command_is_left_out_of_it() -> None:
    assert "--for 2h --keyword 'ice cream'" in message_of(record(keyword="ice cream")).text
    assert "--keyword" not in message_of(record(keyword="\u202ex")).text
    assert "--keyword" not in message_of(record(keyword="--all")).text
    assert "--keyword" not in message_of(record(keyword="*")).text


def test_the_link_has_the_whole_incident() -> None:
    assert link_of(record(incident="r|a&b=c#d|60|x"), URL) == f"{URL}/alerts?incident=r%7Ca%26b%3Dc%23d%7C60%7Cx"


def test_the_test_message_says_so() -> None:
    one, other = (trial_message("ops", Timestamp.of(BEGAN), public_url=None, has_picture=p) for p in (True, False))
    assert "This is a test of the channel ops" in one.subject
    assert one.key != other.key
    assert one.picture is not None
    assert other.picture is None
    assert TOPIC_CHANNEL not in AlertRecord.from_json(one.body).channels
