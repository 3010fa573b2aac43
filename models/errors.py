"""What can go wrong with a model.

ModelError                  one clear line for the operator
├── ModelPackageError       a package is incomplete, malformed, or contradicts itself
│   └── ModelDamagedError   a file is not the one that the manifest lists: size or SHA-256 differ
├── ModelNotFoundError      no such package, version, channel or bucket
├── ChannelMovedError       someone else moved a channel between our look and our move
├── ModelCacheError         the folder for downloaded packages cannot be used
└── TrainingError           what training or evaluation is given cannot be used; in `models.training.errors`
"""


class ModelError(Exception):
    """A model cannot be used; the message is one line that names it and why."""


class ModelPackageError(ModelError):
    """The package's files and its manifest disagree, or the manifest is malformed."""


class ModelDamagedError(ModelPackageError):
    """A file of the package is not the one that its manifest lists."""


class ModelNotFoundError(ModelError):
    """There is no package at that place."""


class ChannelMovedError(ModelError):
    """A channel was moved meanwhile by someone else; nothing was changed."""


class ModelCacheError(ModelError):
    """The folder for downloaded packages cannot be read or written, or is locked."""
