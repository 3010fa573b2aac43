"""`emostream query` and `emostream stress` with wrong arguments: one line that says what is wrong, before any call."""

from __future__ import annotations

import pytest

from streams.cli import main


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
