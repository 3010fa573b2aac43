"""The fine-tuning loop: AdamW, linear warm-up and decay, length-bucketed batches, all from one seed."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tokenizers import Tokenizer
from torch import nn

from models.training.data import LabelledTexts, bucketed_batches
from models.training.network import EmotionNet, pretrained


@dataclass(frozen=True)
class Recipe:
    """How to train. The defaults are the ones the bundled model was trained with."""

    seed: int = 17
    epochs: int = 4
    batch_size: int = 32
    learning_rate: float = 1e-4
    # The head starts from nothing, so it may move faster than the encoder.
    head_learning_rate: float = 5e-4
    weight_decay: float = 0.01
    warmup: float = 0.06
    label_smoothing: float = 0.05
    max_tokens: int = 128
    threads: int = 2
    # Matrix products in bfloat16 (weights and sums stay float32): 1.5 times as fast where the CPU has AVX512_BF16.
    bf16: bool = False


@dataclass(frozen=True)
class TrainingRun:
    """What a finished run measured."""

    seconds: float
    losses: tuple[float, ...]
    held_out_accuracies: tuple[float, ...]


def fine_tune(
    train: LabelledTexts, held_out: LabelledTexts, tokenizer: Tokenizer, recipe: Recipe
) -> tuple[EmotionNet, TrainingRun]:
    """Fine-tune the pretrained encoder and a fresh head on `train`.

    Args:
        train: What is learnt.
        held_out: Measured after each epoch for the eye of whoever watches; decides nothing.
        tokenizer: Cuts at the recipe's `max_tokens` and does not pad.
        recipe: How.

    Returns:
        The network after the last epoch, in evaluation mode, and what the run measured.
    """
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)
    rng = random.Random(recipe.seed)  # noqa: S311 - reproducible shuffles, not a secret
    net = pretrained(len(train.labels))
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(train.texts))]
    lengths = [len(row) for row in ids]
    # Counted, not computed: the last batch of each pool may be short.
    steps = recipe.epochs * sum(1 for _ in bucketed_batches(lengths, recipe.batch_size, random.Random(0)))  # noqa: S311
    optimizer = _optimizer(net, recipe)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _linear(steps, recipe.warmup))
    loss_of = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    targets = torch.tensor(train.targets)
    losses: list[float] = []
    accuracies: list[float] = []
    started = time.monotonic()
    with _progress() as progress:
        task = progress.add_task("training", total=steps, loss=float("nan"))
        for epoch in range(1, recipe.epochs + 1):
            net.train()
            total = 0.0
            for batch in bucketed_batches(lengths, recipe.batch_size, rng):
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.bf16):
                    logits = net(*_padded([ids[i] for i in batch]))
                loss = loss_of(logits.float(), targets[batch])
                loss.backward()
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                total += loss.item() * len(batch)
                progress.update(task, advance=1, loss=loss.item())
            losses.append(total / len(train))
            guessed = logits_of(net, held_out.texts, tokenizer, recipe.batch_size).argmax(1)
            accuracies.append(float((guessed == np.asarray(held_out.targets)).mean()))
            progress.console.print(
                f"epoch {epoch}/{recipe.epochs}: loss {losses[-1]:.4f}, held-out accuracy {accuracies[-1]:.4f}"
            )
    net.eval()
    return net, TrainingRun(time.monotonic() - started, tuple(losses), tuple(accuracies))


def logits_of(net: EmotionNet, texts: Sequence[str], tokenizer: Tokenizer, batch_size: int) -> NDArray[np.float32]:
    """Logits of the FP32 network, float32[texts, labels], in the order of `texts`."""
    net.eval()
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    logits = np.empty((len(ids), net.head.out_features), np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            logits[rows] = net(*_padded([ids[i] for i in rows])).numpy()
    return logits


def _padded(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """(input ids, attention mask), both int64[rows, longest]."""
    tensors = [torch.tensor(row) for row in rows]
    input_ids = nn.utils.rnn.pad_sequence(tensors, batch_first=True)
    mask = nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in tensors], batch_first=True)
    return input_ids, mask


def _optimizer(net: EmotionNet, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; biases and layer norms do not decay."""
    head = list(net.head.parameters())
    matrices = [p for p in net.encoder.parameters() if p.ndim > 1]
    vectors = [p for p in net.encoder.parameters() if p.ndim <= 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": recipe.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
            {"params": head, "weight_decay": recipe.weight_decay, "lr": recipe.head_learning_rate},
        ],
        lr=recipe.learning_rate,
        fused=True,
    )


def _linear(steps: int, warmup: float) -> Callable[[int], float]:
    """The factor on the learning rate at a step: up to 1 over the warm-up, then down to 0 at the last step."""
    warm = max(1, int(steps * warmup))

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return max(0.0, (steps - step) / max(1, steps - warm))

    return factor


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TimeRemainingColumn(),
    )
