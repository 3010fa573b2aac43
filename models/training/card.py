"""Writes the model card: what a package was made from, how good it is, and its limits.

Everything in the card comes from the manifest, from an evaluation, and from what training recorded.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from models.package.manifest import Manifest
from models.training.data import SETS
from models.training.labels import EMOTIONS, GO_EMOTIONS, SARAVIA, TWEET_EVAL, sentiment_of
from models.training.markdown import markdown_table
from models.training.provenance import Provenance
from models.training.report import TITLES, Report, Score
from models.training.speed import Speed

_FORCED: Final = """\
- **A forced choice.** Every post gets one label of each head, also where the writer felt nothing or several things.
  Look at the confidence before believing the label."""

_OF_OUR_DATA: Final = """\
- **English** only. In other languages its labels mean nothing; emostream gives such posts none.
- **Twitter and Reddit of the 2010s.** Other places, other years and other topics are answered worse, and by how much is
  not measured here.
- Labels are noisy: some data came with hashtags for labels, some with the votes of a few readers, who often disagree.\
"""

_OF_ANY_DATA: Final = """\
- **Sarcasm, quotation and the feelings of third persons** are often read as the writer's own.
- It learnt what its data hold, their prejudices included: a dialect or the name of a group may move an answer.
- It describes streams of posts. It is **not fit to judge a person**, their health, character or intentions."""


_TERMS: Final = """\
Some of the data were released for education and research. Whoever uses the weights otherwise must judge for themselves
whether those terms reach that far."""


def model_card(
    manifest: Manifest,
    report: Report,
    provenance: Provenance | None = None,
    *,
    speed: Speed | None = None,
    threads: int = 1,
) -> str:
    """Returns the card as Markdown.

    Args:
        manifest: The package's manifest. The other files may be drafts, because the card shows only the networks'
            sizes.
        report: The evaluation of the package.
        provenance: How the package was trained; None if that is not known.
        speed: The measured speed; None if it was not measured.
        threads: ONNX Runtime's intra-op threads for `speed`.
    """
    parts = [
        _head(manifest, speed, threads),
        _tiers(manifest),
        _figures(report),
        _mapping(report),
        _data(manifest, provenance),
    ]
    if provenance is not None:
        parts.append(_training(provenance))
    return "\n\n".join(part for part in [*parts, _limits(manifest)] if part) + "\n"


def _on_our_data(manifest: Manifest) -> bool:
    """Returns whether the model learnt any of the data sets in `SETS`, whose content is known."""
    return not {data_set.title for data_set in SETS}.isdisjoint(source.name for source in manifest.training_data)


def _limits(manifest: Manifest) -> str:
    known = [_FORCED, *([_OF_OUR_DATA] if _on_our_data(manifest) else []), _OF_ANY_DATA]
    return "## Limits\n\n" + "\n".join(known)


def _head(manifest: Manifest, speed: Speed | None, threads: int) -> str:
    rows = [
        ("answers", "; ".join(f"`{head.name}`: {', '.join(head.labels)}" for head in manifest.heads)),
        ("based on", manifest.base_model),
        ("size", f"{manifest.size / 1e6:.1f} MB"),
        (
            "input",
            f"text normalised by `models.text.normalize` ({manifest.normalization}), "
            f"cut at {manifest.max_tokens} tokens",
        ),
        ("licence of the weights", manifest.licence),
    ]
    for head in manifest.heads:
        if head.values is not None:
            worth = ", ".join(f"{label} {value:g}" for label, value in zip(head.labels, head.values, strict=True))
            rows.append((f"score of `{head.name}`", f"the mean of {worth} under the probabilities"))
    if speed is not None:
        rows.append(
            ("speed", f"{speed.per_second:,.0f} posts/s on {threads} thread{'s' if threads > 1 else ''}, all included")
        )
    first, *_ = manifest.heads
    what = (
        f"Which {first.name} an English social post expresses."
        if _on_our_data(manifest)
        else f"Answers for each post: {', '.join(head.name for head in manifest.heads)}."
    )
    return f"""\
