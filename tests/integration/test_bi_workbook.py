"""The Tableau workbook fits the columns of the views, and the role tableau can draw the charts."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from streams.ops.bi.queries import read_chart_data
from streams.ops.demo.processes import clean_environment
from tests.integration.bi_support import Connection, add_an_hour, connection, database, dsn, tableau

__all__ = ["connection", "database", "dsn", "tableau"]  # fixtures

WORKBOOK = Path(__file__).parents[2] / "docs/tableau/emostream.twb"
SCRIPT = Path(__file__).parents[2] / "scripts/bi_charts.py"
DATATYPES = {
    "text": "string",
    "double precision": "real",
    "bigint": "integer",
    "timestamp with time zone": "datetime",
    "boolean": "boolean",
}


def test_the_workbook_has_the_columns_of_the_views_with_their_types(connection: Connection) -> None:
    sources = ElementTree.parse(WORKBOOK).findall("datasources/datasource")
    assert len(sources) >= 5
    for source in sources:
        relation = source.find("connection/relation")
        assert relation is not None
        schema, view = re.findall(r"\[(\w+)\]", relation.get("table", ""))
        found = connection.execute(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
            (schema, view),
        ).fetchall()
        declared = [
            (record.findtext("remote-name"), record.findtext("local-type")) for record in source.iter("metadata-record")
        ]
        assert declared == [(column, DATATYPES[kind]) for column, kind in found], view


def draw(dsn: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return run_script("--dsn", dsn, "--out", str(folder))


def run_script(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env=clean_environment(settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_role_tableau_can_draw_the_charts(connection: Connection, tableau: str, tmp_path: Path) -> None:
    add_an_hour(connection)
    connection.execute("UPDATE emotion_windows SET unsupported = 5 WHERE keyword = '*'")
    connection.execute("UPDATE emotion_windows SET unsupported = 2 WHERE keyword = 'tea'")
    found = draw(tableau, tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    for line in found.stdout.splitlines():
        assert Path(line).read_bytes()[:4] == b"\x89PNG"
    data = read_chart_data(tableau)
    assert [(share.keyword, share.counts, share.unsupported) for share in data.shares] == [
        ("*", {"joy": 4, "anger": 3, "sadness": 2}, 5),
        ("tea", {"joy": 3, "anger": 3}, 2),
        ("rain", {"sadness": 3, "joy": 1}, 0),
    ]
    assert {(each.keyword, each.emotion, each.posts) for each in data.points} == {
        ("tea", "joy", 3),
        ("tea", "anger", 3),
        ("rain", "joy", 1),
        ("rain", "sadness", 3),
    }


def test_without_an_option_the_charts_are_of_the_database_of_the_settings(
    connection: Connection, dsn: str, tmp_path: Path
) -> None:
    add_an_hour(connection)
    found = run_script("--out", str(tmp_path), EMOSTREAM_POSTGRES_DSN=dsn)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.splitlines() == [str(tmp_path / "emotion_share.png"), str(tmp_path / "confidence_scatter.png")]


def test_charts_without_posts_or_views_are_an_error_of_one_line(
    tableau: str, database: Callable[..., str], tmp_path: Path
) -> None:
    empty = draw(tableau, tmp_path)
    assert empty.returncode == 1
    assert "have no posts yet" in empty.stderr
    bare = draw(database(), tmp_path)
    assert bare.returncode == 1
    assert bare.stderr.startswith(
        'emostream: error: PostgreSQL refused while reading the views of the schema bi: relation "bi.'
    )
    assert empty.stderr.count("\n") == bare.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
