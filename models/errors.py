"""What can go wrong with a model.

ModelError                  one clear line for the operator
├── ModelPackageError       a package is incomplete, malformed, or fails its checksums
└── ModelNotFoundError      no such package, version or bucket
"""


class ModelError(Exception):
    """A model cannot be used; the message is one line that names it and why."""


class ModelPackageError(ModelError):
    """The package's files and its manifest disagree, or the manifest is malformed."""


class ModelNotFoundError(ModelError):
    """There is no package at that place."""
