"""The steps that a version must pass before it serves, and the refusal of one that does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from models.classifier import OnnxClassifier
from models.errors import ModelCacheError, ModelDamagedError, ModelError, ModelPackageError
from models.golden import check_golden
from models.network import one_line
from models.package import ModelPackage

Step = Literal["channel", "manifest", "download", "checksum", "load", "golden"]


class ModelRefusedError(ModelError):
    """A version failed a step and does not serve. `reason` names the step."""

    def __init__(self, reason: Step, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@contextmanager
def step(reason: Step) -> Iterator[None]:
    """Turn what is wrong with a version into a refusal; what is wrong with S3 or with the cache passes as it is.

    Raises:
        ModelRefusedError: with `reason`, or `checksum` where a file is not the one that its manifest lists.
    """
    try:
        yield
    except ModelCacheError:
        raise
    except ModelDamagedError as exc:
        raise ModelRefusedError("checksum", str(exc)) from exc
    except ModelError as exc:
        raise ModelRefusedError(reason, str(exc)) from exc


def ready(package: ModelPackage, *, threads: int) -> OnnxClassifier:
    """Load a verified package, warm it up, and try it on its golden posts.

    Args:
        package: The package.
        threads: ONNX Runtime's intra-op threads.

    Raises:
        ModelRefusedError: with the reason `load` or `golden`.
    """
    with step("load"), _any_error(package):
        classifier = OnnxClassifier.load(package, threads=threads)
        classifier.warm_up()
    with step("golden"), _any_error(package):
        check_golden(classifier, package)
    return classifier


@contextmanager
def _any_error(package: ModelPackage) -> Iterator[None]:
    """ONNX Runtime's exceptions share no base class, and some networks load and then fail when they run."""
    try:
        yield
    except ModelError:
        raise
    except Exception as exc:
        raise ModelPackageError(f"the networks in {package.path} cannot be run: {one_line(exc)}") from exc
