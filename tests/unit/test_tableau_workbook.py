"""docs/tableau/emostream.twb, without Tableau: the views and columns that it names exist, and it has no secret."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from streams.ops.bi.palette import COLOURS

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
            columns.setdefault(view, []).append(column)
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
