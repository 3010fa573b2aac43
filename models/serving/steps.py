"""The steps that a version must pass before it serves, and the error for a version that fails one."""

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

Step = Literal["channel", "manifest", "languages", "download", "checksum", "load", "golden"]
"""The names of the steps in the metrics. `languages` is the part of reading the manifest that compares its languages
with the configured ones, and `checksum` is the part of the download that verifies the files."""


class ModelRefusedError(ModelError):
    """A version failed a step, so it does not serve. `reason` names the step."""

    def __init__(self, reason: Step, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class LocalResourceError(ModelError):
    """The machine is the reason and not the version: no memory, no open files, or a copy that was removed."""


RETRIED_ERRORS: Final = (UnavailableError, RejectedError, ModelCacheError, LocalResourceError)
"""The errors that say nothing about a version. The old model keeps serving, and the worker tries again: even after a
RejectedError, because somebody may give the rights back while it runs."""

_CAUSES: Final = ("unavailable", "rejected", "cache", "local")


def cause_of(error: Exception) -> str:
    """Returns the name that one of `RETRIED_ERRORS` has in the metrics."""
    return next(cause for kind, cause in zip(RETRIED_ERRORS, _CAUSES, strict=True) if isinstance(error, kind))


@contextmanager
def step(name: Step) -> Iterator[None]:
    """Run a step: translate its errors into refusals of the version. Transient errors are raised unchanged.

    Raises:
        ModelRefusedError: The version fails this step. The reason is `name`, or `checksum` if a file differs from the
            manifest.
        LocalResourceError: Memory or the operating system failed.
    """
    try:
        yield
    except (ModelCacheError, LocalResourceError):
        raise
    except ModelDamagedError as exc:
        raise ModelRefusedError("checksum", str(exc)) from exc
    except ModelError as exc:
        raise (LocalResourceError(str(exc)) if _is_local(exc) else ModelRefusedError(name, str(exc))) from exc
    except (OSError, MemoryError) as exc:
        raise LocalResourceError(f"{type(exc).__name__}: {one_line(exc)}") from exc


def load_checked(package: ModelPackage, *, threads: int) -> OnnxClassifier:
    """Load a verified package, warm it up, and classify its golden posts.

    Args:
        package: The package.
        threads: ONNX Runtime's intra-op threads.

    Raises:
        ModelRefusedError: The package does not load, or answers a golden post differently. The reason is `load` or
            `golden`.
        LocalResourceError: Memory or the operating system failed, or the package changed since it was verified.
    """
    try:
        with step("load"), _onnx_errors(package):
            classifier = OnnxClassifier.load(package, threads=threads)
            classifier.warm_up()
        with step("golden"), _onnx_errors(package):
            check_golden(classifier, package)
    except ModelRefusedError as exc:
        try:
            load_package(package.path)
        except ModelError as now:
            raise LocalResourceError(f"{now} (it was intact before)") from exc
        raise
    return classifier


def _is_local(exc: BaseException | None) -> bool:
    """Returns whether an error of the operating system or of memory is among the causes of an error."""
    while exc is not None:
        if isinstance(exc, OSError | MemoryError):
            return True
        exc = exc.__cause__
    return False


@contextmanager
def _onnx_errors(package: ModelPackage) -> Iterator[None]:
    """Translate errors of ONNX Runtime, which share no base class, into errors of the package.

    Raises:
        ModelPackageError: A network failed when it was loaded or run.
    """
    try:
        yield
    except ModelError:
        raise
    except Exception as exc:
        raise ModelPackageError(f"the networks in {package.path} cannot be run: {one_line(exc)}") from exc
