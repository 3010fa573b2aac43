"""The networks of a training run, one after the other: teachers, student, first tier. Each is kept when it is done.

Everything lies in a work folder: a run that was stopped goes on where it was, and a changed export costs no training.

    teachers/NAME/     weights.pt, config.json, done.json, and while training state.pt
                       answers.npz: what it says of every training text, and of the altered copies
    student/  first-tier/

Each of these bears a fingerprint of all that it depends on: its part of the configuration, the data, and what was
trained before it. What was trained by another configuration, or on other data, is refused and never mixed in; answers
to other texts are asked for anew.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from tokenizers import Tokenizer
from torch import nn

from models.training import encoders, network, vocabulary
from models.training.augment import augmented
from models.training.calibrate import calibrated_loss
from models.training.config import FirstTierConfig, Recipe, Student, Teacher, TrainingConfig
from models.training.data import SET_NAMES, Examples, Logits, Splits
from models.training.ensemble import TeacherAnswers, combine, unsmoothed
from models.training.errors import TrainingError
from models.training.first_tier import FirstTier
from models.training.loop import BEST, STATE, Machine, Trainer, TrainingRun, logits_of
from models.training.metrics import headline

DONE: Final = "done.json"
ANSWERS: Final = "answers.npz"


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
        torch.set_num_threads(machine.threads)
        self.config = config
        self._splits = splits
        extra = config.augmentation
        self._distilled = augmented(splits.train, extra.copies, extra.share, extra.seed)
        self._work = work
        self._machine = machine
        self._console = console
        parts = (splits.train, splits.calibration)
        labels = [part.emotion.tobytes().hex() + part.sentiment.tobytes().hex() for part in parts]
        self._data = _digest([part.texts for part in parts], labels, config.max_tokens)
        self.full_tokenizer: Tokenizer = encoders.tokenizer(config.max_tokens)
        """That of the teachers."""
        self.kept: NDArray[np.int64] = vocabulary.kept_ids(
            self.full_tokenizer,
            splits.train.texts,
            first=config.student.vocabulary_first,
            min_count=config.student.vocabulary_min_count,
        )
        self.tokenizer: Tokenizer = vocabulary.pruned_tokenizer(self.full_tokenizer, self.kept)
        """The tokenizer of the student and of the first tier."""

    def teacher(self, teacher: Teacher) -> network.EmotionNet:
        """Train one teacher, or take it as it was trained.

        Raises:
            TrainingError: The work folder holds another one under its name.
        """
        folder = self._work / "teachers" / teacher.name
        fingerprint = self._teacher_fingerprint(teacher)
        if not _is_done(folder, fingerprint):
            torch.manual_seed(teacher.recipe.seed)
            net = network.EmotionNet(encoders.pretrained(teacher.encoder), teacher.recipe.dropout)
            run = self._train(
                net,
                folder,
                teacher.recipe,
                fingerprint,
                tokenizer=self.full_tokenizer,
                data=self._splits.train.of(*teacher.sets),
                held_out=self._splits.calibration.of(*teacher.sets),
            )
            network.save(net, folder)
            self._finish(folder, net, self.full_tokenizer, run, fingerprint=fingerprint, sets=teacher.sets)
        return network.load(folder)

    def teacher_mean(self, data: Examples) -> Logits:
        """The teachers' average on some rows, each asked about the data sets it learnt."""
        return combine(
            [self._corrected(teacher, data, self._query(teacher, data)) for teacher in self.config.teachers], data
        )

    def targets(self) -> Logits:
        """What the student learns: the teachers' average on the training rows and their altered copies."""
        data = self._distilled
        return combine(
            [self._corrected(teacher, data, self._saved_answers(teacher)) for teacher in self.config.teachers], data
        )

    def _saved_answers(self, teacher: Teacher) -> Logits:
        """What a teacher says of what is distilled on; kept, because it takes minutes."""
        file = self._work / "teachers" / teacher.name / ANSWERS
        fingerprint = _digest(self._teacher_fingerprint(teacher), self._distilled.texts)
        if file.exists():
            with np.load(file) as saved:
                if str(saved["fingerprint"]) == fingerprint:
                    return {head: saved[head] for head in saved.files if head != "fingerprint"}
        self._console.print(f"asking {teacher.name} about {len(self._distilled.rows_of(*teacher.sets)):,} texts")
        said = self._query(teacher, self._distilled)
        partial = file.with_suffix(".partial.npz")
        np.savez(partial, allow_pickle=False, fingerprint=np.array(fingerprint), **said)
        partial.rename(file)
        return said

    def _query(self, teacher: Teacher, data: Examples) -> Logits:
        """A teacher's logits of the rows of the data sets that it learnt."""
        texts = data.of(*teacher.sets).texts
        return logits_of(self.teacher(teacher), texts, self.full_tokenizer, self._machine.bf16)

    @staticmethod
    def _corrected(teacher: Teacher, data: Examples, said: Logits) -> TeacherAnswers:
        rows = data.rows_of(*teacher.sets)
        meant = unsmoothed(said, data.take(rows), teacher.recipe.label_smoothing)
        everywhere = {head: np.zeros((len(data), values.shape[1]), np.float32) for head, values in meant.items()}
        for head, values in meant.items():
            everywhere[head][rows] = values
        return TeacherAnswers(everywhere, teacher.sets)

    def student(self) -> network.EmotionNet:
        """Distil the encoder that is shipped, on the pruned vocabulary, or take it as it was.

        Raises:
            TrainingError: The work folder holds another one.
        """
        folder = self._work / "student"
        student = self.config.student
        fingerprint = self._distilled_fingerprint(student)
        if not _is_done(folder, fingerprint):
            torch.manual_seed(student.recipe.seed)
            encoder = encoders.pretrained(student.encoder)
            if student.layers is not None:
                encoder = network.with_layers(encoder, student.layers)
            net = network.EmotionNet(encoder, student.recipe.dropout, pool_early=student.pool_early)
            vocabulary.prune(net, self.kept)
            run = self._distil(net, folder, student.recipe, fingerprint)
            network.save(net, folder)
            self._finish(folder, net, self.tokenizer, run, fingerprint=fingerprint)
        return network.load(folder)

    def first_tier(self, config: FirstTierConfig) -> FirstTier:
        """Distil the first tier, which starts from the word vectors of a teacher of everything, or take it as it was.

        Raises:
            TrainingError: The work folder holds another one.
        """
        folder = self._work / "first-tier"
        fingerprint = self._distilled_fingerprint(config)
        torch.manual_seed(config.recipe.seed)
        net = FirstTier(len(self.kept), width=config.width, filters=config.filters, dropout=config.recipe.dropout)
        if not _is_done(folder, fingerprint):
            vectors = self.teacher(self.config.general_teacher).encoder.embeddings.word_embeddings.weight.detach()
            net.start_from(vectors[torch.tensor(self.kept)])
            run = self._distil(net, folder, config.recipe, fingerprint)
            torch.save(net.state_dict(), folder / network.WEIGHTS)
            self._finish(folder, net, self.tokenizer, run, fingerprint=fingerprint)
        net.load_state_dict(torch.load(folder / network.WEIGHTS, weights_only=True))
        net.eval()
        return net

    def stage_result(self, folder: str) -> tuple[TrainingRun, dict[str, float]]:
        """What a finished stage noted, by its folder below the work folder: its run, its figures in FP32."""
        noted = _noted(self._work / folder)
        return TrainingRun(**noted["run"]), noted["validation"]

    def _teacher_fingerprint(self, teacher: Teacher) -> str:
        return _digest(self._data, teacher.model_dump())

    def _distilled_fingerprint(self, config: Student | FirstTierConfig) -> str:
        teachers = [self._teacher_fingerprint(teacher) for teacher in self.config.teachers]
        told = config.model_dump()
        if not told.get("pool_early"):
            told.pop("pool_early", None)  # so that what was trained before there was such a choice stays valid
        # What the teachers' answers become, by name: another way of averaging them makes another student.
        return _digest("unsmoothed mean", teachers, self._data, self._distilled.texts, self.kept.tolist(), told)

    def _distil(self, net: nn.Module, folder: Path, recipe: Recipe, fingerprint: str) -> TrainingRun:
        return self._train(
            net,
            folder,
            recipe,
            fingerprint,
            tokenizer=self.tokenizer,
            data=self._distilled,
            held_out=self._splits.calibration,
            teacher=self.targets(),
        )

    def _train(
        self,
        net: nn.Module,
        folder: Path,
        recipe: Recipe,
        fingerprint: str,
        *,
        tokenizer: Tokenizer,
        data: Examples,
        held_out: Examples,
        teacher: Logits | None = None,
    ) -> TrainingRun:
        self._console.rule(folder.name)
        trainer = Trainer(
            net,
            data,
            held_out,
            tokenizer=tokenizer,
            recipe=recipe,
            machine=self._machine,
            folder=folder,
            fingerprint=fingerprint,
            score=self._score,
            teacher=teacher,
            console=self._console,
        )
        return trainer.train()

    def _finish(
        self,
        folder: Path,
        net: nn.Module,
        tokenizer: Tokenizer,
        run: TrainingRun,
        *,
        fingerprint: str,
        sets: tuple[str, ...] = SET_NAMES,
    ) -> None:
        """Measure a trained network whose weights are saved, and mark its stage as done, which is the last step."""
        validation = self._splits.validation.of(*sets)
        figures = headline(logits_of(net, validation.texts, tokenizer), validation)
        self._console.print(f"{folder.name}, FP32, validation: {_line(figures)}; {run.seconds / 60:.0f} min")
        noted = {"fingerprint": fingerprint, "run": asdict(run), "validation": figures}
        (folder / DONE).write_text(json.dumps(noted, indent=1), encoding="utf-8")
        for scratch in (STATE, BEST):
            (folder / scratch).unlink(missing_ok=True)

    def _score(self, logits: Logits, data: Examples) -> float:
        self._console.print(f"held out: {_line(headline(logits, data))}")
        return -calibrated_loss(logits, data)


def _is_done(folder: Path, fingerprint: str) -> bool:
    try:
        noted = _noted(folder)
    except FileNotFoundError:
        return False
    if noted.get("fingerprint") != fingerprint:
        raise TrainingError(_refusal(folder))
    return True


def _noted(folder: Path) -> dict[str, Any]:
    """What a finished stage noted in its folder."""
    try:
        noted: dict[str, Any] = json.loads((folder / DONE).read_text(encoding="utf-8"))
    except ValueError as exc:
        raise TrainingError(f"{folder / DONE} is damaged: remove {folder}, and that stage is trained again") from exc
    return noted


def _refusal(path: Path) -> str:
    return f"{path} is of another configuration or other data; remove it, or choose another work folder"


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _line(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
