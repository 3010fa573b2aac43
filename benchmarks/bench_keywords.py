"""Measures how many posts a second one core searches for 10,000 keywords.

    python benchmarks/bench_keywords.py --data DATA
    python benchmarks/bench_keywords.py --data DATA --keywords 100000 --json keywords.json

The texts are the English validation posts, and tweets of other languages, each group by itself. The keywords are words
and pairs of words that are drawn from all texts, so that they are of all languages. Words that are in more than one of
500 texts, such as `the`, are left out, because nobody chooses them as keywords.

Each round measures three things on the same texts, one after the other, in processor time:

1. *matching*: `Matcher.find`, the complete search.
2. *split and look up*: lower the text, split it at spaces, and look the words up in a set. This is the least that a
   search in Python could do. It finds no pairs of words, no word beside punctuation, and nothing in Chinese.
3. *decoding*: read the same post from its JSON, as every process does that reads posts.

Rates are compared within a round. Each round must find the same keywords.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC
from itertools import pairwise
from pathlib import Path

import click

from benchmarks.bench_frontier import DEFAULT_DATA, describe_machine
from benchmarks.harness.broker import BenchmarkError
from benchmarks.harness.options import data_option
from benchmarks.harness.posts import SEED, read_texts
from benchmarks.harness.stats import Spread, ratios
from models.errors import ModelError
from streams.cli.common import console
from streams.ingest.keywords.folding import fold
from streams.ingest.keywords.keyword import parse_keyword
from streams.ingest.keywords.matcher import Matcher
from streams.records import Post, Timestamp

OTHER_LANGUAGES = Path("languages/tweets_sentiment_validation.tsv")
PAIRS = 0.2
"""The share of keywords that are two words."""

COMMON = 1 / 500
"""Words that are in a larger share of the texts are no keywords."""

_PUNCTUATION = ".,;:!?…()[]\"'“”"


@dataclass(frozen=True)
class Result:
    """What was measured on one group of texts.

    Attributes:
        group: The group of texts.
        texts: The number of texts.
        matched: The share of texts that have a keyword.
        found: Keywords in a text, on average.
        matching: Posts a second that are searched for all keywords.
        of_look_up: That rate as a ratio to splitting and looking up.
        of_decoding: That rate as a ratio to reading the posts from JSON.
    """

    group: str
    texts: int
    matched: float
    found: float
    matching: Spread
    of_look_up: Spread
    of_decoding: Spread


def draw_keywords(texts: Sequence[str], count: int) -> list[str]:
    """Returns keywords that are drawn from the words, and pairs of words, of the texts.

    Raises:
        BenchmarkError: The texts have too few different words.
    """
    rng = random.Random(SEED)
    words: dict[str, str] = {}
    pairs: dict[str, str] = {}
    uses: Counter[str] = Counter()
    for text in texts:
        parts = [part.strip(_PUNCTUATION) for part in text.split() if not part.startswith(("@", "http"))]
        parts = [part for part in parts if len(part) > 2]
        by_fold = {fold(part): part for part in parts if len(part) <= 20}
        uses.update(by_fold.keys())
        words.update(by_fold)
        pairs.update((fold(pair), pair) for pair in map(" ".join, pairwise(parts)) if len(pair) < 40)
    words = {folded: word for folded, word in words.items() if uses[folded] <= COMMON * len(texts)}
    of_pairs = int(PAIRS * count)
    if len(words) < count - of_pairs or len(pairs) < of_pairs:
        raise BenchmarkError(f"the texts have {len(words):,} different words; that is too few")
    drawn = rng.sample(sorted(words.values()), count - of_pairs) + rng.sample(sorted(pairs.values()), of_pairs)
    return [keyword for keyword in drawn if _is_keyword(keyword)]


def _is_keyword(text: str) -> bool:
    try:
        parse_keyword(text)
    except ValueError:
        return False
    return True


def rate(texts: int, work: Callable[[], int], expected: int) -> float:
    """Do some work on texts, and return texts a second of processor time.

    Raises:
        BenchmarkError: The result is not `expected`.
    """
    began = time.process_time()
    found = work()
    seconds = time.process_time() - began
    if found != expected:
        raise BenchmarkError(f"{found:,} were found, not {expected:,}")
    return texts / seconds


def measure(group: str, texts: Sequence[str], keywords: Sequence[str], rounds: int) -> Result:
    """Measure one group of texts."""
    matcher = Matcher(keywords)
    known = {keyword.lower() for keyword in keywords}
    now = Timestamp.now(UTC)
    posts = [Post(str(number), text, now, "bench").to_json() for number, text in enumerate(texts)]

    def match() -> int:
        return sum(len(matcher.find(text)) for text in texts)

    def look_up() -> int:
        return sum(len(known.intersection(text.lower().split())) for text in texts)

    def decode() -> int:
        return sum(len(Post.from_json(post).text) > 0 for post in posts)

    counts = {match: match(), look_up: look_up(), decode: len(posts)}
    rates: dict[Callable[[], int], dict[int, float]] = {work: {} for work in counts}
    for number in range(rounds):
        for work, expected in counts.items():
            rates[work][number] = rate(len(texts), work, expected)
    of_look_up, of_decoding = ratios(rates[match], rates[look_up]), ratios(rates[match], rates[decode])
    if of_look_up is None or of_decoding is None:
        raise BenchmarkError("no round was measured")
    matched = sum(bool(matcher.find(text)) for text in texts) / len(texts)
    spread = Spread.of(list(rates[match].values()))
    return Result(group, len(texts), matched, counts[match] / len(texts), spread, of_look_up, of_decoding)


def read_groups(folder: Path) -> dict[str, list[str]]:
    """Returns the groups of texts.

    Raises:
        OSError, TrainingError: A file cannot be read.
    """
    groups = {"English": read_texts(folder)}
    if (file := folder / OTHER_LANGUAGES).is_file():
        lines = file.read_text("utf-8").splitlines()
        groups["other languages"] = [line.split("\t")[1] for line in lines]
    return groups


def line(result: Result) -> str:
    """Returns a result as a line."""
    rates = result.matching
    return (
        f"{result.group}: {rates.median:,.0f} posts/s ({rates.low:,.0f} to {rates.high:,.0f}), "
        f"{1e6 / rates.median:.1f} µs a post; {result.of_look_up.median:.2f} of splitting and looking up, "
        f"{result.of_decoding.median:.2f} of decoding; {result.texts:,} texts, {100 * result.matched:.0f} % have a "
        f"keyword, {result.found:.2f} on average"
    )


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@data_option
@click.option("--keywords", type=click.IntRange(1, 100_000), default=10_000, show_default=True, help="Keywords.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Rounds.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write JSON here.")
def main(*, data: Path | None, keywords: int, rounds: int, json_file: Path | None) -> None:
    """Measure how many posts a second one core searches for keywords."""
    if data is None and not DEFAULT_DATA.is_dir():
        click.echo("no data sets in ../shared/data; give their folder: bench_keywords.py --data DATA")
        return
    machine = describe_machine()
    try:
        groups = read_groups(data or DEFAULT_DATA)
        drawn = draw_keywords([text for texts in groups.values() for text in texts], keywords)
        began = time.process_time()
        Matcher(drawn)
        built_s = time.process_time() - began
        results = [measure(group, texts, drawn, rounds) for group, texts in groups.items()]
    except (BenchmarkError, ModelError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    if json_file is not None:
        figures = [asdict(result) for result in results]
        content = {"machine": machine, "keywords": len(drawn), "built_s": built_s, "results": figures}
        json_file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    console().print(f"{len(drawn):,} keywords; the automaton is built in {1_000 * built_s:.0f} ms")
    for result in results:
        console().print(line(result), soft_wrap=True)


if __name__ == "__main__":
    main()
