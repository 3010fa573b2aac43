"""`emostream forget`: what it refuses before it sends anything, and which deletions it makes."""

from __future__ import annotations

import io

import pytest
from click.testing import CliRunner

from streams.cli import main
from streams.cli.forget import forget as command
from streams.errors import InputError
from streams.ingest.authors import Authors
from streams.ops import forget as forget_module
from streams.ops.forget import deletions_of
from tests.helpers import make_settings

KEY, FORMER = "0123456789abcdef", "fedcba9876543210"


@pytest.fixture(autouse=True)
def nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forget_module, "forget", lambda *_, **__: pytest.fail("something was sent"))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "give --id or --author"),
        (["--author", "a"], "--author needs --source"),
        (["--id", "1", "--source", "bluesky"], "belong to --author"),
        (["--id", "1", "--as-stored"], "belong to --author"),
        (["--id", "1", "--wait", "-1"], "--wait"),
    ],
)
def test_options_that_do_not_fit(arguments: list[str], problem: str) -> None:
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert problem in result.output


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("n\n", "emostream: nothing was erased"),
        ("\n", "emostream: nothing was erased"),
        ("", "emostream: nothing was erased; nobody can answer here, so give --yes"),
    ],
)
def test_any_answer_but_yes_sends_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], answer: str, said: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    with pytest.raises(SystemExit) as exit_:
        main(["forget", "--id", "1"])
    assert exit_.value.code == 1
    printed = capfd.readouterr().err
    assert "Erase the posts of 1 for good?" in printed
    assert printed.splitlines()[-1].endswith(said)
    assert "interrupted" not in printed


def test_ctrl_c_at_the_question_ends_the_command(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        def readline(self, _: int = -1, /) -> str:
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", Interrupted())
    with pytest.raises(SystemExit) as exit_:
        main(["forget", "--id", "1"])
    assert exit_.value.code == 130
    assert "emostream: interrupted" in capfd.readouterr().err


def test_an_account_has_a_deletion_for_each_key() -> None:
    settings = make_settings(author_key=KEY, author_former_key=FORMER)
    found = deletions_of(settings, ["bluesky:1", "bluesky:1"], ["a"], "bluesky", as_stored=False)
    assert [record.id for record in found if record.id] == ["bluesky:1"]
    hashes = Authors("hash", KEY, FORMER).erasable("bluesky", "a")
    assert [(record.source, record.author) for record in found[1:]] == [("bluesky", author) for author in hashes]
    assert {record.reason for record in found} == {"operator"}
    (as_it_is,) = deletions_of(settings, [], ["Ann"], "people.csv", as_stored=True)
    assert (as_it_is.source, as_it_is.author) == ("people.csv", "Ann")


@pytest.mark.parametrize(
    ("settings", "id_", "author", "source", "problem"),
    [
        ({}, None, "a", "bluesky", "set EMOSTREAM_AUTHOR_KEY"),
        ({"authors": "omit"}, None, "a", "bluesky", "posts have no authors"),
        ({"author_key": KEY}, None, "a", "people.csv", "'people.csv' is no source of `emostream ingest`"),
        ({"author_key": KEY}, None, "", "bluesky", "posts have no authors"),
        ({}, "", None, None, "cannot be an id"),
        ({}, "x" * 600, None, None, "cannot be an id"),
        ({}, "\ud800", None, None, "cannot be an id"),
    ],
)
def test_what_no_post_can_have_is_refused(
    settings: dict[str, str], id_: str | None, author: str | None, source: str | None, problem: str
) -> None:
    ids, authors = [one for one in [id_] if one is not None], [one for one in [author] if one is not None]
    with pytest.raises(InputError, match=problem) as caught:
        deletions_of(make_settings(**settings), ids, authors, source, as_stored=False)
    assert "\n" not in str(caught.value)
