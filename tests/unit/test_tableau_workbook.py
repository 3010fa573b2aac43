"""docs/tableau/emostream.twb, without Tableau: the views and columns that it names exist, and it has no secret."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from streams.charts.palette import COLOURS
from streams.ops.bi.workbook import write_workbook
from streams.ops.demo.processes import clean_environment

ROOT = Path(__file__).parents[2]
WORKBOOK = ROOT / "docs/tableau/emostream.twb"
FIELD = re.compile(r"\[([^\[\]]+)\]\.\[([^\[\]]+)\]")


@pytest.fixture(scope="module")
def workbook() -> ElementTree.Element:
    return ElementTree.parse(WORKBOOK).getroot()


def sources(workbook: ElementTree.Element) -> dict[str, ElementTree.Element]:
    """Returns the data sources by the view that they read."""
    found = {}
    for source in workbook.findall("datasources/datasource"):
        relation = source.find("connection/relation")
        assert relation is not None
        match = re.fullmatch(r"\[bi\]\.\[(\w+)\]", relation.get("table", ""))
        assert match is not None
        found[match[1]] = source
    return found


def view_columns() -> dict[str, list[str]]:
    """Returns the columns of each view, in order, from their comments. A view X_all has the columns of the view X."""
    columns: dict[str, list[str]] = {}
    for path in sorted((ROOT / "init_db").glob("*.sql")):
        for view, column in re.findall(
            r"^COMMENT ON COLUMN bi\.(\w+)\.(\w+) IS", path.read_text("utf-8"), re.MULTILINE
        ):
            if column not in columns.setdefault(view, []):  # a migration may comment on a column again
                columns[view].append(column)
    return {
        **columns,
        **{f"{view}_all": columns[view] for view in ("emotion_share", "emotion_trend", "sentiment_trend")},
    }


def test_it_has_the_format_of_tableau_2018_1(workbook: ElementTree.Element) -> None:
    assert workbook.tag == "workbook"
    assert workbook.get("version") == workbook.get("original-version") == "18.1"
    assert [child.tag for child in workbook] == ["preferences", "datasources", "worksheets", "dashboards", "windows"]


def test_it_connects_live_as_the_role_tableau_without_a_password(workbook: ElementTree.Element) -> None:
    connections = [named.find("connection") for named in workbook.iter("named-connection")]
    assert len(connections) == len(sources(workbook))
    for connection in connections:
        assert connection is not None
        found = {name: connection.get(name) for name in ("class", "server", "port", "dbname", "username")}
        assert found == {
            "class": "postgres",
            "server": "localhost",
            "port": "5432",
            "dbname": "emostream",
            "username": "tableau",
        }
    assert list(workbook.iter("extract")) == []
    assert not any(name == "password" for element in workbook.iter() for name in element.attrib)


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("postgresql://ann:secret@db.example.org:6543/history", ("db.example.org", "6543", "history", "ann")),
        ("postgresql://tableau@10.0.0.1/emostream", ("10.0.0.1", "5432", "emostream", "tableau")),
        ("host=db port=5 dbname='a&\\'b' user=u", ("db", "5", "a&'b", "u")),
        ("postgresql://", ("localhost", "5432", "tableau", "tableau")),
    ],
)
def test_a_workbook_can_be_written_for_any_database(
    workbook: ElementTree.Element, tmp_path: Path, dsn: str, expected: tuple[str, ...]
) -> None:
    write_workbook(dsn, tmp_path / "new" / "emostream.twb")
    text = (tmp_path / "new" / "emostream.twb").read_text("utf-8")
    assert "secret" not in text
    written = ElementTree.fromstring(text)
    names = ("server", "port", "dbname", "username")
    changed = 0
    for before, after in zip(workbook.iter(), written.iter(), strict=True):
        if before.tag == "connection" and before.get("class") == "postgres":
            assert tuple(after.get(name) for name in names) == expected
            assert {**after.attrib, **{name: before.get(name) for name in names}} == before.attrib
            changed += 1
        elif before.tag == "named-connection":
            assert after.attrib == {**before.attrib, "caption": expected[0]}
        else:
            assert (after.tag, after.attrib, after.text) == (before.tag, before.attrib, before.text)
    assert changed == len(sources(workbook))


def test_the_script_writes_the_workbook_for_the_database_of_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "my.twb"
    settings = {"EMOSTREAM_POSTGRES_DSN": "postgresql://ann:secret@db:6543/history"}
    found = subprocess.run(
        [sys.executable, str(ROOT / "scripts/bi_workbook.py"), "--out", str(path)],
        env=clean_environment(settings),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, f"{path}\n", "")
    assert path.read_text("utf-8").count('port="6543"') == len(sources(ElementTree.parse(WORKBOOK).getroot()))


def test_views_and_columns_are_those_of_the_migrations(workbook: ElementTree.Element) -> None:
    views = view_columns()
    for view, source in sources(workbook).items():
        assert [name.text for name in source.iter("remote-name")] == views[view], view
        declared = [column.get("name") for column in source.findall("column") if column.find("calculation") is None]
        assert declared == [f"[{column}]" for column in views[view]], view


def test_both_charts_and_the_dashboard_are_there(workbook: ElementTree.Element) -> None:
    sheets = [sheet.get("name") for sheet in workbook.findall("worksheets/worksheet")]
    assert sheets == ["Emotion share", "Confidence against share"]
    assert {zone.get("name") for zone in workbook.iter("zone") if zone.get("name")} == set(sheets)
    windows = {window.get("name"): window.get("class") for window in workbook.findall("windows/window")}
    assert windows == {**dict.fromkeys(sheets, "worksheet"), "Emotions": "dashboard"}
    marks = {
        sheet.get("name"): [mark.get("class") for mark in sheet.iter("mark")] for sheet in workbook.iter("worksheet")
    }
    assert marks == {"Emotion share": ["Bar"], "Confidence against share": ["Shape"]}


def test_every_field_on_a_sheet_is_declared_there(workbook: ElementTree.Element) -> None:
    by_name = {source.get("name"): source for source in workbook.findall("datasources/datasource")}
    for sheet in workbook.iter("worksheet"):
        (dependencies,) = sheet.iter("datasource-dependencies")
        source = by_name[dependencies.get("datasource")]
        known = {column.get("name") for column in source.findall("column")}
        columns = {column.get("name") for column in dependencies.findall("column")}
        assert columns <= known
        instances = {}
        for instance in dependencies.findall("column-instance"):
            assert instance.get("column") in columns
            instances[str(instance.get("name")).strip("[]")] = instance
        for calculation in dependencies.iter("calculation"):
            assert {f"[{name}]" for name in re.findall(r"\[(\w+)\]", calculation.get("formula", ""))} <= columns
        text = " ".join([value for element in sheet.iter() for value in (*element.attrib.values(), element.text or "")])
        used = FIELD.findall(text)
        assert {name for name, _ in used} == {source.get("name")}
        assert {field for _, field in used} == set(instances)


def test_fields_outside_the_sheets_are_of_data_sources_that_exist(workbook: ElementTree.Element) -> None:
    names = {source.get("name") for source in workbook.findall("datasources/datasource")}
    used = [
        match
        for part in ("dashboards", "windows")
        for element in workbook.iter(part)
        for child in element.iter()
        for match in FIELD.findall(child.get("param", ""))
    ]
    assert used
    assert {name for name, _ in used} <= names


def test_emotions_have_the_colours_of_the_palette(workbook: ElementTree.Element) -> None:
    palette = workbook.find("preferences/color-palette")
    assert palette is not None
    assert [colour.text for colour in palette] == list(COLOURS.values())
    coloured = 0
    for view, source in sources(workbook).items():
        maps = source.findall("style/style-rule/encoding[@attr='color']/map")
        found = {str(each.findtext("bucket")).strip('"'): each.get("to") for each in maps}
        if "emotion" in view_columns()[view]:
            assert found == COLOURS, view
            coloured += 1
    assert coloured >= 3
