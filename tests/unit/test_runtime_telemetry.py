"""ONNX Runtime tells nobody that it is used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_the_runtime_collects_no_events(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environ |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / ".cache")}
    subprocess.run([sys.executable, "-c", "import models.text.network"], env=environ, check=True)
    assert list(tmp_path.iterdir()) == []
