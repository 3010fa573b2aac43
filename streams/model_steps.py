"""The steps that a version must pass before it serves, and the refusal of one that does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from connectors.errors import RejectedError, UnavailableError
from models.errors import ModelCacheError, ModelDamagedError, ModelError, ModelPackageError
from models.package.folder import ModelPackage, load_package
from models.text.golden import check_golden
from models.text.network import one_line
from models.text.onnx_classifier import OnnxClassifier

Step = Literal["channel", "manifest", "download", "checksum", "load", "golden"]


class ModelRefusedError(ModelError):
    """A version failed a step and does not serve. `reason` names the step."""

    def __init__(self, reason: Step, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class LocalFaultError(ModelError):
    """This machine failed, and not the version: memory, open files, a copy that was removed. It may pass."""


PASSING_FAULTS: Final = (UnavailableError, RejectedError, ModelCacheError, LocalFaultError)
"""What says nothing about a version: the same step may succeed later."""

_CAUSES: Final = ("unavailable", "rejected", "cache", "local")


def cause_of(fault: Exception) -> str:
    """What one of `PASSING_FAULTS` is called in the metrics."""
    return next(cause for kind, cause in zip(PASSING_FAULTS, _CAUSES, strict=True) if isinstance(fault, kind))


@contextmanager
def step(reason: Step) -> Iterator[None]:
    """Turn what is wrong with a version into a refusal; what is wrong with S3 or with the cache passes as it is.

    Raises:
        ModelRefusedError: with `reason`, or `checksum` where a file is not the one that its manifest lists.
        LocalFaultError: Memory or the operating system failed.
    """
    try:
        yield
    except (ModelCacheError, LocalFaultError):
        raise
    except ModelDamagedError as exc:
        raise ModelRefusedError("checksum", str(exc)) from exc
    except ModelError as exc:
        raise (LocalFaultError(str(exc)) if _is_local(exc) else ModelRefusedError(reason, str(exc))) from exc
    except (OSError, MemoryError) as exc:
        raise LocalFaultError(f"{type(exc).__name__}: {one_line(exc)}") from exc


def ready(package: ModelPackage, *, threads: int) -> OnnxClassifier:
    """Load a verified package, warm it up, and try it on its golden posts.

    Args:
        package: The package.
        threads: ONNX Runtime's intra-op threads.

    Raises:
        ModelRefusedError: with the reason `load` or `golden`.
        LocalFaultError: Memory or the operating system failed, or the package is no longer what was verified.
    """
    try:
        with step("load"), _any_error(package):
            classifier = OnnxClassifier.load(package, threads=threads)
            classifier.warm_up()
        with step("golden"), _any_error(package):
            check_golden(classifier, package)
    except ModelRefusedError as exc:
        try:
            load_package(package.path)
        except ModelError as now:
            raise LocalFaultError(f"{now} (it was whole before)") from exc
        raise
    return classifier


def _is_local(exc: BaseException | None) -> bool:
    """Whether a fault of this machine is at the bottom of it."""
    while exc is not None:
        if isinstance(exc, OSError | MemoryError):
            return True
        exc = exc.__cause__
    return False


@contextmanager
def _any_error(package: ModelPackage) -> Iterator[None]:
    """ONNX Runtime's exceptions share no base class, and some networks load and then fail when they run."""
    try:
        yield
    except ModelError:
        raise
    except Exception as exc:
        raise ModelPackageError(f"the networks in {package.path} cannot be run: {one_line(exc)}") from exc
