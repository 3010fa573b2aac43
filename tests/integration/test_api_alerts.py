"""Rules, incidents and mutes of alerts over HTTP, with real Postgres."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import quote

import httpx
import psycopg
import pytest

from api.client import ApiError, Client
from connectors.local import Endpoints
from streams.ops.demo.processes import Role
from streams.settings import Settings
from tests.integration.access_support import execute
from tests.integration.api_support import assert_problem, client_of
from tests.integration.bi_support import MINUTE, NOON, add_window, renamed
from tests.integration.rules_support import EXAMPLES, POINTS, WORDS, a_rule, add_incident
from tests.integration.test_api_guards import new_key

BOARD = "https://board.example"


@pytest.fixture
def http(start: Callable[..., Role], settings: Settings) -> Iterator[httpx.Client]:
    service = start("api", EMOSTREAM_API_PORT="0", EMOSTREAM_API_CORS_ORIGINS=BOARD)
    with client_of(service) as client:
        yield client


def put(http: httpx.Client, rule: dict[str, object], revision: int | None = None, **headers: str) -> httpx.Response:
    params = {} if revision is None else {"revision": revision}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.put(f"/v1/alerts/rules/{rule['id']}", json=rule, params=params, headers=named)


def test_rules_are_made_changed_and_removed_by_the_revision_that_a_caller_has_seen(http: httpx.Client) -> None:
    assert http.get("/v1/alerts/rules").json() == {"rules": [], "unreadable": []}
    assert_problem(http.get("/v1/alerts/rules/coffee-anger"), 404, "there is no rule coffee-anger")
    assert_problem(put(http, a_rule(), If_Match="*"), 412, "does not exist")
    assert_problem(put(http, a_rule(), revision=3), 409, "does not exist")
    made = put(http, a_rule(), If_None_Match="*")
    assert (made.status_code, made.headers["etag"], made.json()["revision"]) == (201, '"1"', 1)
    assert made.json()["rule"]["cooldown_s"] == 3_600  # defaults are told

    # What was read can be stored again as it is, and changes nothing.
    found = http.get("/v1/alerts/rules/coffee-anger")
    assert found.json() == made.json()
    assert http.get("/v1/alerts/rules").json()["rules"] == [made.json()]
    assert http.get(found.url.path, headers={"If-None-Match": f"W/{found.headers['etag']}"}).status_code == 304
    same = put(http, found.json()["rule"], If_Match='"1"')
    assert (same.status_code, same.json()) == (200, made.json())

    changed = put(http, a_rule(name="Fury"), If_Match='"7", "1"')
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    for refused in (
        put(http, a_rule(name="Mine"), If_Match='"1"'),
        put(http, a_rule(name="Mine"), If_None_Match="*"),
        put(http, a_rule(name="Mine"), If_Match="1"),
        http.delete("/v1/alerts/rules/coffee-anger", headers={"If-Match": '"1"'}),
    ):
        assert_problem(refused, 412, "it is in revision 2; read it again")
        assert refused.headers["etag"] == '"2"'
    for refused in (
        put(http, a_rule(name="Mine"), revision=1),
        put(http, a_rule(name="Mine"), revision=0),
        http.delete("/v1/alerts/rules/coffee-anger", params={"revision": 1}),
    ):
        assert_problem(refused, 409, "it is in revision 2; read it again")
    assert http.get("/v1/alerts/rules/coffee-anger").json()["rule"]["name"] == "Fury"

    assert http.delete("/v1/alerts/rules/coffee-anger", headers={"If-Match": '"2"'}).status_code == 204
    assert_problem(http.delete("/v1/alerts/rules/coffee-anger"), 404, "there is no rule")
    assert_problem(http.get("/v1/alerts/rules/coffee-anger"), 404, "there is no rule")
    again = put(http, a_rule())
    assert again.status_code == 201
    assert again.json()["revision"] > 2  # its former incidents have another revision


def test_of_two_writers_of_a_rule_one_wins(http: httpx.Client) -> None:
    put(http, a_rule())
    with ThreadPoolExecutor(8) as pool:
        for revision in 1, 2, 3:
            names = [f"writer {number} of {revision}" for number in range(8)]
            given = list(pool.map(lambda name: put(http, a_rule(name=name), revision=revision), names))  # noqa: B023
            assert sorted(one.status_code for one in given) == [200] + [409] * 7
            [(winner, answer)] = [(name, one) for name, one in zip(names, given, strict=True) if one.is_success]
            assert answer.json()["revision"] == revision + 1
            assert http.get("/v1/alerts/rules/coffee-anger").json()["rule"]["name"] == winner
        new = list(pool.map(lambda _: put(http, a_rule("new"), If_None_Match="*"), range(8)))
        assert sorted(one.status_code for one in new) == [201] + [412] * 7


REFUSED: list[tuple[dict[str, object], str, str]] = [
    ({"id": "Coffee"}, "path.rule", "pattern"),
    ({"window_s": 61}, "body.window_s", "the sizes are 60 (1m), "),
    ({"measure": {"of": "emotion", "label": "hunger"}}, "body.measure.label", "the labels are "),
    ({"measure": {"of": "sentiment", "label": "hunger"}}, "body.measure.label", "no served model has this label"),
    ({"channels": ["pager"]}, "body.channels", "there is no channel pager; the channels are "),
    ({"keywords": ["a", "a"]}, "body.keywords", "names a keyword twice"),
    ({"keywords": []}, "body.keywords", "at least 1 item"),
    ({"keywords": "all"}, "body.keywords", "and 1 more"),
    ({"keywords": "each", "condition": {"limit": 1, "direction": "below"}}, "body.keywords", "no end of silent ones"),
    ({"condition": {"limit": 40, "clear": 50}}, "body.condition", "clear must not be above"),
    ({"condition": {"limit": -1}}, "body.condition.threshold.limit", "greater than or equal to 0"),
    ({"condition": {"limit": 1.1e12}}, "body.condition.threshold.limit", "less than or equal to"),
    ({"condition": {"limit": "NaN"}}, "body.condition.threshold.limit", "finite"),
    ({"condition": {"type": "magic"}}, "body.condition", "magic"),
    ({"for_windows": 0}, "body.for_windows", "greater than or equal to 1"),
    ({"name": "a" * 201}, "body.name", ""),
    ({"name": "a\0b"}, "body.name", "pattern"),
    ({"unknown": 1}, "body.unknown", "not permitted"),
]


def test_rules_and_requests_that_are_refused(http: httpx.Client) -> None:
    for fields, where, what in REFUSED:
        condition = {"type": "threshold", **fields.get("condition", {"limit": 40})}  # type: ignore[dict-item]
        answer = put(http, a_rule(**{**fields, "condition": condition}))
        assert_problem(answer, 422, what)
        assert any(error["where"].startswith(where) for error in answer.json()["errors"]), (fields, answer.text)
    assert_problem(
        http.put("/v1/alerts/rules/other", json=a_rule()), 422, "body.id: is not the id in the address, other"
    )
    for id_ in "x' OR '1'='1", "a|b", "../keys", "%00", "x" * 64, "ä":
        answer = http.get(f"/v1/alerts/rules/{quote(id_, safe='')}")
        assert answer.status_code in {404, 422}, id_
    for path, detail in {
        "/v1/alerts/incidents?rule=x'--": "query.rule",
        "/v1/alerts/incidents?state=new": "query.state",
        "/v1/alerts/incidents?limit=201": "query.limit",
        "/v1/alerts/incidents?keyword=%00": "U+0000",
        "/v1/alerts/incidents?before=1-%3B": "query.before: is not the `next_before` of a page",
        "/v1/alerts/incidents?before=999999999999999999-YQ": "query.before",
        "/v1/alerts/incidents?before=1-_w": "query.before",
        "/v1/alerts/incidents?before=1-AAAA": "query.before",
        "/v1/alerts/incidents/a%00b": "U+0000",
        f"/v1/alerts/incidents/{'x' * 501}": "path.incident",
    }.items():
        assert_problem(http.get(path), 422, detail)
    assert_problem(http.get("/v1/alerts/incidents/x'; DROP TABLE alert_incidents; --"), 404, "no incident")
    for body, detail in (
        ({"duration_s": 60}, "give rule, keyword or both"),
        ({"keyword": "tea"}, "give duration_s or until"),
        ({"keyword": "tea", "duration_s": 60, "until": "2999-01-01T00:00:00Z"}, "give duration_s or until"),
        (
            {"keyword": "tea", "until": "2999-01-01T00:00:00Z"},
            "body.until: is not in the future, or more than 366 days",
        ),
        ({"keyword": "tea", "until": "2020-01-01T00:00:00Z"}, "body.until: is not in the future"),
        ({"keyword": "tea", "duration_s": 0}, "body.duration_s"),
        ({"rule": "absent", "duration_s": 60}, "body.rule: there is no rule absent"),
        ({"keyword": "tea", "duration_s": 60, "reason": "x" * 501}, "body.reason"),
    ):
        assert_problem(http.post("/v1/alerts/mutes", json=body), 422, detail)
    assert_problem(http.delete(f"/v1/alerts/mutes/{2**63}"), 422, "path.mute")
    assert_problem(http.delete("/v1/alerts/mutes/1"), 404, "there is no mute 1")

    # What a page of another origin may send without asking, or what it could send if it were not refused.
    rule, path = a_rule(), "/v1/alerts/rules/coffee-anger"
    for origin in "https://evil.example", "null", "http://127.0.0.1:1", "http://[":
        for refused in (
            put(http, rule, Origin=origin),
            http.delete(path, headers={"Origin": origin}),
            http.post("/v1/alerts/mutes", json={"keyword": "tea", "duration_s": 60}, headers={"Origin": origin}),
        ):
            assert_problem(refused, 403, "pages of this origin")
    for kind in "text/plain", "application/x-www-form-urlencoded", "":
        refused = http.put(path, content=json.dumps(rule), headers={"Content-Type": kind})
        assert_problem(refused, 415, "application/json")
    assert_problem(put(http, rule, Content_Encoding="gzip"), 415, "must not be compressed")
    assert_problem(put(http, rule, Host="evil.example"), 403, "loopback names")
    assert_problem(http.put(path, content=b"[" * 100_000, headers={"Content-Type": "application/json"}), 400, "")
    assert http.get("/v1/alerts/rules").json() == {"rules": [], "unreadable": []}
    assert http.get("/v1/alerts/mutes?all=true").json() == {"mutes": []}
    for allowed in str(http.base_url).rstrip("/"), BOARD:
        assert put(http, rule, Origin=allowed).is_success
    for method in "PUT", "DELETE":
        asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "content-type,if-match"}
        assert http.options(path, headers={"Origin": BOARD, **asked}).headers["access-control-allow-origin"] == BOARD
        foreign = http.options(path, headers={"Origin": "https://evil.example", **asked})
        assert "access-control-allow-origin" not in foreign.headers


def test_incidents_by_pages_with_their_reasons_and_mutes(http: httpx.Client, settings: Settings) -> None:
    dsn = settings.postgres_dsn.get_secret_value()
    assert http.get("/v1/alerts/incidents").json() == {"incidents": [], "next_before": None}
    # Several were decided at the same time, and one has a keyword with characters that addresses escape.
    keys = [add_incident(dsn, NOON, keyword=keyword) for keyword in ("a/b?c", "tea", "Ärger ☕")]
    keys.append(add_incident(dsn, NOON + timedelta(hours=1), ended=NOON + timedelta(hours=2), severity="critical"))
    keys.append(add_incident(dsn, NOON + timedelta(hours=3), rule="other", keyword="*"))
    newest = [keys[4], keys[3], *sorted(keys[:3])]

    def listed(**params: str | int) -> list[str]:
        found, params = [], {**params}
        while True:
            page = http.get("/v1/alerts/incidents", params=params).json()
            found += [one["incident"] for one in page["incidents"]]
            if page["next_before"] is None:
                return found
            assert len(page["incidents"]) == params["limit"]
            params["before"] = page["next_before"]

    for limit in 1, 2, 5:
        assert listed(limit=limit) == newest
    assert listed(state="open", limit=1) == [key for key in newest if key != keys[3]]
    assert listed(state="closed") == [keys[3]]
    assert listed(severity="critical", rule="coffee-anger") == [keys[3]]
    assert listed(keyword="a/b?c") == [keys[0]]
    assert listed(rule="other", since="2026-03-01T15:02:00Z") == [keys[4]]
    assert listed(rule="other", since="2026-03-01T15:02:01Z") == []

    one = http.get("/v1/alerts/incidents", params={"state": "closed"}).json()["incidents"][0]
    assert not {"words", "examples", "points"} & one.keys()
    expected = {"state": "closed", "ended": "2026-03-01T14:00:00Z", "value": 45.0, "low": 35.2, "limit": 40.0}
    assert expected.items() <= one.items()
    for key in keys:
        answer = http.get(f"/v1/alerts/incidents/{quote(key, safe='')}")
        whole = answer.json()
        assert whole["incident"] == key
        assert whole["words"] == WORDS
        assert [point["value"] for point in whole["points"]] == [point["value"] for point in POINTS]
        assert whole["examples"][0].items() >= {"id": "1", "text": EXAMPLES[0]["text"]}.items()
        delivered = [(row["channel"], row["state"], row["attempts"], row["last_error"]) for row in whole["deliveries"]]
        assert delivered == [("", "waiting", 0, None), ("ops", "waiting", 0, None)]
        assert (
            http.get(answer.url.raw_path.decode(), headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
        )

    chart = http.get(f"/v1/alerts/incidents/{quote(keys[0], safe='')}/chart.png")
    assert (chart.headers["content-type"], chart.content[:4]) == ("image/png", b"\x89PNG")
    same = http.get(chart.url.raw_path.decode(), headers={"If-None-Match": chart.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    assert_problem(http.get("/v1/alerts/incidents/none/chart.png"), 404, "no incident with this key")

    with Client(str(http.base_url)) as client:
        page = client.incidents(state="open", limit=1, since=NOON)
        following = client.incidents(state="open", limit=200, before=page.next_before)
        assert [one.incident for one in page.incidents + following.incidents] == listed(state="open")
        assert client.incident(keys[0]).words[0].word == "spilt"
        assert (client.alert_rules(), client.alert_mutes(ended=True)) == ([], [])
        with pytest.raises(ApiError, match="no incident with this key"):
            client.incident("?/..")


def test_mutes_are_made_listed_and_ended(http: httpx.Client) -> None:
    put(http, a_rule())
    muted = [
        http.post("/v1/alerts/mutes", json={"keyword": " tea ", "duration_s": 3_600, "reason": " known "}),
        http.post("/v1/alerts/mutes", json={"rule": "coffee-anger", "keyword": "tea", "duration_s": 1}),
    ]
    assert [one.status_code for one in muted] == [201, 201]
    first, second = (one.json() for one in muted)
    assert (first["rule"], first["keyword"], first["reason"], first["active"]) == (None, "tea", "known", True)
    assert first in http.get("/v1/alerts/mutes").json()["mutes"]
    for _ in range(2):  # the second time changes nothing
        assert http.delete(f"/v1/alerts/mutes/{first['id']}").status_code == 204
    assert first["id"] not in [one["id"] for one in http.get("/v1/alerts/mutes").json()["mutes"]]
    every = http.get("/v1/alerts/mutes", params={"all": True}).json()["mutes"]
    assert [(one["id"], one["active"]) for one in every][-1] == (first["id"], False)
    assert [one["id"] for one in every] == [second["id"], first["id"]]


def test_a_rule_is_tried_on_the_history_within_limits(http: httpx.Client, settings: Settings) -> None:
    def preview(rule: dict[str, object], **more: object) -> httpx.Response:
        return http.post("/v1/alerts/rules/preview", json={"rule": rule, **more})

    rule = a_rule(enabled=False)
    assert_problem(preview(rule), 422, "the history has no windows of this size")
    with psycopg.connect(settings.postgres_dsn.get_secret_value(), autocommit=True) as connection:
        for minute, posts in enumerate([5, 50, 60, 5, 5, 70]):
            for keyword in "coffee", "*":
                add_window(connection, keyword, MINUTE, NOON + timedelta(minutes=minute), {"joy": (posts, 0.9)})
    found = preview({**rule, "cooldown_s": 0}, hours=1).json()
    times = [(one["began"], one["decided"], one["ended"]) for one in found["incidents"]]
    assert times == [
        ("2026-03-01T12:01:00Z", "2026-03-01T12:02:00Z", "2026-03-01T12:04:00Z"),
        ("2026-03-01T12:05:00Z", "2026-03-01T12:06:00Z", None),
    ]
    assert (found["found"], found["keywords"], found["incidents"][0]["value"]) == (2, 1, 50.0)
    assert preview(rule, hours=1, keywords=["tea"]).json()["found"] == 0
    assert http.get("/v1/alerts/rules").json()["rules"] == []
    assert http.get("/v1/alerts/incidents").json()["incidents"] == []
    assert_problem(preview(a_rule(window_s=61)), 422, "body.rule.window_s: windows of this size are not counted")
    assert_problem(preview(rule, hours=745), 422, "body.hours")
    wide = a_rule(keywords=[f"k{number}" for number in range(100)])
    assert_problem(preview(wide, hours=700), 422, "about 4,200,000 windows in 100 keywords and 700 hours")
    refused = http.post("/v1/alerts/rules/preview", json={"rule": rule}, headers={"Origin": "https://evil.example"})
    assert_problem(refused, 403, "pages of this origin")


def test_who_may_change_rules(
    start: Callable[..., Role], settings: Settings, env: dict[str, str], endpoints: Endpoints
) -> None:
    reader, writer = (new_key(env, scope, "--scope", scope) for scope in ("read", "alerts"))
    dsn, login = settings.postgres_dsn.get_secret_value(), f"login{secrets.token_hex(4)}"
    with psycopg.connect(dsn, autocommit=True) as administrator:
        administrator.execute(f"CREATE ROLE {login} LOGIN PASSWORD '{login}' IN ROLE emostream_api")
    try:
        own = renamed(dsn, user=login, password=login)
        with client_of(start("api", EMOSTREAM_API_PORT="0", EMOSTREAM_API_POSTGRES_DSN=own)) as http:
            assert_problem(http.get("/v1/alerts/rules"), 401, "")
            assert_problem(http.get("/v1/alerts/rules", headers={"X-API-Key": writer}), 403, "read")
            assert_problem(put(http, a_rule(), X_API_Key=reader), 403, "alerts")
            assert_problem(http.delete("/v1/alerts/rules/a", headers={"X-API-Key": reader}), 403, "alerts")
            assert_problem(http.post("/v1/alerts/mutes", json={}, headers={"X-API-Key": reader}), 403, "alerts")
            assert put(http, a_rule(), X_API_Key=writer).status_code == 201  # the role has the right
            assert put(http, a_rule("b"), X_API_Key=writer, Host="a.example").status_code == 201
            assert len(http.get("/v1/alerts/rules", headers={"X-API-Key": reader}).json()["rules"]) == 2
            assert http.get("/v1/alerts/channels", headers={"X-API-Key": reader}).json() == {"channels": []}
            execute(dsn, "REVOKE INSERT, UPDATE ON alert_rules FROM emostream_api")
            answer = put(http, a_rule(name="Mine"), X_API_Key=writer)
            assert_problem(answer, 503, "lacks a right for storing a rule; grant it emostream_api")
            execute(dsn, "DROP TABLE alert_rules")
            assert_problem(http.get("/v1/alerts/rules", headers={"X-API-Key": reader}), 503, "run `emostream init`")
    finally:
        with psycopg.connect(dsn, autocommit=True) as administrator:
            administrator.execute(f"DROP ROLE {login}")
