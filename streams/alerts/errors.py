"""The errors of the rules of alerts.

EmostreamError
└── RuleError               a rule cannot be changed as wanted; nothing was changed
    ├── RuleExistsError     there is a rule of this id
    ├── RuleMissingError    there is no rule of this id
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


class TooManyError(RuleError):
    """There are as many rules or mutes as there may be."""
