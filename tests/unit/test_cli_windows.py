"""`emostream windows` refuses keywords that no window can have."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from streams.cli import cli


@pytest.mark.parametrize(
    ("keyword", "problem"), [("", "at least one character"), (" ", "at least one character"), ("\udcff", "not UTF-8")]
)
def test_a_keyword_that_cannot_be_is_a_wrong_option(keyword: str, problem: str) -> None:
    result = CliRunner().invoke(cli, ["windows", "--keyword", keyword])
    assert (result.exit_code, problem in result.stderr) == (2, True)
