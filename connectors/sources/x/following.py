"""Keeps the rules of the stream equal to the keywords."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.events import skipped
from connectors.sources.x.api import Api
from connectors.sources.x.cursor import Step
from connectors.sources.x.rules import NO_RETWEETS, packed, planned, terms_of

NOTHING_WANTED = (
    "X has no stream of everything: give keywords, with --keywords, in sources.toml or with `emostream keywords add`"
)

_CHECK_S = 600.0
"""Seconds until rules are compared again: somebody else may delete them, and X does so after months."""


@dataclass(frozen=True, slots=True)
class RuleLimits:
    """What an account may have.

    Attributes:
        rules: the most rules, those that others have made included.
        rule_chars: the most characters of a rule.
        query_chars: the most characters of a query of the search.
    """

    rules: int = 1_000
    rule_chars: int = 1_024
    query_chars: int = 512


class RuleKeeper:
    """The rules of a source, which have its tag. Rules with other tags stay as they are.

    Attributes:
        shared: the ids of rules with another tag that say the same as one of ours would.
    """

    def __init__(
        self, api: Api, keywords: Callable[[], Sequence[str]], *, tag: str, limits: RuleLimits, retweets: bool
    ) -> None:
        """Prepare the rules.

        Args:
            api: the API.
            keywords: returns the present keywords; the same object as long as they are the same.
            tag: the tag of the rules.
            limits: what the account may have.
            retweets: whether the rules find reposts.
        """
        self.shared: set[str] = set()
        self._api = api
        self._keywords = keywords
        self._tag = tag
        self._limits = limits
        self._ending = "" if retweets else NO_RETWEETS
        self._set: Sequence[str] = ()

    async def queries(self) -> list[str]:
        """Returns queries of the search that find the present keywords.

        Raises:
            ConnectorError: As for `update`, and what `keywords` raises.
        """
        return await asyncio.to_thread(self._queries, self._keywords())

    def _queries(self, keywords: Sequence[str]) -> list[str]:
        return packed(terms_of(keywords), most_chars=self._limits.query_chars, ending=self._ending)

    async def update(self) -> int:
        """Add the rules that are missing, delete those that are not wanted any more, and return how many there are.

        New rules are added first, so that nothing is missed meanwhile, unless there is no room for them.

        Raises:
            RejectedError: The keywords do not fit into the rules that the account may have, or X refuses a rule.
            ConnectorError: As for `Api.lines`, and what `keywords` raises.
        """
        keywords = self._keywords()
        present = await self._api.rules()
        ours = {rule.value: rule.id for rule in present if rule.tag == self._tag}
        others = {rule.value: rule.id for rule in present if rule.tag != self._tag}
        limits = self._limits
        # Packing tens of thousands of keywords takes a second.
        wanted = await asyncio.to_thread(self._wanted, keywords, list(ours))
        new = [value for value in wanted if value not in ours and value not in others]
        foreign = sum(rule.tag != self._tag for rule in present)
        if (total := foreign + sum(value not in others for value in wanted)) > limits.rules:
            raise RejectedError(
                f"{len(keywords):,} keywords need {total - foreign:,} rules; {limits.rules:,} are allowed, and "
                f"{foreign:,} of them have other tags than {self._tag}"
            )
        kept = set(wanted) - set(others)
        old = [rule.id for rule in present if rule.tag == self._tag and rule.value not in kept]
        self.shared.update(others[value] for value in wanted if value in others)
        if len(present) + len(new) > limits.rules:
            await self._api.delete(old)
            old = []
        self.shared.update(await self._api.add(new, self._tag))
        await self._api.delete(old)
        self._set = keywords
        return len(wanted)

    def _wanted(self, keywords: Sequence[str], present: Sequence[str]) -> list[str]:
        return planned(terms_of(keywords), present, most_chars=self._limits.rule_chars, ending=self._ending)

    async def followed(self, interval_s: float) -> AsyncGenerator[Step, None]:
        """Update the rules again and again when the keywords have changed; yield a step after each update.

        Args:
            interval_s: seconds between two looks at the keywords.

        Raises:
            UnavailableError: There are no keywords any more. The rules were deleted.
            RejectedError: As for `update`.
        """
        check_at = time.monotonic() + _CHECK_S
        while True:
            await asyncio.sleep(interval_s)
            if self._keywords() is self._set and time.monotonic() < check_at:
                continue
            count = await self._api.patiently(self.update)
            check_at = time.monotonic() + _CHECK_S
            yield Step(event=skipped(f"the rules were updated: {count}"))
            if not self._set:
                raise UnavailableError(NOTHING_WANTED)
