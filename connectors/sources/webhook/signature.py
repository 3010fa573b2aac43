"""Signatures of webhooks: HMAC-SHA256 (RFC 2104) of the body, in a header. Pure.

The default is the form of GitHub: `X-Hub-Signature-256: sha256=<hex>`. With a header for the time, the signature is of
`<time>.<body>`, as Stripe has it, so that nobody can change the time of a request that was recorded.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_PREFIX: Final = b"sha256="
_TIME: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", re.ASCII)


@dataclass(frozen=True)
class SignatureRules:
    """How requests are signed.

    Attributes:
        secret: what the sender and the receiver know.
        header: the header with the signature, in lower case.
        timestamp_header: the header with the time in seconds since 1970, in lower case; None if requests have none.
        tolerance_s: the most seconds between that time and the present.
    """

    secret: bytes = field(repr=False)
    header: str = "x-hub-signature-256"
    timestamp_header: str | None = None
    tolerance_s: float = 300.0

    def problem(self, headers: Mapping[str, str], body: bytes, now: float) -> str | None:
        """Returns why a request is not to be trusted, in one line; None if it is to be trusted.

        Signatures are compared in a time that does not tell how much of them is right.

        Args:
            headers: the headers, with their names in lower case.
            body: the body as it was sent.
            now: the present time in seconds since 1970.
        """
        given = headers.get(self.header)
        if given is None:
            return f"the header {self.header} is missing"
        signed = body
        if self.timestamp_header is not None:
            stated = headers.get(self.timestamp_header, "")
            if _TIME.fullmatch(stated) is None:
                return f"the header {self.timestamp_header} has no seconds since 1970"
            signed = stated.encode() + b"." + body
        expected = hmac.new(self.secret, signed, hashlib.sha256).hexdigest().encode()
        found = given.strip().encode("utf-8", "replace").lower().removeprefix(_PREFIX)
        if not hmac.compare_digest(expected, found):
            return "the signature is wrong"
        if self.timestamp_header is not None:
            away_s = abs(now - float(headers[self.timestamp_header]))
            if away_s > self.tolerance_s:
                return f"the request is {away_s:.0f} s away from the present; {self.tolerance_s:g} s are allowed"
        return None
