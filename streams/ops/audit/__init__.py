"""The audit: compares the topics with each other, with the windows in Redis, and with the rows and windows in Postgres.

`run` lists the steps.
"""

from streams.ops.audit.checks import Check, require_balance
from streams.ops.audit.run import audit, audit_until_balanced

__all__ = ["Check", "audit", "audit_until_balanced", "require_balance"]
