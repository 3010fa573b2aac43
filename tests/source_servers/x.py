"""The filtered stream, its rules, and the recent search of X, as docs.x.com/x-api describes them."""

from __future__ import annotations

import asyncio
import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.source_servers.http import Hangup, HttpServer, Reply, Request, Stream

TOKEN = "AAAA%2Fsecret-bearer"
PROBLEMS = "https://api.x.com/2/problems/"
_FIRST_MS = 1_288_834_974_657
_CUT = b"cut"
_END = b"end"
_TOKENS = re.compile(r'\s*(\(|\)|-?"[^"]*"|[^\s()"]+)')


def problem(kind: str, title: str = "A problem", **more: Any) -> dict[str, Any]:
    return {"title": title, "detail": f"why: {title}", "type": PROBLEMS + kind, **more}


TOO_MANY = problem("streaming-connection", "ConnectionException", connection_issue="TooManyConnections")
DISCONNECT = problem(
    "operational-disconnect", "operational-disconnect", disconnect_type="UpstreamOperationalDisconnect"
)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


class XServer(HttpServer):
    """Holds rules and posts. Posts that a rule finds are sent to the connections, and are found by the search.

    Attributes:
        connections: the most connections of the stream at the same time.
        limit: the most rules.
        delay_s: seconds until the search finds a post.
        page: the most posts of a page.
        gate: while it is not set, connections wait.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rules: dict[str, dict[str, str]] = {}
        self.posts: dict[int, dict[str, Any]] = {}
        self.connections = 1
        self.most_connections = 0
        self.limit = 1_000
        self.page = 100
        self.sent = 0
        self.delay_s = 0.0
        self._numbers = iter(range(10**9))
        self._streams: list[asyncio.Queue[bytes]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._left = asyncio.Event()

    @property
    def streams(self) -> int:
        return len(self._streams)

    async def free(self) -> None:
        """Wait until there is room for a connection: the server may not have noticed yet that one was closed."""
        async with asyncio.timeout(30):
            while len(self._streams) >= self.connections:
                await self._left.wait()

    def values(self, tag: str | None = None) -> list[str]:
        return sorted(rule["value"] for rule in self.rules.values() if tag is None or rule.get("tag") == tag)

    def rule(self, value: str, tag: str | None = None) -> str:
        """A rule of somebody else."""
        number = str(10**18 + next(self._numbers))
        self.rules[number] = {"id": number, "value": value} | ({"tag": tag} if tag else {})
        return number

    def post(self, text: str, *, ago: timedelta = timedelta(), send: bool = True, **more: Any) -> str:
        """A new post. One with `send=False` comes while X does not send it to the connections."""
        at = datetime.now(UTC) - ago
        number = ((int(at.timestamp() * 1_000) - _FIRST_MS) << 22) + next(self._numbers) % 2**22
        post = {
            "id": str(number),
            "text": text,
            "author_id": "2244994945",
            "created_at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "edit_history_tweet_ids": [str(number)],
            "lang": "en",
            **more,
        }
        self.posts[number] = post
        if send:
            self.send(str(number))
        return str(number)

    def edit(self, number: str, text: str, *, send: bool = True) -> str:
        """A new version of a post. The search finds the newest one only."""
        former = self.posts.pop(int(number))
        new = self.post(text, send=False)
        self.posts[int(new)]["edit_history_tweet_ids"] = [*former["edit_history_tweet_ids"], new]
        if send:
            self.send(new)
        return new

    def repost(self, text: str, **more: Any) -> str:
        original = self.post(text, send=False)
        cut = f"RT @other: {text[:20]}…"
        return self.post(cut, referenced_tweets=[{"type": "retweeted", "id": original}], **more)

    def send(self, number: str) -> None:
        """Send a post to the connections, if a rule finds it."""
        post = self.posts[int(number)]
        if found := [rule for rule in self.rules.values() if matches(rule["value"], post)]:
            rules = [{name: rule[name] for name in ("id", "tag") if name in rule} for rule in found]
            self.send_line({"data": post, "matching_rules": rules})

    def send_line(self, document: object) -> None:
        self.send_raw(json.dumps(document).encode() + b"\r\n")

    def send_raw(self, part: bytes) -> None:
        for queue in self._streams:
            queue.put_nowait(part)

    def beat(self) -> None:
        self.send_raw(b"\r\n")

    def cut_streams(self) -> None:
        """Reset the connections in the middle of a post."""
        self.send_raw(b'{"data": {"id": "17')
        self.send_raw(_CUT)

    def end_streams(self) -> None:
        self.send_raw(_END)

    async def answer(self, request: Request) -> Reply | Stream:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return reply(problem("unsupported-authentication", "Unauthorized"), 401)
        if request.path == "/2/tweets/search/stream/rules":
            return self._change(json.loads(request.body)) if request.method == "POST" else self._list(request)
        if request.path == "/2/tweets/search/recent":
            return self._search(request)
        return self._connect(request) if request.path == "/2/tweets/search/stream" else Reply(404)

    def _connect(self, request: Request) -> Reply | Stream:
        if not self.rules:
            return reply(problem("streaming-connection", connection_issue="RuleConfigurationIssue"), 409)
        if len(self._streams) >= self.connections:
            reset = str(int(time.time()) + 900)
            return reply(TOO_MANY, 429, {"x-rate-limit-remaining": "48", "x-rate-limit-reset": reset})
        return self._stream(int(request.query.get("backfill_minutes", 0)))

    def _list(self, request: Request) -> Reply:
        every = list(self.rules.values())
        begin = int(request.query.get("pagination_token", 0))
        meta = {"sent": "now"} | ({"next_token": str(begin + self.page)} if begin + self.page < len(every) else {})
        return reply({"data": every[begin : begin + self.page], "meta": meta} if every else {"meta": meta})

    def _change(self, change: dict[str, Any]) -> Reply:
        if "delete" in change:
            gone = [self.rules.pop(number, None) for number in change["delete"]["ids"]]
            return reply({"meta": {"summary": {"deleted": len(gone) - gone.count(None)}}})
        errors, present = [], {rule["value"]: rule["id"] for rule in self.rules.values()}
        for rule in change["add"]:
            value = rule["value"]
            if value in present:
                errors.append(problem("duplicate-rules", "DuplicateRule", value=value, id=present[value]))
            elif reason := invalid(value):
                errors.append(problem("invalid-rules", "UnprocessableEntity", value=value, details=[reason]))
        if len(self.rules) + len(change["add"]) > self.limit:
            errors.append(problem("rule-cap", "RulesCapExceeded"))
        if errors:  # none is added then
            return reply({"errors": errors, "meta": {"summary": {"created": 0}}})
        return reply({"data": [self.rules[self.rule(**rule)] for rule in change["add"]]}, 201)

    def _search(self, request: Request) -> Reply:
        query = request.query
        if reason := invalid(query["query"]):
            return reply(problem("invalid-request", "Invalid Request", errors=[{"message": reason}]), 400)
        oldest = (int(time.time() * 1_000) - 7 * 86_400_000 - _FIRST_MS) << 22
        if int(query.get("since_id", oldest)) < oldest:
            return reply(problem("invalid-request", "'since_id' must be a tweet id created after"), 400)
        since, until = int(query.get("since_id", 0)), int(query.get("until_id", 2**63))
        until = min(until, (int((time.time() - self.delay_s) * 1_000) - _FIRST_MS) << 22)
        from_time = query.get("start_time", "")
        found = [
            post
            for number, post in sorted(self.posts.items(), reverse=True)
            if since < number < until and post["created_at"] >= from_time and matches(query["query"], post)
        ]
        begin, size = int(query.get("next_token", 0)), min(int(query["max_results"]), self.page)
        page = found[begin : begin + size]
        self.sent += len(page)
        meta = {"result_count": len(page)} | ({"next_token": str(begin + size)} if begin + size < len(found) else {})
        return reply({"data": page, "meta": meta} if page else {"meta": meta})

    async def _stream(self, backfill_minutes: int) -> Stream:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        await self.gate.wait()
        self._streams.append(queue)
        self._left.clear()
        self.most_connections = max(self.most_connections, len(self._streams))
        try:
            yield b"\r\n"
            if backfill_minutes:
                at = int(time.time() * 1_000) - backfill_minutes * 60_000
                for number in sorted(self.posts):
                    if number >= (at - _FIRST_MS) << 22:
                        self.send(str(number))
            while (part := await queue.get()) != _END:
                if part == _CUT:
                    raise Hangup
                self.sent += 1
                yield part
        finally:
            self._streams.remove(queue)
            self._left.set()


def invalid(rule: str) -> str | None:
    """Why X would refuse a rule; None if it would not."""
    tokens = _TOKENS.findall(rule)
    if len(rule) > 1_024:
        return "Rules must be 1024 characters or less"
    if _TOKENS.sub("", rule).strip():
        return "mismatched input"
    for token in tokens:
        bare = token.lower()
        if bare in ("and", "not") or (bare == "or" and token != "OR"):
            return f"Ambiguous use of {bare} as a keyword"
        if '"' not in token and token != "-is:retweet" and re.search(r"[!-~](?<![\w#@$()])", token):
            return f"no viable alternative at character in {token}"
    try:
        _parse(tokens, {"text": ""})
    except (IndexError, ValueError):
        return "missing EXPRESSION at '<EOF>'"
    return None


def matches(rule: str, post: dict[str, Any]) -> bool:
    return _parse(_TOKENS.findall(rule), post)


def _parse(tokens: list[str], post: dict[str, Any]) -> bool:
    """AND binds more tightly than OR."""
    rest = list(tokens)

    def either() -> bool:
        found = both()
        while rest and rest[0] == "OR":
            rest.pop(0)
            found = both() or found
        return found

    def both() -> bool:
        found = one()
        while rest and rest[0] not in ("OR", ")"):
            found = one() and found
        return found

    def one() -> bool:
        token = rest.pop(0)
        if token == "(":
            found = either()
            if rest.pop(0) != ")":
                raise ValueError
            return found
        if token in ("OR", ")"):
            raise ValueError
        return not _has(post, token[1:]) if token.startswith("-") else _has(post, token)

    found = either()
    if rest:
        raise ValueError
    return found


def _has(post: dict[str, Any], term: str) -> bool:
    text = post["text"]
    if term == "is:retweet":
        return any(one["type"] == "retweeted" for one in post.get("referenced_tweets", []))
    if term[0] in "#@$":
        return re.search(rf"{re.escape(term)}\b", text, re.IGNORECASE) is not None
    wanted, found = words(term.strip('"')), words(text)
    size = len(wanted)
    return any(found[begin : begin + size] == wanted for begin in range(len(found) - size + 1)) if size else False


def reply(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})
