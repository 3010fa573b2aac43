"""`make dashboard` and `make check-dashboard` without Node: one line says what is missing and how to get it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOO_OLD = """\
#!/bin/sh
if [ "$1" = --version ]; then echo v18.20.4; else exit 1; fi
"""


@pytest.mark.parametrize("target", ["dashboard", "check-dashboard"])
@pytest.mark.parametrize("node", [None, TOO_OLD], ids=["missing", "too old"])
def test_node_is_missing_or_too_old(tmp_path: Path, target: str, node: str | None) -> None:
    for name in ("bash", "sh", "make", "cat", "sed", "mktemp", "rm", "mkdir"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    if node is not None:
        (tmp_path / "node").write_text(node)
        (tmp_path / "node").chmod(0o755)
    (tmp_path / "installed").write_text(f"{ROOT}\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    # With -o these files need not exist.
    files = [part for name in ("package.json", "package-lock.json") for part in ("-o", f"dashboard/{name}")]
    done = subprocess.run(
        ["make", *files, target, f"NODE_STAMP={tmp_path / 'stamp'}", f"STAMP={tmp_path / 'installed'}"],
        cwd=ROOT,
        env={**environment, "PATH": str(tmp_path), "SHELL": str(tmp_path / "bash")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    (line, *_) = done.stderr.splitlines()
    assert line.startswith("error: the page is built with Node 20.19 or newer")
    assert ("v18.20.4" if node else "no node") in line
    assert "apt-get install nodejs npm" in line
