"""A process that classifies on request: it loads its models, or says why it cannot, answers, and stops."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from models.errors import ModelError, ServingStoppedError
from models.package.folder import ModelPackage
from models.serving.served import StoppedError
from models.serving.served_models import ServedModels
from models.text.onnx_classifier import OnnxClassifier
from streams.classification.predictions import Prediction
from streams.classification.serving import Serving
from streams.classification.texts import Failed
from tests.helpers import make_settings
from tests.tiny_model import spanish_package, tiny_package

DEADLINE_S = 60.0


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    tiny_package(tmp_path / "main", languages=["en"])
    spanish_package(tmp_path / "spanish")
    return tmp_path


def make(folders: Path, registry: CollectorRegistry | None = None, **settings: object) -> Serving:
    given: dict[str, object] = {"model_uri": str(folders / "main"), "model_threads": 2, **settings}
    return Serving(make_settings(**given), registry or CollectorRegistry())


async def test_callers_get_the_answers_of_the_model_that_reads_their_language(folders: Path) -> None:
    registry = CollectorRegistry()
    one = make(folders, registry, models=f"es={folders / 'spanish'}")
    await one.start()
    try:
        english, spanish = await asyncio.gather(
            one.classify(
                ["buy what I need, it is such a good day", "guten Morgen, wie geht es dir heute?"], ["en", None]
            ),
            one.classify(["me encanta esta canción de verano"], ["es"]),
        )
    finally:
        await one.close(DEADLINE_S)
    assert isinstance(english[0].found, Prediction)
    assert (english[0].found.label, english[0].found.model.name) == ("spam", "tiny")
    assert english[1].language.code == "de"
    assert not isinstance(english[1].found, Prediction | Failed)
    assert isinstance(spanish[0].found, Prediction)
    assert (spanish[0].found.label, spanish[0].found.model.name) == ("alegría", "spanish")
    assert registry.get_sample_value("emostream_inference_run_texts_sum") == 3
    assert registry.get_sample_value("emostream_inference_waiting_texts") == 0
    assert one.problem is None


async def test_a_start_without_a_model_fails_with_the_reason(tmp_path: Path) -> None:
    one = make(tmp_path)
    with pytest.raises(ModelError, match="main"):
        await one.start()
    with pytest.raises(RuntimeError, match="call start first"):
        await one.classify(["hello"], [None])
    await one.close(DEADLINE_S)


async def test_the_limits_follow_from_the_settings_and_the_models(folders: Path) -> None:
    one = make(folders, api_max_waiting_texts=7, api_max_body_bytes=33_554_432)
    await one.start()
    limits = one._limits()
    await one.close(DEADLINE_S)
    assert (limits.waiting_texts, limits.waiting_bytes, limits.text_tokens) == (7, 67_108_864, 16)


async def test_each_session_has_one_thread_and_there_are_as_many_inference_threads(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[object] = []
    load = OnnxClassifier.load

    def noted(package: ModelPackage, **more: Any) -> OnnxClassifier:
        threads.append(more["threads"])
        return load(package, **more)

    monkeypatch.setattr(OnnxClassifier, "load", noted)
    one = make(folders, model_threads=3, models=f"es={folders / 'spanish'}")
    await one.start()
    running = [thread.name for thread in threading.enumerate() if thread.name.startswith("inference-")]
    await one.close(DEADLINE_S)
    assert threads == [1, 1]
    assert running == ["inference-0", "inference-1", "inference-2"]


class HeldStart:
    """Takes the place of `ServedModels.start`, which waits for S3 until it is cancelled."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.cancelled, self.ended = threading.Event(), threading.Event(), threading.Event()
        monkeypatch.setattr(ServedModels, "start", lambda _models: self.start())
        monkeypatch.setattr(ServedModels, "cancel", lambda _models: self.cancelled.set())

    def start(self) -> None:
        self.begun.set()
        assert self.cancelled.wait(DEADLINE_S)
        self.ended.set()
        raise StoppedError


async def test_a_close_ends_a_start(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = HeldStart(monkeypatch)
    one = make(folders)
    starting = asyncio.create_task(one.start())
    assert await asyncio.to_thread(held.begun.wait, DEADLINE_S)
    await one.close(DEADLINE_S)
    assert held.ended.is_set()
    with pytest.raises(ServingStoppedError, match="before the models were loaded"):
        await starting


async def test_a_start_that_is_cancelled_ends_the_download(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = HeldStart(monkeypatch)
    one = make(folders)
    starting = asyncio.create_task(one.start())
    assert await asyncio.to_thread(held.begun.wait, DEADLINE_S)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert held.cancelled.is_set()
    await one.close(DEADLINE_S)


async def test_a_defect_of_the_polls_is_a_problem_and_the_models_keep_serving(
    folders: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = make(folders)

    class Broken:
        poll_s = 0.001

        def poll(self) -> bool:
            raise ZeroDivisionError

        def cancel(self) -> None: ...

    monkeypatch.setattr(ServedModels, "watched", [Broken()])
    await one.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            while one.problem is None:  # noqa: ASYNC110 - it comes true in another thread
                await asyncio.sleep(0.005)
        assert one.problem == "a channel is no longer polled: ZeroDivisionError"
        assert "restart the process" in caplog.text
        assert len(await one.classify(["hello"], [None])) == 1
    finally:
        await one.close(DEADLINE_S)
