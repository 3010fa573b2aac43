"""Errors of a version are distinguished from errors of the machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from connectors.errors import RejectedError, UnavailableError
from models.errors import ModelCacheError, ModelDamagedError, ModelNotFoundError, ModelPackageError
from models.package.folder import ModelPackage
from models.serving import steps
from models.serving.steps import RETRIED_ERRORS, LocalResourceError, ModelRefusedError, cause_of, load_checked, step
from models.text import tokenize
from tests.onnx_files import bag_of_words
from tests.tiny_model import HEADS, WORDS, tiny_package, weights


class PanicException(BaseException):
    """The name of the exception that the tokenizers library raises for a panic."""


@pytest.fixture
def package(tmp_path: Path) -> ModelPackage:
    return tiny_package(tmp_path / "package")


def fail_to_load(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    monkeypatch.setattr(steps.OnnxClassifier, "load", lambda *_args, **_kwargs: action())


def raiser(error: BaseException) -> Callable[[], object]:
    def action() -> object:
        raise error

    return action


@pytest.mark.parametrize("error", [ModelPackageError("x"), ModelNotFoundError("x")])
def test_an_error_of_the_version_is_a_refusal(error: Exception) -> None:
    with pytest.raises(ModelRefusedError, match="x") as info, step("download"):
        raise error
    assert info.value.reason == "download"


def test_a_damaged_file_is_refused_with_the_reason_checksum() -> None:
    with pytest.raises(ModelRefusedError) as info, step("download"):
        raise ModelDamagedError("x")
    assert info.value.reason == "checksum"


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), MemoryError()])
def test_an_error_of_the_machine_is_not_a_refusal(error: Exception) -> None:
    with pytest.raises(LocalResourceError) as info, step("load"):
        raise error
    assert "\n" not in str(info.value)
    with pytest.raises(LocalResourceError), step("load"):
        raise ModelPackageError("cannot be loaded") from error


@pytest.mark.parametrize("kind", RETRIED_ERRORS)
def test_errors_that_are_retried_are_raised_unchanged(kind: type[Exception]) -> None:
    with pytest.raises(kind), step("download"):
        raise kind("x")


def test_every_error_that_is_retried_has_a_cause() -> None:
    faults = [UnavailableError("x"), RejectedError("x"), ModelCacheError("x"), LocalResourceError("x")]
    assert [cause_of(fault) for fault in faults] == ["unavailable", "rejected", "cache", "local"]


def test_a_panic_is_a_refusal(package: ModelPackage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a worker could not start with its last good model."""

    class Panicking:
        @staticmethod
        def from_file(_file: str) -> None:
            raise PanicException("index out of bounds")

    monkeypatch.setattr(tokenize, "Tokenizer", Panicking)
    with pytest.raises(ModelRefusedError, match="not a tokenizer: the tokenizer panicked: index out of bounds") as info:
        load_checked(package, threads=1)
    assert info.value.reason == "load"


def test_an_interrupt_is_not_a_refusal(package: ModelPackage, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_to_load(monkeypatch, raiser(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        load_checked(package, threads=1)


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_copy_that_was_damaged_after_its_check_is_not_refused(
    package: ModelPackage, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    def load() -> object:
        if damage == "gone":
            package.tier_files[-1].unlink()
        else:
            package.tier_files[-1].write_bytes(b"x")
        raise ModelPackageError("model.onnx cannot be loaded")

    fail_to_load(monkeypatch, load)
    with pytest.raises(LocalResourceError, match="it was intact before"):
        load_checked(package, threads=1)


def test_probabilities_that_are_not_numbers_are_found_in_the_warm_up(tmp_path: Path) -> None:
    """When it is loaded, the network runs on padding and on the highest id only, not on ordinary words."""
    spoilt = {head.output: weights(head, WORDS, 3.0) for head in HEADS}
    spoilt["topic"][1] = np.nan  # the row of unknown words
    package = tiny_package(tmp_path, networks={"model.onnx": bag_of_words(spoilt)})
    with pytest.raises(
        ModelRefusedError, match="tier 'full' gives probabilities for head 'topic' that are not"
    ) as info:
        load_checked(package, threads=1)
    assert info.value.reason == "load"
