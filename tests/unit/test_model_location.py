"""A model's URI names a place on S3 or a folder, and any other text is refused."""

from pathlib import Path

import pytest

from models.errors import ModelError
from models.registry.location import S3Location, parse_uri


@pytest.mark.parametrize(
    "uri",
    ["", "  ", "http://x/y", "S3x://a/b", "s3://", "s3:///x", "s3://A_B/x", "s3://bucket/a//b", "s3://bucket/../b"],
)
def test_a_bad_uri_is_refused(uri):
    with pytest.raises(ModelError, match="model URI"):
        parse_uri(uri)


def test_uris():
    assert parse_uri("s3://bucket/a/b/") == S3Location("bucket", "a/b")
    assert parse_uri("S3://bucket/a") == S3Location("bucket", "a")
    assert parse_uri("s3://bucket") == S3Location("bucket", "")
    assert parse_uri("models/here") == Path("models/here")
    assert parse_uri("~/m") == Path.home() / "m"
    assert S3Location("bucket", "").key("latest") == "latest"
    assert str(S3Location("bucket", "")) == "s3://bucket"
