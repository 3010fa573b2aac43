"""Masks secrets in whatever is about to be printed: errors of the command line and every log record."""

from __future__ import annotations

import logging
from collections.abc import Iterable

_MASK = "***"
_secrets: set[str] = set()


def remember_secrets(secrets: Iterable[str]) -> None:
    """Mask these strings from now on, in this process."""
    _secrets.update(secret for secret in secrets if secret)


def redact(text: str) -> str:
    """`text` with every remembered secret replaced by `***`."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, _MASK)
    return text


class RedactingFilter(logging.Filter):
    """A filter for log handlers: masks secrets in the message, its arguments and its stack traces."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place; it always passes."""
        if _secrets:
            record.msg = redact(_message_of(record))
            record.args = None
            if record.exc_info and not record.exc_text:
                record.exc_text = logging.Formatter().formatException(record.exc_info)
            # Also where another handler, without this filter, has formatted the trace before.
            if record.exc_text:
                record.exc_text = redact(record.exc_text)
            if record.stack_info:
                record.stack_info = redact(record.stack_info)
        return True


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        # A malformed call, somewhere in a library: logging itself would report it and go on.
        return f"{record.msg} {record.args}"
