"""The errors of models.

ModelError                  base class; the message is one line for the operator
├── ModelPackageError       a package is incomplete, malformed, or contradicts itself
│   └── ModelDamagedError   the size or the SHA-256 of a file differs from the manifest
├── ModelNotFoundError      there is no such package, version, channel or bucket
├── ChannelMovedError       another process moved a channel after it was read
├── ModelCacheError         the folder for downloaded packages cannot be used
├── OverloadedError         too many texts wait for the model; it says when to ask again
├── RequestTooLargeError    a request has more texts or bytes than may wait at all
├── ClassificationError     the model failed while it classified texts
├── ServingStoppedError     the process stopped before texts were classified
└── TrainingError           the input of training or evaluation cannot be used; in `models.training.errors`
"""


class ModelError(Exception):
    """A model cannot be used. The message is one line that names the model and the reason."""


class ModelPackageError(ModelError):
    """A package does not match its manifest, or the manifest is malformed."""


class ModelDamagedError(ModelPackageError):
    """The size or the SHA-256 of a file differs from the package's manifest."""


class ModelNotFoundError(ModelError):
    """There is no such package, version, channel or bucket."""


class ChannelMovedError(ModelError):
    """Another process moved the channel after it was read. This call changed nothing."""


class ModelCacheError(ModelError):
    """The folder for downloaded packages cannot be read or written, or is locked."""


class OverloadedError(ModelError):
    """Too many texts wait for the model. The same request may be accepted later.

    Attributes:
        retry_after_s: Seconds until the texts that wait now are classified, as far as it can be told.
    """

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RequestTooLargeError(ModelError):
    """A request has more texts or bytes than may wait. It must be divided."""


class ClassificationError(ModelError):
    """The model failed while it classified texts. The cause is its error."""


class ServingStoppedError(ModelError):
    """The process stops, and texts were not classified."""
