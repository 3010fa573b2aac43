"""`emostream stress` and the scripts, with the real service."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from streams.ops.demo.processes import Role, clean_environment
from streams.settings import Settings
from streams.windows.store import WindowStore
from tests.helpers import wait_for
from tests.integration.api_support import address_of
from tests.integration.window_store_support import START, apply_all, of

ANY_PORT = {"EMOSTREAM_API_PORT": "0"}
SCRIPTS = Path(__file__).parents[2] / "scripts"
STRESS = [sys.executable, "-m", "streams", "stress"]
SHORT = ["--rate", "40", "--duration", "1.5", "--warm-up", "0.5", "--connections", "8"]


def run(argv: list[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    env = clean_environment(more)
    return subprocess.run(argv, env=env, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


async def test_every_workload_is_answered(
    start: Callable[..., Role], store: WindowStore, settings: Settings, tmp_path: Path
) -> None:
    now = time.time() - START / 1_000
    posts = [of(number, now, f"word{number % 3}") for number in range(9)]
    await apply_all(store, posts, len(posts), sizes=settings.window_sizes)
    address = address_of(start("api", **ANY_PORT))
    for workload in ("query", "windows", "predict", "predict-batch"):
        more = ["--workload", workload, "--url", address, "--json", "--max-errors", "0", "--processes", "2"]
        ended = run([*STRESS, *SHORT, *more, "--plot", "load.png"], tmp_path)
        assert ended.returncode == 0, ended.stderr
        found = json.loads(ended.stdout)
        assert (found["offered"], found["sent"], found["answered"]) == (60, 60, 60)
        assert found["latency_ms_from_plan"]["count"] == 60
        assert (found["from_cache"] > 0) == (workload == "query")
        assert (tmp_path / "load.png").read_bytes().startswith(b"\x89PNG")
    shown = run([*STRESS, *SHORT, "--url", address, "--keyword", "a|b", "--max-p99-ms", "0.001"], tmp_path)
    assert shown.returncode == 1
    assert "from the planned time" in shown.stdout
    assert shown.stderr.startswith("emostream: error: the p99 is ")
    assert len(shown.stderr.splitlines()) == 1


def test_refusals_are_failures_and_a_users_mistakes_are_one_line(
    start: Callable[..., Role], settings: Settings, tmp_path: Path
) -> None:
    address = address_of(start("api", **ANY_PORT, EMOSTREAM_TEXT_MAX_CHARS="10"))
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"text": "longer than ten characters"}\n', "utf-8")
    refused = run([*STRESS, *SHORT, "--url", address, "--workload", "predict", "--texts-file", str(texts)], tmp_path)
    assert refused.returncode == 1
    assert "status 422" in refused.stdout
    assert "no request was answered" in refused.stderr
    texts.write_text("nonsense\n", "utf-8")
    for more in (
        ["--url", "http://127.0.0.1:9", "--keyword", "x"],
        ["--url", "ftp://x"],
        ["--url", address, "--workload", "predict", "--texts-file", str(texts)],
        ["--url", address, "--processes", "9"],
        ["--url", address, "--plot", "load.txt"],
    ):
        wrong = run([*STRESS, *SHORT, *more], tmp_path)
        assert (wrong.returncode, wrong.stdout) == (1, "")
        assert wrong.stderr.startswith("emostream: error: ")
        assert len(wrong.stderr.splitlines()) == 1


def test_ctrl_c_prints_what_was_measured(start: Callable[..., Role], settings: Settings, tmp_path: Path) -> None:
    role = start("api", **ANY_PORT)
    argv = [
        *STRESS,
        "--workload",
        "predict",
        "--duration",
        "600",
        "--warm-up",
        "0",
        "--json",
        "--url",
        address_of(role),
    ]
    with subprocess.Popen(
        argv, env=clean_environment({}), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    ) as process:  # fmt: skip
        metrics = f"{address_of(role)}/metrics"

        def is_loaded() -> bool:
            # The first request is the one that is sent before the load, to see whether the key is good.
            found = re.search(r'requests_total{.*route="/v1/predict".*} (.+)', httpx.get(metrics).text)
            return found is not None and float(found[1]) > 1

        wait_for(is_loaded, 60)
        # As a terminal does: to all processes of the group.
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    found = json.loads(out)
    assert found["interrupted"]
    assert found["offered"] > 0
    assert found["answered"] + found["unfinished"] + found["failed"] == found["offered"]
    assert err.splitlines() == ["emostream: interrupted; the figures are those until then"]


def test_the_script_classifies_texts_and_keeps_the_key_out_of_its_arguments(
    start: Callable[..., Role], settings: Settings, tmp_path: Path
) -> None:
    script = str(SCRIPTS / "predict_client.sh")
    address = address_of(start("api", **ANY_PORT))
    happy = run([script, "what a lovely day, I am so happy", 'a "quote"'], tmp_path, EMOSTREAM_API_URL=address + "/")
    assert happy.returncode == 0, happy.stderr
    assert json.loads(happy.stdout)["predictions"][0]["label"] == "joy"
    refused = run([script, "x" * 100_000], tmp_path, EMOSTREAM_API_URL=address)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "at most" in refused.stderr
    seen = tmp_path / "arguments"
    fake = tmp_path / "curl"
    fake.write_text(f'#!/bin/sh\nfor a; do echo "$a"; case $a in @/dev/fd/*) cat "${{a#@}}";; esac; done > "{seen}"\n')
    fake.chmod(0o755)
    run([script, "x"], tmp_path, EMOSTREAM_API_KEY="secret-key", PATH=f"{tmp_path}:{os.environ['PATH']}")
    lines = seen.read_text("utf-8").splitlines()
    assert "X-API-Key: secret-key" in lines, "it comes from the file descriptor"
    assert not [line for line in lines if "secret-key" in line and not line.startswith("X-API-Key")]
    for name in ("predict_client.sh", "stress_test.sh"):
        assert run([str(SCRIPTS / name), "--help"], tmp_path).stdout.startswith(f"Usage: scripts/{name}")


def test_the_script_for_loads(start: Callable[..., Role], settings: Settings, tmp_path: Path) -> None:
    address = address_of(start("api", **ANY_PORT))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    argv = [str(SCRIPTS / "stress_test.sh"), "20", "1", "--workload", "predict", "--warm-up", "0"]
    ended = run(argv, tmp_path, EMOSTREAM_API_URL=address, PATH=path, PYTHONPATH=str(SCRIPTS.parent))
    assert ended.returncode == 0, ended.stderr
    assert "answered" in ended.stdout
    assert (tmp_path / "stress.png").is_file()
