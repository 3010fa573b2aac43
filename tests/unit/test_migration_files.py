from __future__ import annotations

from pathlib import Path

import pytest

from connectors.errors import RejectedError
from connectors.postgres import find_migrations


def folder(path: Path, *names: str) -> Path:
    for name in names:
        (path / name).write_text("SELECT 1;")
    return path


def test_migrations_are_found_in_order(tmp_path: Path) -> None:
    found = find_migrations(folder(tmp_path, "002_views.sql", "001_history.sql", "README.md", "notes.txt"))
    assert [(migration.version, migration.path.name) for migration in found] == [
        (1, "001_history.sql"),
        (2, "002_views.sql"),
    ]


@pytest.mark.parametrize("name", ["1_x.sql", "0001_x.sql", "001.sql", "001_.sql", "001-x.sql", "001_X.sql", "x.sql"])
def test_a_misnamed_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(RejectedError, match=name):
        find_migrations(folder(tmp_path, "001_history.sql", name))


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("002_a.sql",),
        ("000_a.sql", "001_b.sql"),
        ("001_a.sql", "003_b.sql"),
        ("001_a.sql", "001_b.sql"),
        ("001_a.sql", "002_b.sql", "002_c.sql"),
    ],
)
def test_numbers_have_neither_gaps_nor_doubles(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(RejectedError, match="without a gap"):
        find_migrations(folder(tmp_path, *names))


def test_our_own_are_in_order() -> None:
    assert find_migrations(Path(__file__).parents[2] / "init_db")
