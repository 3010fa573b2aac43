"""The documentation agrees with the code: links, commands, options, settings, metrics, versions."""

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import click
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from api.metrics import ApiMetrics
from models.serving.metrics import BatchMetrics
from streams import __version__
from streams.access.metrics import AccessMetrics
from streams.alerts.delivery.metrics import DeliveryMetrics
from streams.alerts.evaluation.metrics import AlertMetrics
from streams.cli import cli
from streams.ingest.sources.metrics import IngestMetrics
from streams.metrics import Metrics
from streams.query.fetch_metrics import FetchMetrics
from streams.query.metrics import CacheMetrics
from streams.setting_types import PREFIX
from streams.settings import TEST_PREFIX, Settings
from streams.sink.metrics import SinkMetrics
from streams.warm.metrics import WarmMetrics
from tests.doc_pages import PAGES, ROOT, blocks, page_name, python_snippets

METRICS = ROOT / "docs/reference/metrics.md"
LONGEST_PAGE = 350
LONGEST_README = 160
NAMES = [page_name(page) for page in PAGES]
# A call of emostream in a line of shell, up to a character that ends or redirects a command.
CALL = re.compile(r"""(?:^|[\s(/])emostream((?:\s+(?:"[^"]*"|'[^']*'|[^\s|&;<>()"'#]+))*)""")
# A citation such as: see "Stop it" in docs/operations.md. In code it may go on in the next string.
HEADING_OF_A_PAGE = re.compile(r"""["]([^"\n]+)["] in[\s'"]+(docs/[\w/-]+\.md)""")

pages = pytest.mark.parametrize("page", PAGES, ids=NAMES)


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def calls(script: str) -> Iterator[list[str]]:
    for line in script.replace("\\\n", " ").splitlines():
        for match in CALL.finditer(line.partition(" #")[0].rstrip("&").rstrip()):
            yield [word for word in shlex.split(match[1]) if not re.fullmatch(r"\d", word)]


def check_call(words: list[str]) -> None:
    """Fail unless the words are a command of emostream and options of this command."""
    command: click.Command = cli
    rest = list(words)
    with click.Context(cli) as context:
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            name = rest.pop(0)
            found = command.get_command(context, name)
            assert found is not None, f"no command {name!r} in: emostream {shlex.join(words)}"
            command = found
        known = {
            name for parameter in command.get_params(context) for name in (*parameter.opts, *parameter.secondary_opts)
        }
    for word in rest:
        if word.startswith("-") and word != "-":
            assert word.split("=")[0] in known, f"no option {word} in: emostream {shlex.join(words)}"
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    assert arguments or not [word for word in rest[:1] if not word.startswith("-")]


def relative_links(page: Path) -> list[str]:
    targets = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", without_code(page.read_text("utf-8")))
    return [target for target in targets if "://" not in target and not target.startswith("mailto:")]


