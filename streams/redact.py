"""Masks secrets in text that is about to be printed: error messages of the command line and log records."""

from __future__ import annotations

import logging
from collections.abc import Iterable

_MASK = "***"
_secrets: set[str] = set()


def remember_secrets(secrets: Iterable[str]) -> None:
    """Add strings that `redact` masks from now on, in the whole process."""
    _secrets.update(secret for secret in secrets if secret)


def redact(text: str) -> str:
    """Returns `text` with each remembered secret replaced by `***`."""
    # The longest first: a secret may contain another one.
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, _MASK)
    return text


class RedactingFilter(logging.Filter):
    """A filter for log handlers that masks secrets in the message, its arguments and its stack traces."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the secrets in the record itself, and return True: no record is dropped."""
        if _secrets:
            record.msg = redact(_message_of(record))
            record.args = None
            if record.exc_info and not record.exc_text:
                record.exc_text = logging.Formatter().formatException(record.exc_info)
            # A handler without this filter may have formatted the trace before, with the secrets in it.
            if record.exc_text:
                record.exc_text = redact(record.exc_text)
            if record.stack_info:
                record.stack_info = redact(record.stack_info)
        return True


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        # The arguments do not fit the format string. `logging` would report that and go on, so the record is kept.
        return f"{record.msg} {record.args}"
