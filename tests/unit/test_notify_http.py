"""Webhooks and Slack-compatible receivers on real sockets: signatures, answers of all kinds, and no redirects."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from connectors.notify.http import Slack, Webhook
from connectors.notify.message import Message
from connectors.notify.outcome import Delivered, Refused, TryAgain, outcome_of_status
from connectors.notify.services import Service, host_of, is_encrypted
from connectors.notify.signature import signature
from tests.unit.receivers import Answer, HttpReceiver, http_receiver

SECRET = b"a secret of the test"
MESSAGE = Message(
    key="rule|coffee|60|2026-03-01T12:00:00.000Z/opened",
    subject="it <rose> & rose",
    chat_subject="it <rose> & rose",
    text="for mail",
    html="<p>for mail</p>",
    chat="a post: <!channel> & more",
    body='{"incident":"rule|café"}'.encode(),
    picture=b"\x89PNG",
)


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as found:
        yield found


async def test_a_receiver_can_verify_the_signature_of_the_body_as_it_came(receiver: HttpReceiver) -> None:
    webhook = Webhook(f"{receiver.url}/hook", secret=SECRET, headers={"Authorization": "Bearer x"})
    assert await webhook.send(MESSAGE) == Delivered(f"127.0.0.1:{receiver.port} answered 200: ok")
    [request] = receiver.received
    assert request.body == MESSAGE.body
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == MESSAGE.key
    assert request.headers["authorization"] == "Bearer x"
    sent_at, given = request.headers["x-emostream-signature"].split(",")
    assert abs(time.time() - int(sent_at.removeprefix("t="))) < 600
    expected = hmac.new(SECRET, sent_at.removeprefix("t=").encode() + b"." + request.body, hashlib.sha256)
    assert given == f"v1={expected.hexdigest()}"


def test_the_signature_depends_on_secret_time_and_body() -> None:
    assert len({signature(SECRET, b"x", 1), signature(SECRET, b"x", 2), signature(SECRET, b"y", 1),
                signature(b"other", b"x", 1)}) == 4  # fmt: skip


async def test_a_webhook_without_a_secret_has_no_signature(receiver: HttpReceiver) -> None:
    await Webhook(receiver.url).send(MESSAGE)
    assert "x-emostream-signature" not in receiver.received[0].headers


async def test_the_picture_is_a_member_of_the_signed_body(receiver: HttpReceiver) -> None:
    await Webhook(receiver.url, secret=SECRET, picture=True).send(MESSAGE)
    await Webhook(receiver.url, secret=SECRET, picture=True).send(replace(MESSAGE, picture=None))
    with_picture, without = receiver.received
    assert json.loads(with_picture.body) == {"incident": "rule|café", "picture": base64.b64encode(b"\x89PNG").decode()}
    sent_at = with_picture.headers["x-emostream-signature"].split(",")[0].removeprefix("t=")
    assert with_picture.headers["x-emostream-signature"] == signature(SECRET, with_picture.body, int(sent_at))
    assert without.body == MESSAGE.body


@pytest.mark.parametrize("status", [500, 502, 503, 408, 425, 429])
async def test_a_receiver_that_cannot_now_is_tried_again(receiver: HttpReceiver, status: int) -> None:
    receiver.answers = [Answer(status, {"Retry-After": "7"}), Answer(200)]
    outcome = await Webhook(receiver.url).send(MESSAGE)
    assert isinstance(outcome, TryAgain)
    assert outcome.after_s == 7
    assert isinstance(await Webhook(receiver.url).send(MESSAGE), Delivered)
    first, second = receiver.received
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413, 422])
async def test_a_receiver_that_never_will_is_not_tried_again(receiver: HttpReceiver, status: int) -> None:
    receiver.answers = [Answer(status, body=b"no\x1b[31m such\nthing")]
    outcome = await Webhook(receiver.url).send(MESSAGE)
    assert outcome == Refused(f"127.0.0.1:{receiver.port} answered {status}: no [31m such thing")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(receiver: HttpReceiver, status: int) -> None:
    receiver.answers = [Answer(status, {"Location": f"{receiver.url}/elsewhere"})]
    outcome = await Webhook(f"{receiver.url}/hook").send(MESSAGE)
    assert isinstance(outcome, Refused)
    assert "redirects are not followed" in outcome.reason
    assert [request.path for request in receiver.received] == ["/hook"]


async def test_a_receiver_that_hangs_is_left(receiver: HttpReceiver) -> None:
    receiver.answers = [Answer(hang=True)]
    outcome = await Webhook(receiver.url, timeout_s=0.5).send(MESSAGE)
    assert outcome == TryAgain(f"127.0.0.1:{receiver.port} did not answer within 0.5 s")


async def test_a_receiver_that_is_not_there_is_tried_again(receiver: HttpReceiver) -> None:
    receiver.close()
    outcome = await Webhook(f"{receiver.url}/very-secret-token").send(MESSAGE)
    assert isinstance(outcome, TryAgain)
    assert "cannot be reached" in outcome.reason
    assert "token" not in outcome.reason


async def test_a_certificate_that_is_wrong_is_no_delivery(receiver: HttpReceiver) -> None:
    outcome = await Webhook(receiver.url.replace("http://", "https://")).send(MESSAGE)
    assert isinstance(outcome, TryAgain)
    assert receiver.received == []


async def test_only_the_beginning_of_a_long_answer_is_read(receiver: HttpReceiver) -> None:
    receiver.answers = [Answer(200, body=b"x" * 5_000_000)]
    outcome = await Webhook(receiver.url).send(MESSAGE)
    assert isinstance(outcome, Delivered)
    assert len(outcome.answer) < 300


def test_a_retry_after_that_is_a_date_or_nonsense() -> None:
    past = outcome_of_status(503, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, "", "host")
    assert past == TryAgain("host answered 503", 0.0)
    assert outcome_of_status(503, {"retry-after": "soon"}, "", "host") == TryAgain("host answered 503", None)


async def test_slack_gets_text_in_which_nothing_is_a_command(receiver: HttpReceiver) -> None:
    assert isinstance(await Slack(f"{receiver.url}/services/T/B/x").send(MESSAGE), Delivered)
    [request] = receiver.received
    assert json.loads(request.body) == {
        "text": "it &lt;rose&gt; &amp; rose\n\na post: &lt;!channel&gt; &amp; more",
        "mrkdwn": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


async def test_what_slack_refuses_is_told(receiver: HttpReceiver) -> None:
    receiver.answers = [Answer(404, body=b"no_service")]
    outcome = await Slack(f"{receiver.url}/services/T/B/x").send(MESSAGE)
    assert outcome == Refused(f"127.0.0.1:{receiver.port} answered 404: no_service")


def test_senders_do_not_print_their_secrets() -> None:
    shown = repr([Webhook("http://h/very-secret", secret=b"very-secret", headers={"A": "very-secret"}),
                  Slack("http://h/very-secret"), Service("ntfys://very-secret")])  # fmt: skip
    assert "very-secret" not in shown


# Services of apprise


def test_apprise_sends_subject_and_text(receiver: HttpReceiver) -> None:
    outcome = Service(f"json://127.0.0.1:{receiver.port}/hook", picture=True).send(MESSAGE)
    assert isinstance(outcome, Delivered), outcome
    [request] = receiver.received
    sent = json.loads(request.body)
    assert sent["title"] == MESSAGE.chat_subject
    assert sent["message"] == MESSAGE.chat
    assert [one["filename"] for one in sent["attachments"]] == ["chart.png"]


def test_what_apprise_cannot_send_is_tried_again_and_its_log_is_silent(
    receiver: HttpReceiver, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The reason is from its log, which the set-up of logs in another test of this process may have disabled.
    monkeypatch.setattr(logging.getLogger("apprise"), "disabled", False)
    receiver.answers = [Answer(500), Answer(302, {"Location": f"{receiver.url}/elsewhere"})]
    service = Service(f"json://127.0.0.1:{receiver.port}/very-secret-token")
    for _ in range(2):
        outcome = service.send(MESSAGE)
        assert isinstance(outcome, TryAgain)
        assert outcome.reason.startswith("JSON did not accept the message: ")
    assert [request.path for request in receiver.received] == ["/very-secret-token"] * 2
    out, err = capfd.readouterr()
    assert not logging.getLogger("apprise").propagate
    assert "very-secret-token" not in out + err


def test_addresses_of_apprise() -> None:
    assert is_encrypted("ntfys://topic")
    assert is_encrypted("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7")
    assert not is_encrypted("json://example.com/x")
    assert host_of("json://example.com/x") == "example.com"
    with pytest.raises(ValueError, match="does not know"):
        is_encrypted("nothing://very-secret")


async def test_an_answer_is_read_as_it_comes(receiver: HttpReceiver) -> None:
    receiver.answers = [Answer(headers={"Content-Encoding": "gzip"}, body=b"no gzip")]
    assert await Webhook(receiver.url).send(MESSAGE) == Delivered(f"127.0.0.1:{receiver.port} answered 200: no gzip")
    assert receiver.received[0].headers["accept-encoding"] == "identity"
