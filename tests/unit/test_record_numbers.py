"""A number that Postgres cannot store is refused where a record is read, so that it stops no sink."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streams.records import ClassifiedPost, EmotionWindow, RecordError
from streams.records.values import MAX_COUNT
from streams.windows.codec import to_window
from streams.windows.tumbling import WindowKey
from tests.helpers import NOON_MS, classified


def window() -> dict[str, Any]:
    fields = {"n": "1", "rev": "1", "first": str(NOON_MS), "last": str(NOON_MS), "l:joy": "1", "c:joy": "500000"}
    found: dict[str, Any] = json.loads(to_window(WindowKey("coffee", 60, NOON_MS), fields).to_json())
    return found


@pytest.mark.parametrize("name", ["count", "unsupported", "revision", "late", "size"])
@pytest.mark.parametrize("value", [-1, MAX_COUNT + 1, 2**63, 2**70])
def test_numbers_of_windows_fit_into_64_bits(name: str, value: int) -> None:
    fine = window()
    EmotionWindow.from_json(json.dumps(fine).encode())
    with pytest.raises(RecordError, match=f"^{name}: "):
        EmotionWindow.from_json(json.dumps({**fine, name: value}).encode())


@pytest.mark.parametrize("value", [-1, MAX_COUNT + 1, 2**63, 2**70])
def test_offsets_fit_into_64_bits(value: int) -> None:
    fine = json.loads(classified(0).to_json())
    ClassifiedPost.from_json(json.dumps(fine).encode())
    fine["origin"]["offset"] = value
    with pytest.raises(RecordError, match="offset"):
        ClassifiedPost.from_json(json.dumps(fine).encode())