def test_there_are_pages() -> None:
    named = {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md", "docs/reference/cli.md"}
    assert named <= set(NAMES)


def test_the_index_lists_every_page_in_one_group() -> None:
    index = ROOT / "docs/index.md"
    groups = re.split(r"^## ", index.read_text("utf-8"), flags=re.MULTILINE)[1:]
    assert [group.splitlines()[0] for group in groups] == ["Tutorial", "How-to guides", "Reference", "Explanation"]
    listed = re.findall(r"\(([^)\s]+\.md)\)", "".join(groups))
    pages = {str(page.relative_to(index.parent)) for page in PAGES if index.parent in page.parents} - {index.name}
    assert sorted(listed) == sorted(pages)


def test_the_readme_leads_to_the_index() -> None:
    assert "docs/index.md" in relative_links(ROOT / "README.md")


@pages
def test_no_page_has_marks_of_a_merge(page: Path) -> None:
    assert not re.search(r"^(<{7}|={7}|>{7})( |$)", page.read_text("utf-8"), flags=re.MULTILINE)


@pages
def test_no_page_is_too_long(page: Path) -> None:
    longest = LONGEST_README if page == ROOT / "README.md" else LONGEST_PAGE
    assert len(page.read_text("utf-8").splitlines()) <= longest


def test_the_pages_that_the_code_names_exist() -> None:
    named = ("Makefile", "pyproject.toml", "docker-compose.yml", "Dockerfile", ".github/workflows/ci.yml")
    files = [*(ROOT / name for name in named), *(ROOT / "init_db").glob("*.sql")]
    files += [
        file for folder in ("streams", "models", "connectors", "benchmarks") for file in (ROOT / folder).rglob("*.py")
    ]
    for file in files:
        for name in re.findall(r"(?<![\w./-])docs/[\w/-]+\.md", file.read_text("utf-8")):
            assert (ROOT / name).is_file(), f"{file.relative_to(ROOT)}: {name}"
        for heading, name in HEADING_OF_A_PAGE.findall(file.read_text("utf-8")):
            headings = re.findall(r"^#+ (.+)$", (ROOT / name).read_text("utf-8"), re.MULTILINE)
            assert heading in headings, f"{file.relative_to(ROOT)}: {heading} in {name}"


@pages
def test_relative_links_have_a_target(page: Path) -> None:
    for target in relative_links(page):
        path, _, anchor = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text("utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, target


@pages
def test_shell_snippets_call_commands_and_options_that_exist(page: Path) -> None:
    for script in blocks(page.read_text("utf-8"), "sh"):
        for words in calls(script):
            check_call(words)


def written_files(script: str) -> list[str]:
    """Returns the relative files and folders that the commands of a script write: redirections, and options --out."""
    return re.findall(r"(?:>>?|--out)\s+([A-Za-z_.][\w./-]*)", script)


@pages
def test_git_ignores_what_the_commands_write(page: Path) -> None:
    for script in blocks(page.read_text("utf-8"), "sh"):
        for name in written_files(script):
            found = subprocess.run(["git", "check-ignore", "--quiet", name], cwd=ROOT, check=False)
            assert found.returncode == 0, f"{name} shows up in git status"


def test_the_pages_write_files() -> None:
    assert {"worker.log", "sink.log"} <= set(written_files((ROOT / "README.md").read_text("utf-8")))


@pages
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    text = page.read_text("utf-8")
    used = re.findall(r"^(?:[A-Z_]+=\S+ )?make ([a-z-]+)", "\n".join(blocks(text, "sh")), re.MULTILINE)
    used += re.findall(r"`(?:[A-Z_]+=\S+ )?make ([a-z-]+)", text)
    assert set(used) <= targets


def test_there_are_snippets_to_check() -> None:
    """Those of Python are run in tests/integration/test_doc_snippets.py, each of them."""
    assert "README.md#0" in python_snippets()
    shell = {page_name(page): blocks(page.read_text("utf-8"), "sh") for page in PAGES}
    assert [*calls("\n".join(shell["README.md"]))] != []
    assert sum(bool(scripts) for scripts in shell.values()) > 3


def test_a_python_snippet_is_found_by_its_page() -> None:
    text = "```python\na = 1\n```\n\n```sh\nls\n```\n\n```python\nb = 2\n```\n"
    assert blocks(text, "python") == ["a = 1\n", "b = 2\n"]
    assert blocks(text, "sh") == ["ls\n"]


@pages
def test_settings_that_are_named_exist(page: Path) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for name in re.findall(rf"\b{PREFIX}[A-Z0-9_]+\b", page.read_text("utf-8")):
        assert name in known or name.startswith(TEST_PREFIX)


def names_and_labels(registry: CollectorRegistry) -> dict[str, tuple[str, ...]]:
    """Returns the labels of each metric of the application, by its name."""
    found = {}
    for collector in registry._collector_to_names:
        if isinstance(collector, MetricWrapperBase):
            (family,) = collector.describe()
            suffix = "_total" if family.type == "counter" else ""
            found[family.name + suffix] = tuple(collector._labelnames)
    return found


class HasRegistry(Protocol):
    """The metrics of a process or of a part of it."""

    @property
    def registry(self) -> CollectorRegistry: ...


class OnRequest:
    """The metrics of classification on request."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        BatchMetrics(self.registry)


@pytest.mark.parametrize(
    ("heading", "metrics"),
    [
        ("The worker's metrics", Metrics()),
        ("The sink's metrics", SinkMetrics()),
        ("The metrics of sources", IngestMetrics()),
        ("The metrics of the HTTP service", ApiMetrics()),
        ("The metrics of the cache of answers", CacheMetrics(CollectorRegistry())),
        ("The metrics of classification on request", OnRequest()),
        ("The metrics of keys, tokens and limits", AccessMetrics(CollectorRegistry())),
        ("The metrics of fetches", FetchMetrics(CollectorRegistry())),
        ("The warmer's metrics", WarmMetrics()),
        ("The metrics of alerts", AlertMetrics()),
        ("The metrics of deliveries", DeliveryMetrics(CollectorRegistry())),
    ],
)
def test_every_metric_is_listed_with_its_labels(heading: str, metrics: HasRegistry) -> None:
    section = re.search(rf"^## {heading}\n(.*?)^## ", METRICS.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert section is not None
    listed = {
        name: tuple(re.findall(r"`(\w+)`", labels))
        for name, labels in re.findall(r"^\| `(emostream_\w+)` \|([^|]*)\|", section[1], re.MULTILINE)
    }
    assert listed == names_and_labels(metrics.registry)


@pages
def test_metrics_that_are_named_exist(page: Path) -> None:
    known = set(re.findall(r"^\| `(emostream_\w+)`", METRICS.read_text("utf-8"), re.MULTILINE))
    if page.name == "CHANGELOG.md":
        known |= {  # names of 0.1.0
            "emostream_model_watch_failures_total",
            "emostream_model_last_look_seconds",
            "emostream_sink_gate_breaks",
            "emostream_sink_windows_refused_total",
        }
    assert set(re.findall(r"`(emostream_\w+)", page.read_text("utf-8"))) <= known


def test_the_changelog_names_exactly_the_commands() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    commands = re.findall(r"^- (?:Commands|New commands): (.*?)\.$", changelog, re.MULTILINE | re.DOTALL)
    with click.Context(cli) as context:
        assert set(re.findall(r"`(\w+)`", " ".join(commands))) == set(cli.list_commands(context))


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest is not None
    assert project["version"] == __version__ == newest[1]


@pytest.mark.parametrize(
    "words",
    [["wrong"], ["local", "wrong"], ["audit", "--wrong"], ["sink", "wrong"]],
)
def test_a_wrong_call_fails_the_check(words: list[str]) -> None:
    with pytest.raises(AssertionError):
        check_call(words)


def test_calls_are_found_anywhere_in_a_line() -> None:
    script = """\
eval "$(emostream local env)"   # emostream nonsense
cat posts | .venv/bin/emostream produce - --source "my shop" 2> log &
docker compose exec worker emostream audit --wait 30
A=1 emostream sink && emostream windows
"""
    assert list(calls(script)) == [
        ["local", "env"],
        ["produce", "-", "--source", "my shop"],
        ["audit", "--wait", "30"],
        ["sink"],
        ["windows"],
    ]