# {manifest.name} {manifest.version}

{what} For use with emostream.

{markdown_table(("", ""), rows)}"""


def _tiers(manifest: Manifest) -> str:
    if len(manifest.tiers) == 1:
        (tier,) = manifest.tiers
        return f"""\
## The network

One network, `{tier.file}`. Temperature of the softmax: {_by_head(tier.temperatures) or "1"}.

{_biases(manifest)}""".rstrip()
    rows = [
        (
            f"{tier.name} (`{tier.file}`, {manifest.files[tier.file].bytes / 1e6:.1f} MB)",
            _by_head(tier.temperatures) or "1",
            _by_head(tier.earlier_weights) or "0",
            _by_head(tier.thresholds) or "answers the rest",
        )
        for tier in manifest.tiers
    ]
    return f"""\
## The networks

The first network that is sure enough answers a post. It is sure enough if its confidence reaches the threshold in
every head that the table names. The confidence is the largest probability of the softmax, with the network's
temperature and biases. The log-probabilities of the network before it, times the weight, are added to its scaled
logits.

{markdown_table(("tier", "temperature", "weight of the one before", "threshold"), rows)}

{_biases(manifest)}""".rstrip()


def _biases(manifest: Manifest) -> str:
    """Returns the table of the biases; empty if no tier has any."""
    rows = [
        (
            tier.name,
            head.name,
            ", ".join(f"{label} {bias:+.2f}" for label, bias in zip(head.labels, biases, strict=True)),
        )
        for tier in manifest.tiers
        for head in manifest.heads
        if any(biases := tier.biases.get(head.name, ()))
    ]
    if not rows:
        return ""
    return f"""\
Biases, added to the logits after they are divided by the temperature:

{markdown_table(("tier", "head", "biases"), rows)}"""


def _figures(report: Report) -> str:
    rows = []
    for score in report.scores:
        figures = (f"{getattr(score, name):.4f}" for name in TITLES)
        bold = (
            f"**{shown}**" if name == score.headline[0] else shown for name, shown in zip(TITLES, figures, strict=True)
        )
        rows.append((score.name, f"{score.rows:,}", *bold, f"{score.calibration_error:.3f}"))
    parts = [
        f"""\
## Figures

Measured on the package as it is served, on the {report.split} split. In bold what the data set is usually judged by;
ECE is the expected calibration error over 15 bins.

{markdown_table(("data set", "posts", *TITLES.values(), "ECE"), rows)}"""
    ]
    if some := [score for score in report.scores if score.unknown_labels]:
        parts.append(_served(some))
    if any(len(score.tiers) > 1 for score in report.scores):
        parts.append(f"Who answered, and how often rightly:\n\n{_answered(report.scores)}")
    parts += [_labels(score) for score in report.scores]
    return "\n\n".join(parts)


def _served(scores: Sequence[Score]) -> str:
    rows = [
        (
            score.name,
            f"{score.served_calibration_error:.3f}",
            f"{100 * score.unknown_share:.1f} %",
            ", ".join(score.unknown_labels),
        )
        for score in scores
    ]
    return f"""\
Some data sets do not know all labels; the figures above compare those that they know. As served, where all compete:

{markdown_table(("data set", "ECE", "another label", "which the set does not know"), rows)}"""


def _answered(scores: Sequence[Score]) -> str:
    names = [tier.name for tier in scores[0].tiers]
    rows = []
    for score in scores:
        shown = (
            f"{100 * tier.share:.1f} %" + ("" if tier.accuracy is None else f", accuracy {tier.accuracy:.4f}")
            for tier in score.tiers
        )
        rows.append((score.name, *shown))
    return markdown_table(("data set", *names), rows)


def _labels(score: Score) -> str:
    left_out = f"; {score.left_out:,} with none or several of these labels are left out" if score.left_out else ""
    rows = [
        (label.label, f"{label.precision:.3f}", f"{label.recall:.3f}", f"{label.f1:.3f}", f"{label.support:,}")
        for label in score.per_label
    ]
    return f"""\
