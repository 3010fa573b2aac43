"""`emostream ingest`: reads posts from social networks and feeds, and sends them to the raw topic."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import click

from streams.cli.common import FiniteFloatRange, log_to_stderr, read_settings
from streams.errors import InputError
from streams.ingest.sources.config import SourceSpec, read_config


@click.command(
    epilog="Exit code: 0 if every source ended, or was stopped; 1 if a source failed for good. The others go on until "
    "they end.",
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="sources.toml, with a table for each source. Without NAME, all of its sources run.",
)
@click.option(
    "--keywords",
    metavar="A,B,...",
    help="Keep only posts that contain one of these words, and do not follow the live set of `emostream keywords`.",
)
@click.option(
    "--endpoint",
    "endpoints",
    metavar="URL",
    multiple=True,
    help="Connect there instead. May be repeated; for one NAME.",
)
@click.option(
    "--option",
    "options",
    metavar="NAME=VALUE",
    multiple=True,
    help="An option of sources.toml, such as --option topic=tweets. May be repeated; for one NAME.",
)
@click.option(
    "--map",
    "mapping",
    metavar="FIELD=EXPRESSION",
    multiple=True,
    help="Where a field of a post is, as for `produce`, such as --map text=body. May be repeated; for one NAME.",
)
@click.option("--instance", metavar="NAME", help="Name under which the position is stored; for one NAME.")
@click.option("--allow-private", is_flag=True, help="Allow connections to private and loopback addresses.")
@click.option("--rate", type=FiniteFloatRange(min=0, min_open=True), metavar="N", help="Send at most N posts a second.")
@click.option("--from-now", is_flag=True, help="Begin with new posts, and record what lies between as a gap.")
@click.option(
    "--web-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    show_default="EMOSTREAM_INGEST_WEB_PORT",
    help="Port of /metrics; 0 for no web server.",
)
def ingest(
    *,
    names: tuple[str, ...],
    config: Path | None,
    keywords: str | None,
    endpoints: tuple[str, ...],
    options: tuple[str, ...],
    mapping: tuple[str, ...],
    instance: str | None,
    allow_private: bool,
    rate: float | None,
    from_now: bool,
    web_port: int | None,
) -> None:
    """Read posts from the sources NAME, and send them to the raw topic, until SIGTERM or Ctrl-C.

    A NAME is a kind of source, or a table in sources.toml. Each source continues where its own posts in Kafka end, also
    after it was killed. If another process runs the same instance already, this one waits and takes over when the other
    one ends. The command logs to stderr.

    \b
    Examples:
      emostream ingest bluesky --keywords coffee,rain
      emostream ingest --config sources.toml
      emostream ingest bluesky --endpoint ws://127.0.0.1:6008/subscribe --allow-private
      emostream ingest kafka --option topic=tweets --map text=body
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from streams.ingest.sources.kinds import option_names  # noqa: PLC0415 - loads msgspec and the records

    settings = read_settings(ingest_web_port=web_port)
    known = option_names()
    specs = _chosen(names, config, known)
    if (endpoints or instance or options or mapping) and len(specs) != 1:
        raise click.UsageError("--endpoint, --option, --map and --instance are for one source")
    changes: dict[str, object] = {}
    if options or mapping:
        given = _options(options, mapping)
        if unknown := sorted(set(given) - known[specs[0].kind]):
            names_known = ", ".join(sorted(known[specs[0].kind])) or "none"
            raise click.UsageError(f"{unknown[0]!r} is no option of {specs[0].kind}; there are {names_known}")
        changes["options"] = {**specs[0].options, **given}
    if keywords is not None:
        changes["keywords"] = tuple(filter(None, (word.strip() for word in keywords.split(","))))
        if not changes["keywords"]:
            raise click.UsageError("--keywords names no word")
    if endpoints:
        changes["endpoints"] = endpoints
    if instance is not None:
        changes["instance"] = instance
    if allow_private:
        changes["allow_private"] = True
    if rate is not None:
        changes["rate"] = rate
    specs = [replace(spec, **changes) for spec in specs]  # type: ignore[arg-type]
    log_to_stderr(settings.log_level)
    from streams.ingest.sources.run import run_sources  # noqa: PLC0415 - loads the client libraries

    run_sources(settings, specs, from_now=from_now)


def _options(options: tuple[str, ...], mapping: tuple[str, ...]) -> dict[str, object]:
    """Returns the options of a source that the command line gives. A value is TOML, or else the text as it is.

    Raises:
        UsageError: One of them has no name or no value, or is given twice.
    """
    found: dict[str, object] = {}
    for item in options:
        name, value = _divided(item, "NAME=VALUE")
        if name in found:
            raise click.UsageError(f"the option {name!r} is given twice")
        try:
            found[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[name] = value
    fields: dict[str, str] = {}
    for item in mapping:
        name, value = _divided(item, "FIELD=EXPRESSION")
        if name in fields:
            raise click.UsageError(f"the expression of {name!r} is given twice")
        fields[name] = value
    return {**found, "map": fields} if fields else found


def _divided(item: str, form: str) -> tuple[str, str]:
    name, equals, value = item.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise click.UsageError(f"{item!r} is not {form}")
    return name.strip().lower().replace("-", "_"), value.strip()


def _chosen(names: tuple[str, ...], config: Path | None, kinds: dict[str, frozenset[str]]) -> list[SourceSpec]:
    """Returns the sources that the command names.

    Raises:
        InputError: A name is neither a table of the file nor a kind of source, or the file cannot be used.
    """
    configured = read_config(config, kinds) if config is not None else {}
    if not names:
        if not configured:
            raise click.UsageError(f"name a source ({', '.join(sorted(kinds))}), or give a file with --config")
        return list(configured.values())
    chosen = []
    for name in dict.fromkeys(names):
        if name in configured:
            chosen.append(configured[name])
        elif name in kinds:
            chosen.append(SourceSpec(instance=name, kind=name))
        else:
            known = ", ".join(sorted({*configured, *kinds}))
            raise InputError(f"there is no source {name!r}; there are {known}")
    return chosen
