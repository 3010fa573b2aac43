"""The training loop, which can be resumed: AdamW, linear warm-up and decay, batches of similar lengths, one seed."""

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tokenizers import Tokenizer
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.training.config import Recipe
from models.training.data import SET_NAMES, Examples, Logits, bucketed_batches
from models.training.errors import TrainingError
from models.training.losses import Loss
from models.training.network import HEADS

STATE: Final = "state.pt"
BEST: Final = "best.pt"
_EVALUATION_BATCH: Final = 64
_STEPS_PER_AVERAGE: Final = 8
"""Training steps between two updates of the moving average. The weights change little in this time."""


@dataclass(frozen=True)
class Machine:
    """How to compute. This changes the time that training takes, and the results only by rounding.

    Attributes:
        threads: Number of threads.
        bf16: Whether matrix products use bfloat16; weights and sums stay float32. This is 1.5 times as fast on a CPU
            with AVX512_BF16.
        compiled: Whether torch.compile fuses the network. This is a tenth to a fifth faster after a minute of
            compiling, and needs a C++ compiler.
        checkpoint_minutes: Minutes between two checkpoints: a killed run loses at most this much work.
    """

    threads: int = 2
    bf16: bool = False
    compiled: bool = False
    checkpoint_minutes: float = 5.0


@dataclass
class TrainingRun:
    """The measurements of a run so far.

    Attributes:
        seconds: Time of the training in seconds, over all processes that worked on it.
        losses: Mean training loss of each epoch.
        scores: Held-out score of each epoch; larger is better.
    """

    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)


class Trainer:
    """One training of a network. If its process is killed, another `Trainer` on the same folder continues it."""

    def __init__(
        self,
        net: nn.Module,
        data: Examples,
        held_out: Examples,
        *,
        tokenizer: Tokenizer,
        recipe: Recipe,
        machine: Machine,
        folder: Path,
        fingerprint: str,
        score: Callable[[Logits, Examples], float],
        teacher: Logits | None = None,
        console: Console | None = None,
    ) -> None:
        """Prepare the training.

        Args:
            net: The network, which is trained in place. It takes token ids and mask, and returns one tensor of logits
                for each of `HEADS`.
            data: The rows to learn.
            held_out: The rows to score after each epoch, for early stopping.
            tokenizer: Cuts texts where the model does, and does not pad.
            recipe: The parameters of the training.
            machine: How to compute.
            folder: The folder for checkpoints.
            fingerprint: A digest of everything that the result depends on. A checkpoint with another fingerprint is
                refused.
            score: Returns how good logits for `held_out` are; larger is better.
            teacher: The teachers' logits for `data`, row by row, if `recipe.distillation` is above 0.
            console: Shows the progress.
        """
        self._net = net
        self._averaged: AveragedModel | None = None
        self._data = data
        self._held_out = held_out
        self._tokenizer = tokenizer
        self._recipe = recipe
        self._machine = machine
        self._folder = folder
        self._fingerprint = fingerprint
        self._score = score
        self._console = console or Console()
        self._ids = [encoding.ids for encoding in tokenizer.encode_batch(list(data.texts))]
        self._rows = [r for r, s in enumerate(data.source) for _ in range(recipe.repeats.get(SET_NAMES[s], 1))]
        self._loss_of = Loss(data, recipe, teacher)
        self._run = TrainingRun()
        self._epoch = 0
        self._done = 0  # finished batches of this epoch
        self._loss = 0.0  # sum of their losses

    def train(self) -> TrainingRun:
        """Train to the end, from the last checkpoint if there is one, and put the kept weights into the network.

        A run that stops early keeps its best epoch. A run of all epochs keeps the last weights, for which the learning
        rate was 0, because it is chance which of a few epochs is best on a few hundred rows.

        Raises:
            TrainingError: The checkpoint has another fingerprint.
        """
        recipe = self._recipe
        torch.manual_seed(recipe.seed)
        per_epoch = len(self._batches(0))
        steps = recipe.epochs * per_epoch
        optimizer = _optimizer(self._net, recipe)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _linear(steps, recipe.warmup))
        if recipe.average:
            decay = math.exp(-_STEPS_PER_AVERAGE / max(1.0, recipe.average * steps))
            self._averaged = AveragedModel(self._net, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self._restore(optimizer, schedule)
        forward = torch.compile(self._net, dynamic=True) if self._machine.compiled else self._net
        saved = started = time.monotonic()
        with _progress(self._console) as progress:
            task = progress.add_task(
                "training", total=steps, completed=self._epoch * per_epoch + self._done, loss=float("nan")
            )
            while self._epoch < recipe.epochs and not self._stale():
                self._net.train()
                for batch in self._batches(self._epoch)[self._done :]:
                    loss = self._step(forward, batch, optimizer)
                    schedule.step()
                    self._done += 1
                    if self._averaged is not None and self._done % _STEPS_PER_AVERAGE == 0:
                        self._averaged.update_parameters(self._net)
                    self._loss += loss
                    progress.update(task, advance=1, loss=loss)
                    if time.monotonic() - saved > 60 * self._machine.checkpoint_minutes:
                        saved = time.monotonic()
                        self._run.seconds += saved - started
                        started = saved
                        self._save(optimizer, schedule)
                self._end_of_epoch()
                self._run.seconds += time.monotonic() - started
                started = time.monotonic()
                self._save(optimizer, schedule)
        ended = self._epoch == recipe.epochs
        kept = self._kept().state_dict() if ended else torch.load(self._folder / BEST, weights_only=True)
        self._net.load_state_dict(kept)
        self._net.eval()
        return self._run

    def _kept(self) -> nn.Module:
        """Returns the network that is scored and kept: the moving average if there is one."""
        return self._net if self._averaged is None else self._averaged.module

    def _batches(self, epoch: int) -> list[list[int]]:
        rng = random.Random(self._recipe.seed * 1_000 + epoch)  # noqa: S311 - reproducible shuffles, not a secret
        lengths = [len(self._ids[row]) for row in self._rows]
        return [[self._rows[i] for i in batch] for batch in bucketed_batches(lengths, self._recipe.batch_size, rng)]

    def _step(self, forward: nn.Module, batch: Sequence[int], optimizer: torch.optim.Optimizer) -> float:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._machine.bf16):
            logits = forward(*padded([self._ids[i] for i in batch]))
        by_head = dict(zip(HEADS, (part.float() for part in logits), strict=True))
        loss = self._loss_of(by_head, torch.tensor(batch))
        loss.backward()
        nn.utils.clip_grad_norm_(self._net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.item())

    def _end_of_epoch(self) -> None:
        run = self._run
        run.losses.append(self._loss / max(1, self._done))
        kept = self._kept()
        run.scores.append(
            self._score(logits_of(kept, self._held_out.texts, self._tokenizer, self._machine.bf16), self._held_out)
        )
        self._epoch, self._done, self._loss = self._epoch + 1, 0, 0.0
        if run.scores[-1] == max(run.scores):
            torch.save(kept.state_dict(), self._folder / BEST)
        self._console.print(
            f"epoch {self._epoch}/{self._recipe.epochs}: loss {run.losses[-1]:.4f}, held-out score {run.scores[-1]:.4f}"
        )

    def _stale(self) -> bool:
        scores = self._run.scores
        return len(scores) - 1 - scores.index(max(scores)) >= self._recipe.patience if scores else False

    def _save(self, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LambdaLR) -> None:
        state = {
            "net": self._net.state_dict(),
            "averaged": None if self._averaged is None else self._averaged.state_dict(),
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "random": torch.get_rng_state(),
            "progress": {"epoch": self._epoch, "done": self._done, "loss": self._loss},
            "run": asdict(self._run),
            "fingerprint": self._fingerprint,
        }
        # Write under another name and rename, so that a run that is killed meanwhile leaves the previous checkpoint.
        partial = self._folder / f"{STATE}.partial"
        torch.save(state, partial)
        partial.rename(self._folder / STATE)

    def _restore(self, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LambdaLR) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / STATE
        if not file.exists():
            return
        state = torch.load(file, weights_only=True, map_location="cpu")
        if state["fingerprint"] != self._fingerprint:
            raise TrainingError(
                f"{file} was made with another configuration or other data; remove it, or choose another folder"
            )
        self._net.load_state_dict(state["net"])
        if self._averaged is not None:
            self._averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        progress = state["progress"]
        self._epoch, self._done, self._loss = progress["epoch"], progress["done"], progress["loss"]
        self._run = TrainingRun(**state["run"])
        self._console.print(f"resumed in epoch {self._epoch + 1} after {self._run.seconds / 60:.0f} min")


