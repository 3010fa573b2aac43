"""A registry lists its versions and channels, whatever else lies there, and finds a version by each of its names."""

import pytest

from models.errors import ModelError, ModelNotFoundError, ModelPackageError
from models.registry.catalog import contents, find
from models.registry.publish import publish
from tests.integration.registry_support import BUCKET, HERE, URI, make_package


def test_versions_are_listed_by_precedence(s3, versions):
    s3.put(BUCKET, "emotion/tiny/2.0.0/model.onnx", b"an upload that is not finished")
    held = contents(HERE, s3)
    assert [release.version for release in held.releases] == versions
    assert set(held.channels) == {"latest"}


@pytest.mark.parametrize("content", [b"not a pointer", b" " * (2 << 20)])
def test_an_object_that_is_not_a_pointer_does_not_hide_others(s3, versions, content):
    s3.put(BUCKET, "emotion/readme", content)
    held = contents(HERE, s3)
    assert set(held.channels) == {"latest"}
    assert [release.version for release in held.releases] == versions
    assert list(held.problems) == ["readme"]
    assert f"{BUCKET}/emotion/readme" in held.problems["readme"]
    assert find(HERE, s3, "tiny") == ("tiny", "1.10.0")
    with pytest.raises(ModelPackageError, match="emotion/readme is"):
        find(HERE, s3, "readme")


def test_the_ways_to_name_a_version(s3, versions, tmp_path):
    publish(make_package(tmp_path / "other", "1.0.0", name="other"), URI, s3, channel="candidate")
    assert find(HERE, s3, "latest") == ("tiny", "1.10.0")
    assert find(HERE, s3, "candidate") == ("other", "1.0.0")
    assert find(HERE, s3, "tiny") == ("tiny", "1.10.0")
    assert find(HERE, s3, "1.1.0-rc.10") == ("tiny", "1.1.0-rc.10")
    assert find(HERE, s3, "other@1.0.0") == ("other", "1.0.0")
    with pytest.raises(ModelError, match=r"1\.0\.0 is a version of other, tiny: give NAME@VERSION"):
        find(HERE, s3, "1.0.0")
    with pytest.raises(ModelNotFoundError, match="'x'; channels: candidate, latest; models: other, tiny"):
        find(HERE, s3, "x")
    for wrong in ("tiny@9.0.0", "tiny@", "@1.0.0", "tiny@../other"):
        with pytest.raises(ModelNotFoundError):
            find(HERE, s3, wrong)
