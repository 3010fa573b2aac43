"""The signature of a webhook: HMAC-SHA256 (RFC 2104) of the time and the body, as Stripe has it. Pure."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

HEADER: Final = "X-Emostream-Signature"


def signature(secret: bytes, body: bytes, now: int) -> str:
    """Returns the value of the header: `t=<seconds>,v1=<hex>`.

    The hex digits are the HMAC of `<seconds>.<body>`. The time is part of it, so a receiver can refuse a request that
    somebody has recorded and sends again later.

    Args:
        secret: what sender and receiver know.
        body: the body as it is sent.
        now: the present time, in whole seconds since 1970.
    """
    digest = hmac.new(secret, str(now).encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={now},v1={digest}"