def logits_of(net: nn.Module, texts: Sequence[str], tokenizer: Tokenizer, bf16: bool = False) -> Logits:
    """Returns the logits of a network for each head, in the order of `texts`."""
    net.eval()
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    logits = {head: np.empty((len(ids), labels), np.float32) for head, labels in HEADS.items()}
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        for start in range(0, len(order), _EVALUATION_BATCH):
            rows = order[start : start + _EVALUATION_BATCH]
            for head, values in zip(HEADS, net(*padded([ids[i] for i in rows])), strict=True):
                logits[head][rows] = values.float().numpy()
    return logits


def padded(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (input ids, attention mask), both int64[rows, longest row]."""
    tensors = [torch.tensor(row) for row in rows]
    input_ids = nn.utils.rnn.pad_sequence(tensors, batch_first=True)
    mask = nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in tensors], batch_first=True)
    return input_ids, mask


def _optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Returns AdamW, without weight decay for biases and layer norms."""
    heads = {id(p) for p in net.heads.parameters()}
    matrices = [p for p in net.parameters() if p.ndim > 1 and id(p) not in heads]
    vectors = [p for p in net.parameters() if p.ndim <= 1 and id(p) not in heads]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": recipe.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
            {"params": list(net.heads.parameters()), "lr": recipe.head_learning_rate},
        ],
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def _linear(steps: int, warmup: float) -> Callable[[int], float]:
    """Returns the factor on the learning rate by step: it rises to 1 in the warm-up, then falls to 0 at the end."""
    warm = max(1, int(steps * warmup))

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return max(0.0, (steps - step) / max(1, steps - warm))

    return factor


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TimeRemainingColumn(),
        console=console,
    )
