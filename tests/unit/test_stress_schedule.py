"""The plan of a load: when its requests leave, which they are, and how latencies are counted."""

from __future__ import annotations

import json
import random

import pytest
from hdrh.histogram import HdrHistogram

from streams.errors import InputError
from streams.ops.stress.generator import Job
from streams.ops.stress.latencies import DIGITS, LONGEST_US, Distribution, Latencies
from streams.ops.stress.load import LoadResult, divide
from streams.ops.stress.report import Limits, Report
from streams.ops.stress.schedule import Schedule
from streams.ops.stress.tally import Tally
from streams.ops.stress.workload import Target, Workload, drawn, requests_of, zipf_weights

TARGET = Target.of("http://127.0.0.1:8000/base/")


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_the_processes_send_the_whole_plan_and_nothing_twice(parts: int) -> None:
    whole = Schedule(rate=70, warm_up_s=0.5, duration_s=1.5)
    job = Job(TARGET, whole, [b"x"], [0] * 12, connections=7, timeout_s=1)
    jobs = divide(job, parts)
    times = sorted(one.schedule.at(n) for one in jobs for n in range(one.schedule.count))
    assert times == pytest.approx([n / 70 for n in range(140)])
    assert sum(at >= whole.warm_up_s for at in times) == 105
    assert sum(one.connections for one in jobs) == 7
    assert min(one.connections for one in jobs) >= 7 // parts


def test_latencies_are_those_of_an_hdr_histogram() -> None:
    rng = random.Random(1)
    values = [int(rng.lognormvariate(8, 3)) for _ in range(20_000)]
    plain, counted = HdrHistogram(1, LONGEST_US, DIGITS), Latencies()
    for us in values:
        plain.record_value(us)
        counted.record((us + 0.5) / 1e6)
    ours = counted.histogram()
    for percentile in (1, 50, 90, 99, 99.9, 99.99, 100):
        assert ours.get_value_at_percentile(percentile) == plain.get_value_at_percentile(percentile)
    exact = sorted(values)[int(0.99 * len(values))]
    assert Distribution.of(counted).p99 == pytest.approx(exact / 1e3, rel=2e-2)
    assert len(counted.counts) < 2_048 + 1_024 * 22, "the memory is bounded, whatever comes"


def test_latencies_beyond_the_ends_are_counted_at_the_ends() -> None:
    latencies = Latencies()
    for seconds in (-1.0, 0.0, 1e9):
        latencies.record(seconds)
    assert sum(latencies.counts.values()) == 3
    assert latencies.histogram().get_total_count() == 3
    assert Distribution.of(Latencies()).p99 is None


def test_latencies_of_processes_add_up() -> None:
    one, other = Latencies(), Latencies()
    one.record(0.001)
    other.record(0.001)
    other.record(0.1)
    one.add(other)
    found = Distribution.of(one)
    assert found.count == 3
    assert found.p50 == pytest.approx(1, rel=1e-3)
    assert found.max == pytest.approx(100, rel=1e-2)
    assert found.curve[-1][0] == 100


def test_keywords_follow_zipfs_law() -> None:
    assert zipf_weights(3, 1) == pytest.approx([6 / 11, 3 / 11, 2 / 11])
    numbers = drawn(10, 1, seed=1)
    assert numbers == drawn(10, 1, seed=1)
    assert numbers.count(0) / numbers.count(1) == pytest.approx(2, rel=0.1)
    assert drawn(4, 0, seed=1).count(3) == pytest.approx(len(numbers) / 4, rel=0.05)


def test_requests_are_http_with_their_length_and_the_key() -> None:
    (asked,) = requests_of(Workload.QUERY, TARGET, keywords=["a|b é"], texts=[], key="secret")
    head, _, body = asked.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /base/v1/query HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n")
    assert b"\r\nX-API-Key: secret" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body) == {"keyword": "a|b é"}
    (asked,) = requests_of(Workload.WINDOWS, TARGET, keywords=["a/b?"], texts=[], key=None)
    assert asked.startswith(b"GET /base/v1/windows/a%2Fb%3F HTTP/1.1\r\n")
    batches = requests_of(Workload.PREDICT_BATCH, TARGET, keywords=[], texts=[f"t{n}" for n in range(40)], key=None)
    bodies = [json.loads(one.partition(b"\r\n\r\n")[2])["texts"] for one in batches]
    assert [len(texts) for texts in bodies] == [32, 32]
    few = requests_of(Workload.PREDICT_BATCH, TARGET, keywords=[], texts=["only"], key=None)
    assert json.loads(few[0].partition(b"\r\n\r\n")[2])["texts"] == ["only"] * 32


@pytest.mark.parametrize(
    "url", ["ftp://x", "127.0.0.1:8000", "http://", "http://u:p@x", "http://x:99999", "http://x/?a"]
)
def test_an_address_that_cannot_be_used_is_one_line(url: str) -> None:
    with pytest.raises(InputError, match=r"^--url: [^\n]+$") as refused:
        Target.of(url)
    assert "u:p" not in str(refused.value)


def report_of(**counts: object) -> Report:
    tally = Tally()
    for name, value in counts.items():
        setattr(tally, name, value)
    return Report.of("query", 100, LoadResult(tally, 10, 1, is_interrupted=False))


def test_a_load_fails_by_its_limits() -> None:
    slow = Latencies()
    slow.record(0.3)
    good = report_of(ok=99, from_plan=slow)
    good.result.tally.statuses[503] += 1
    assert good.result.tally.refused == 1
    assert good.failures(Limits(1, None)) == []
    assert good.failures(Limits(0.5, None)) == ["1.00 % of the requests failed; at most 0.5 % may"]
    assert "p99" in good.failures(Limits(1, 200))[0]
    assert good.failures(Limits(1, 400)) == []
    assert report_of().failures(Limits(100, None)) == ["no request was answered"]


def test_a_generator_that_is_late_says_so() -> None:
    late = Latencies()
    for number in range(100):
        late.record(0.05 if number < 2 else 0.0005)
    (warning,) = report_of(lag=late, offered=100).warnings()
    assert "could not keep the rate" in warning
    assert "2.0 %" in warning
    assert report_of(offered=100).warnings() == []
    assert "free connection" in report_of(offered=100, waited=50).warnings()[0]