### {score.name}

Head `{score.head}`, {score.rows:,} posts{left_out}.

{markdown_table(("label", "precision", "recall", "F1", "posts"), rows)}"""


def _mapping(report: Report) -> str:
    """Returns the section on how the labels of the evaluated data sets map onto the model's labels."""
    sets = {score.data_set for score in report.scores}
    lines = []
    if "emotion" in sets:
        lines.append(f"- **dair-ai/emotion** tells apart {', '.join(SARAVIA)}; probabilities are compared among those.")
    if "goemotions" in sets:
        lines.append(
            "- **GoEmotions**, by its authors' grouping, except that `love`, `caring` and `desire` are a group of "
            "their own:"
        )
        lines += [
            f"    - {emotion}: {', '.join(sorted(fine for fine, to in GO_EMOTIONS.items() if to == emotion))}"
            for emotion in EMOTIONS
        ]
        ambiguous = ", ".join(sorted(fine for fine in GO_EMOTIONS if sentiment_of(fine) is None))
        lines.append(f"    - no sentiment: {ambiguous}; otherwise joy and love are positive, neutral is neutral")
    if "tweets-emotion" in sets:
        pairs = ", ".join(theirs if theirs == ours else f"{theirs} as {ours}" for theirs, ours in TWEET_EVAL.items())
        lines.append(f"- **TweetEval emotion**: {pairs}.")
    return "## Labels of the data sets\n\n" + "\n".join(lines) if lines else ""


def _data(manifest: Manifest, provenance: Provenance | None) -> str:
    rows = [
        (source.name, source.licence, "" if source.rows is None else f"{source.rows:,}", source.url or "")
        for source in manifest.training_data
    ]
    text = "## Data and terms\n\n"
    text += (
        markdown_table(("trained on", "terms", "posts", "from"), rows)
        if rows
        else "The package does not say what it was trained on."
    )
    if _on_our_data(manifest):
        text += f"\n\n{_TERMS}"
    if provenance is not None and provenance.base_licences:
        bases = [f"- {name}: {licence}" for name, licence in provenance.base_licences.items()]
        text += "\n\nPretrained weights:\n\n" + "\n".join(bases)
    return text


def _training(provenance: Provenance) -> str:
    stages = [*(("teacher", stage) for stage in provenance.teachers), ("student", provenance.student)]
    if provenance.first_tier is not None:
        stages.append(("first tier", provenance.first_tier))
    rows = [
        (f"{role}: {stage.name}", stage.base, stage.learns, str(stage.epochs), f"{stage.minutes:.0f}", str(stage.seed))
        for role, stage in stages
    ]
    text = f"""\
## How it was trained

{markdown_table(("network", "from", "on", "epochs", "minutes", "seed"), rows)}

{sum(stage.minutes for _, stage in stages):.0f} minutes in all, on {provenance.machine}. Trained on \
{_counts(provenance.rows)}; activation scales, temperatures and thresholds fitted on
{_counts(provenance.calibration_rows)} that were not trained on. No text is in two of these parts."""
    measured = [(f"{role}: {stage.name}", stage.figures) for role, stage in stages if stage.figures]
    if measured:
        names = list(dict.fromkeys(name for _, figures in measured for name in figures))
        shown = [
            (title, *(f"{figures[name]:.4f}" if name in figures else "-" for name in names))
            for title, figures in measured
        ]
        text += f"\n\nIn FP32, before export and quantisation:\n\n{markdown_table(('network', *names), shown)}"
    return "\n\n".join([text, *provenance.notes])


def _counts(rows: Mapping[str, int]) -> str:
    return f"{sum(rows.values()):,} posts ({', '.join(f'{name} {count:,}' for name, count in rows.items())})"


def _by_head(values: Mapping[str, float]) -> str:
    return ", ".join(f"{head} {value:g}" for head, value in values.items())
