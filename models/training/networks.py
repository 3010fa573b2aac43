"""The networks of a training run, one after the other: teachers, student, first tier. Each is kept when it is done.

Everything lies in a work folder: a run that was stopped goes on where it was, and a changed export costs no training.

    teachers/NAME/     weights.pt, config.json, done.json, and while training state.pt
    targets.npz        what the teachers say, on average, of every training text
    student/  first-tier/
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from tokenizers import Tokenizer
from torch import nn

from models.training import encoders, network, vocabulary
from models.training.config import FirstTierConfig, Recipe, Teacher, TrainingConfig
from models.training.data import Examples, Logits, Splits
from models.training.ensemble import average
from models.training.first_tier import FirstTier
from models.training.loop import BEST, STATE, Machine, Trainer, TrainingRun, logits_of
from models.training.metrics import headline, mean_headline

DONE = "done.json"


class Networks:
    """The stages of a run, in the order they need each other."""

    def __init__(
        self, config: TrainingConfig, splits: Splits, work: Path, *, machine: Machine, console: Console
    ) -> None:
        """Prepare; nothing is trained yet.

        Args:
            config: What to train.
            splits: On what.
            work: The work folder.
            machine: How to compute.
            console: Where progress is shown.
        """
        self._config = config
        self._splits = splits
        self._work = work
        self._machine = machine
        self._console = console
        full = encoders.tokenizer(config.max_tokens)
        self._full = full
        self.kept: NDArray[np.int64] = vocabulary.kept_ids(
            full,
            splits.train.texts,
            first=config.student.vocabulary_first,
            min_count=config.student.vocabulary_min_count,
        )
        self.tokenizer: Tokenizer = vocabulary.pruned_tokenizer(full, self.kept)
        """The tokenizer of the student and of the first tier."""

    def teacher(self, teacher: Teacher) -> network.EmotionNet:
        """Train one teacher, or take it as it was trained."""
        folder = self._work / "teachers" / teacher.name
        if not (folder / DONE).exists():
            torch.manual_seed(teacher.recipe.seed)
            net = network.EmotionNet(encoders.pretrained(teacher.encoder))
            run = self._train(f"teacher {teacher.name}", net, folder, self._full, teacher.recipe)
            network.save(net, folder)
            self._finish(folder, net, self._full, run)
        return network.load(folder)

    def teachers_say(self, data: Examples) -> Logits:
        """The teachers' average on some rows."""
        return average(
            [
                logits_of(self.teacher(teacher), data.texts, self._full, self._machine.bf16)
                for teacher in self._config.teachers
            ]
        )

    def targets(self) -> Logits:
        """What the student learns: the teachers' average on the training rows."""
        file = self._work / "targets.npz"
        if not file.exists():
            self._console.print("asking the teachers about every training text")
            said = self.teachers_say(self._splits.train)
            partial = file.with_suffix(".partial.npz")
            np.savez(partial, allow_pickle=False, **said)
            partial.rename(file)
        with np.load(file) as saved:
            found = {head: saved[head] for head in saved.files}
        if any(len(values) != len(self._splits.train) for values in found.values()):
            raise ValueError(f"{file} is about other data; remove it")
        return found

    def student(self) -> network.EmotionNet:
        """Distil the encoder that is shipped, on the pruned vocabulary."""
        folder = self._work / "student"
        if not (folder / DONE).exists():
            student = self._config.student
            torch.manual_seed(student.recipe.seed)
            encoder = encoders.pretrained(student.encoder)
            if student.layers is not None:
                encoder = network.with_layers(encoder, student.layers)
            net = network.EmotionNet(encoder)
            vocabulary.prune(net, self.kept)
            run = self._train("student", net, folder, self.tokenizer, student.recipe, teacher=self.targets())
            network.save(net, folder)
            self._finish(folder, net, self.tokenizer, run)
        return network.load(folder)

    def first_tier(self, config: FirstTierConfig) -> FirstTier:
        """Distil the first tier, which starts from the first teacher's word vectors."""
        folder = self._work / "first-tier"
        net = FirstTier(len(self.kept), width=config.width, filters=config.filters)
        if not (folder / DONE).exists():
            torch.manual_seed(config.recipe.seed)
            net = FirstTier(len(self.kept), width=config.width, filters=config.filters)
            vectors = self.teacher(self._config.teachers[0]).encoder.embeddings.word_embeddings.weight.detach()
            net.start_from(vectors[torch.tensor(self.kept)])
            run = self._train("first tier", net, folder, self.tokenizer, config.recipe, teacher=self.targets())
            torch.save(net.state_dict(), folder / network.WEIGHTS)
            self._finish(folder, net, self.tokenizer, run)
        net.load_state_dict(torch.load(folder / network.WEIGHTS, weights_only=True))
        net.eval()
        return net

    def measured(self, folder: str) -> tuple[TrainingRun, dict[str, float]]:
        """What a finished stage noted, by its folder below the work folder: its run, its figures in FP32."""
        noted = json.loads((self._work / folder / DONE).read_text(encoding="utf-8"))
        return TrainingRun(**noted["run"]), noted["validation"]

    def _train(
        self,
        title: str,
        net: nn.Module,
        folder: Path,
        tokenizer: Tokenizer,
        recipe: Recipe,
        *,
        teacher: Logits | None = None,
    ) -> TrainingRun:
        self._console.rule(title)
        trainer = Trainer(
            net,
            self._splits.train,
            self._splits.calibration,
            tokenizer=tokenizer,
            recipe=recipe,
            machine=self._machine,
            folder=folder,
            score=self._shown(),
            teacher=teacher,
            console=self._console,
        )
        return trainer.train()

    def _finish(self, folder: Path, net: nn.Module, tokenizer: Tokenizer, run: TrainingRun) -> None:
        """Measure a trained network whose weights are saved, and mark its stage as done, which is the last step."""
        validation = self._splits.validation
        figures = headline(logits_of(net, validation.texts, tokenizer), validation)
        self._console.print(f"{folder.name}, FP32, validation: {_line(figures)}; {run.seconds / 60:.0f} min")
        (folder / DONE).write_text(json.dumps({"run": asdict(run), "validation": figures}, indent=1), encoding="utf-8")
        for scratch in (STATE, BEST):
            (folder / scratch).unlink(missing_ok=True)

    def _shown(self) -> Callable[[Logits, Examples], float]:
        def score(logits: Logits, data: Examples) -> float:
            self._console.print(f"held out: {_line(headline(logits, data))}")
            return mean_headline(logits, data)

        return score


def _line(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
