"""The model that a worker serves follows its channel, with a real S3 server."""

from __future__ import annotations

import threading

from models.registry.channels import Release
from models.registry.publish import promote, publish
from models.serving import served
from models.serving.watch import ChannelWatch
from tests.integration.registry_support import HERE, URI
from tests.integration.support import wait_for
from tests.integration.watch_support import (  # noqa: F401 - fixtures
    Worker,
    first_fixture,
    golden_package,
    package_fixture,
    settings_fixture,
    watch_settings,
    worker_fixture,
)


def test_a_new_version_takes_over(s3, first, package, worker):
    one = worker()
    one.model.start()
    assert one.model.poll_s > 0
    assert one.version == "1.0.0"
    before = one.model.current()
    assert one.model.poll()
    assert one.model.current() is before, "the channel has not moved"

    publish(package("2.0.0"), URI, s3)
    assert one.model.poll()
    assert one.version == "2.0.0"
    assert one.serves() == {("tiny", "2.0.0", "latest")}
    assert one.value("swaps_total") == 1
    assert one.refusals() == {}
    assert one.value("last_poll_seconds") > 0

    promote(HERE, s3, Release("tiny", "1.0.0"), "latest")
    assert one.model.poll()
    assert one.version == "1.0.0"


def test_the_old_version_answers_until_the_new_one_is_loaded(s3, first, package, worker, monkeypatch):
    one = worker()
    one.model.start()
    publish(package("2.0.0"), URI, s3)
    loads, may_load, failures = threading.Event(), threading.Event(), []
    load = served.load_checked

    def held(*args, **more):
        loads.set()
        assert may_load.wait(60)
        return load(*args, **more)

    monkeypatch.setattr(served, "load_checked", held)
    watch = ChannelWatch(one.model, 0.01, failures.append)
    watch.start()
    try:
        assert loads.wait(60)
        assert one.version == "1.0.0"
        assert len(one.model.current().classify(["hello good"])) == 1
        may_load.set()
        wait_for(lambda: one.version == "2.0.0", what="the new version does not take over")
    finally:
        may_load.set()
        watch.stop()
    assert failures == []


def test_each_worker_follows_its_own_channel(s3, first, package, worker):
    promote(HERE, s3, Release("tiny", "1.0.0"), "stable")
    publish(package("2.0.0"), URI, s3)
    stable, latest = worker(model_channel="stable"), worker()
    for one in (stable, latest):
        one.model.start()
    assert (stable.version, latest.version) == ("1.0.0", "2.0.0")
    assert stable.serves() == {("tiny", "1.0.0", "stable")}


def test_a_folder_is_served_and_not_watched(first, worker):
    one = worker(model_uri=str(first.path))
    one.model.start()
    assert one.version == "1.0.0"
    assert one.model.poll_s == 0
    assert worker(model_poll_s=0.0).model.poll_s == 0
