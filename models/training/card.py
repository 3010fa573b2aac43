"""The model card: what a package was made from, how good it is, and where it must not be trusted."""

from models.training.evaluate import Evaluation
from models.training.loop import Recipe
from models.training.network import BASE_LICENCE, BASE_MODEL

_TEMPLATE = """\
# {name} {version}

Which of six emotions an English social post expresses: {labels}.
For use with emostream.

| | |
|---|---|
| network | MiniLM-L6 (6 layers, 384 wide, 22.7 million parameters), mean pooling, one linear head |
| form | ONNX, weights INT8 per channel (7 bits used), activations UINT8 at fixed scales; {megabytes:.1f} MB |
| input | text normalised by `models.normalize` ({normalization}), WordPiece, lower-cased, cut at {max_tokens} tokens |
| output | `{head}`: logits; probabilities are their softmax at temperature {temperature} |

## Figures

Measured on the INT8 package as it is served, on the data set's validation split ({rows} texts), which took no part in
training, in the choice of the epoch or in the calibration; variants of the quantisation were compared on it. Texts that
stand in both splits were dropped from training.

- accuracy **{accuracy:.4f}** (the FP32 network before quantisation: {accuracy_fp32:.4f})
- macro-F1 **{macro_f1:.4f}**
- expected calibration error {calibration_error:.3f} (15 bins)

| label | precision | recall | F1 | texts |
|---|---|---|---|---|
{per_label}

The test split was not looked at.

## Data and terms

- **dair-ai/emotion** (Saravia et al. 2018, *CARER: Contextualized Affect Representations for Emotion Recognition*):
  English Twitter posts, lower-cased, labelled by their hashtags; {train_rows} texts trained on, {calibration_rows} for
  activation scales and temperature. Its authors give it **for education and research**. Whoever uses the weights
  otherwise must judge for themselves whether those terms reach that far.
- Pretrained encoder: **{base_model}**, {base_licence}. The text of the licence is in `LICENSE`.
- The weights themselves: {licence}.

## How it was trained

- {epochs} epochs over length-bucketed batches of {batch_size}{bf16}; {minutes:.1f} minutes on {threads} CPU cores
- seed {seed}, AdamW, learning rate {learning_rate:g} (head {head_learning_rate:g}), linear warm-up and decay
- weight decay {weight_decay:g}, label smoothing {label_smoothing:g}
- activation scales and temperature fitted on rows of the training split that were not trained on

## Limits

- **A forced choice.** Every text gets one of the six labels. There is no "neutral" and no "several": a weather report
  is given some emotion too. Look at the probability before believing the label.
- **English, and the language of its data**: lower-cased tweets of about twenty words, most of which say "I feel …".
  On other posts it is weaker, and by how much is not measured here.
- Labels came from hashtags, so they are noisy; *joy* and *love* are taken for each other most, and *surprise* for
  *fear*.
- Sarcasm, quotation and the feelings of third persons are often read as the writer's own. Emoji are mostly unknown to
  the vocabulary.
- It describes streams of posts. It is not fit to judge a person, their health or their intentions.
"""


def model_card(
    *,
    name: str,
    version: str,
    licence: str,
    head: str,
    labels: tuple[str, ...],
    normalization: str,
    temperature: float,
    megabytes: float,
    train_rows: int,
    calibration_rows: int,
    evaluation: Evaluation,
    accuracy_fp32: float,
    recipe: Recipe,
    seconds: float,
) -> str:
    """Write `MODEL_CARD.md`.

    Args:
        name: The package's name.
        version: Its version.
        licence: The licence of the weights.
        head: The head's name.
        labels: Its labels.
        normalization: The id of the text normalisation.
        temperature: The head's temperature.
        megabytes: Size of the network, in millions of bytes.
        train_rows: Texts trained on.
        calibration_rows: Texts that activation scales and temperature were fitted on.
        evaluation: The figures of the quantised package.
        accuracy_fp32: Accuracy before quantisation.
        recipe: How it was trained.
        seconds: How long that took.
    """
    return _TEMPLATE.format(
        name=name,
        version=version,
        licence=licence,
        head=head,
        labels=", ".join(labels),
        normalization=normalization,
        temperature=temperature,
        megabytes=megabytes,
        max_tokens=recipe.max_tokens,
        rows=evaluation.rows,
        accuracy=evaluation.accuracy,
        accuracy_fp32=accuracy_fp32,
        macro_f1=evaluation.macro_f1,
        calibration_error=evaluation.calibration_error,
        per_label="\n".join(
            f"| {s.label} | {s.precision:.3f} | {s.recall:.3f} | {s.f1:.3f} | {s.support} |"
            for s in evaluation.per_label
        ),
        train_rows=train_rows,
        calibration_rows=calibration_rows,
        base_model=BASE_MODEL,
        base_licence=BASE_LICENCE,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        head_learning_rate=recipe.head_learning_rate,
        weight_decay=recipe.weight_decay,
        label_smoothing=recipe.label_smoothing,
        seed=recipe.seed,
        bf16=", matrix products in bfloat16" if recipe.bf16 else "",
        minutes=seconds / 60,
        threads=recipe.threads,
    )
