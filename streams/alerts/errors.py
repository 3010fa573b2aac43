"""The errors of the rules of alerts.

EmostreamError
└── RuleError               a rule cannot be changed as wanted; nothing was changed
    ├── RuleExistsError     there is a rule of this id
    ├── RuleMissingError    there is no rule of this id
    ├── RuleRevisionError   somebody changed the rule meanwhile
    └── TooManyError        there are as many rules or mutes as there may be
"""

from __future__ import annotations

from streams.errors import EmostreamError


class RuleError(EmostreamError):
    """A rule cannot be changed as wanted. Nothing was changed."""


class RuleExistsError(RuleError):
    """There is a rule of this id already."""


class RuleMissingError(RuleError):
    """There is no rule of this id."""


class RuleRevisionError(RuleError):
    """The rule has another revision than the one that was to be replaced.

    Attributes:
        revision: the revision that it has.
    """

    def __init__(self, rule: str, expected: int, revision: int) -> None:
        super().__init__(f"rule {rule} has revision {revision}, not {expected}: somebody changed it; read it again")
        self.revision = revision


class TooManyError(RuleError):
    """There are as many rules or mutes as there may be."""
