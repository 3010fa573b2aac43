"""`emostream query` and `emostream stress` with wrong arguments: one line that says what is wrong, before any call."""

from __future__ import annotations

import asyncio

import pytest

from streams.cli import main
from tests.source_servers.canned import answer, answering


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["query", ""], 2, "'KEYWORD': String should have at least 1 character"),
        (["query", " "], 2, "'KEYWORD': String should have at least 1 character"),
        (["query", "a" * 201], 2, "'KEYWORD': String should have at most 200 characters"),
        (["query", "rain\udcff"], 2, "'KEYWORD': "),
        (["stress", "--keyword", ""], 2, "'--keyword': String should have at least 1 character"),
        (["query", "rain", "--plot", "rain.jpg"], 1, "--plot: rain.jpg: the name must end in .png or .svg"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("workload", ["query", "windows", "predict", "predict-batch"])
@pytest.mark.parametrize(("status", "hint"), [("401 Unauthorized", "emostream keys add"), ("403 Forbidden", "403")])
async def test_a_load_with_a_key_that_is_refused_does_not_begin(
    workload: str, status: str, hint: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMOSTREAM_API_KEY", "emo_wrong")
    keywords = ["--keyword", "tea"] if workload in {"query", "windows"} else []
    async with answering(answer(status=status)) as (url, paths):
        with pytest.raises(SystemExit) as ended:
            await asyncio.to_thread(main, ["stress", "--workload", workload, *keywords, "--url", url])
    assert ended.value.code == 1
    assert len(paths) == 1, "it asks once"
    captured = capfd.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("emostream: error: the HTTP service refused: ")
    assert hint in line
    assert "emo_wrong" not in line
