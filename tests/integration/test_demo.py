"""`emostream demo`, run as a new user does."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import psutil

from streams.ops.demo.processes import clean_environment


def run_demo(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streams", "demo", "--data-dir", str(tmp_path / "demo"), *arguments],
        env=clean_environment({"EMOSTREAM_KAFKA_BOOTSTRAP": "elsewhere:1", "COLUMNS": "120"}),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_the_audit_of_the_demo_succeeds_and_a_chart_is_drawn(tmp_path: Path) -> None:
    """The demo uses its own servers, whatever the environment says, and leaves no process behind."""
    posts = tmp_path / "posts.csv"
    rows = [f'"i feel so happy about my {word}, really",{word}' for word in ("coffee", "train", "rain") * 10]
    posts.write_text("\n".join(["text,keywords", *rows, '"",empty']) + "\n")

    result = run_demo(tmp_path, "--posts", str(posts))

    assert result.returncode == 0, result.stdout + result.stderr
    assert "FAILED" not in result.stdout
    assert result.stdout.count("the worker is starting") <= 1
    assert "classified 0, dead-lettered 0" not in result.stdout, "nothing has changed while the worker starts"
    assert "produced = classified + dead-lettered" in result.stdout
    assert "refused: empty_text: 1 (line 32" in result.stdout
    chart = tmp_path / "demo" / "emotions_by_keyword.png"
    assert str(chart) in result.stdout
    workbook = tmp_path / "demo" / "emostream.twb"
    assert str(workbook) in result.stdout
    state = json.loads((tmp_path / "demo" / "state.json").read_text())
    assert set(re.findall(r" port=\W(\d+)\W", workbook.read_text())) == {
        str(state["servers"]["postgres"]["ports"]["port"])
    }
    header = chart.read_bytes()[:24]
    assert header.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", header[16:24])
    assert width >= 1_000
    assert height >= 400
    mine = [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]
    assert mine == []


def test_a_demo_with_a_live_source_kills_it_and_shows_what_it_did(tmp_path: Path) -> None:
    posts = tmp_path / "posts.csv"
    rows = [f'"i feel so happy about my {word}, really",{word}' for word in ("coffee", "train", "rain") * 10]
    posts.write_text("\n".join(["text,keywords", *rows, '"a post without a keyword",']) + "\n")

    result = run_demo(tmp_path, "--posts", str(posts), "--source", "jetstream")

    assert result.returncode == 0, result.stdout + result.stderr
    assert "FAILED" not in result.stdout
    assert "produced 31/31, classified 31, dead-lettered 0, in windows 31, in Postgres 31" in result.stdout
    assert re.search(r"│ bluesky │ running │ +31 │", result.stdout)
    assert re.search(r"^bluesky running on \S+ \(pid \d+\); since ", result.stdout, re.MULTILINE)
    assert re.search(r"keywords kept \d+, dropped 0, cut 0; repeated \d+; ", result.stdout)
    assert "killed it after 15 posts, and started it again" in result.stdout
    assert (tmp_path / "demo" / "emotions_by_keyword.png").is_file()
    mine = [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]
    assert mine == []


def test_a_file_that_does_not_exist_is_an_error_of_one_line(tmp_path: Path) -> None:
    result = run_demo(tmp_path, "--posts", str(tmp_path / "absent.tsv"))
    assert result.returncode == 1
    assert result.stderr.strip().count("\n") == 0
    assert "absent.tsv" in result.stderr
    assert not (tmp_path / "demo").exists(), "no server was started"


def test_a_folder_that_is_not_of_the_demo_stays_as_it_is(tmp_path: Path) -> None:
    precious = tmp_path / "demo" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("years of work")
    result = run_demo(tmp_path)
    assert result.returncode == 1
    assert "holds other files" in result.stderr
    assert precious.read_text() == "years of work"
