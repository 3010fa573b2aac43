"""Trains the networks of a training run one after the other: teachers, student, first tier.

Each network is a *stage*. A work folder keeps the finished stages, so that a run that was stopped continues, and a new
export needs no training:

    teachers/NAME/     weights.pt, config.json, done.json, and during the training state.pt
                       answers.npz: the teacher's answers to every training text and to the altered copies
    student/  first-tier/

Each stage has a fingerprint of everything that it depends on: its part of the configuration, the data, and the stages
before it. A stage with another fingerprint is refused. Answers with another fingerprint are computed again.
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
    """The stages of a training run. Each method trains its stage, and the stages that it depends on, if needed."""

    def __init__(
        self, config: TrainingConfig, splits: Splits, work: Path, *, machine: Machine, console: Console
    ) -> None:
        """Prepare the stages. Nothing is trained yet.

        Args:
            config: The configuration of the training.
            splits: The data.
            work: The work folder.
            machine: How to compute.
            console: Shows the progress.
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
        """The tokenizer of the teachers."""
        self.kept: NDArray[np.int64] = vocabulary.kept_ids(
            self.full_tokenizer,
            splits.train.texts,
            first=config.student.vocabulary_first,
            min_count=config.student.vocabulary_min_count,
        )
        self.tokenizer: Tokenizer = vocabulary.pruned_tokenizer(self.full_tokenizer, self.kept)
        """The tokenizer of the student and of the first tier."""

    def teacher(self, teacher: Teacher) -> network.EmotionNet:
        """Returns a teacher, trained now or before.

        Raises:
            TrainingError: The work folder has a teacher of this name with another fingerprint.
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
        """Returns the average of the teachers' answers to rows; each answers the rows of the data sets it learnt."""
        return combine(
            [self._corrected(teacher, data, self._query(teacher, data)) for teacher in self.config.teachers], data
        )

    def targets(self) -> Logits:
        """Returns the mean of the teachers' answers to the texts for distillation: training rows and their copies."""
        data = self._distilled
        return combine(
            [self._corrected(teacher, data, self._saved_answers(teacher)) for teacher in self.config.teachers], data
        )

    def _saved_answers(self, teacher: Teacher) -> Logits:
        """Returns a teacher's answers to the texts for distillation. They are saved, because they take minutes."""
        file = self._work / "teachers" / teacher.name / ANSWERS
        fingerprint = _digest(self._teacher_fingerprint(teacher), self._distilled.texts)
        if file.exists():
            with np.load(file) as saved:
                if str(saved["fingerprint"]) == fingerprint:
                    return {head: saved[head] for head in saved.files if head != "fingerprint"}
        self._console.print(f"asking {teacher.name} about {len(self._distilled.rows_of(*teacher.sets)):,} texts")
        answers = self._query(teacher, self._distilled)
        partial = file.with_suffix(".partial.npz")
        np.savez(partial, allow_pickle=False, fingerprint=np.array(fingerprint), **answers)
        partial.rename(file)
        return answers

    def _query(self, teacher: Teacher, data: Examples) -> Logits:
        """Returns a teacher's logits for the rows of the data sets that it learnt."""
        texts = data.of(*teacher.sets).texts
        return logits_of(self.teacher(teacher), texts, self.full_tokenizer, self._machine.bf16)

    @staticmethod
    def _corrected(teacher: Teacher, data: Examples, answers: Logits) -> TeacherAnswers:
        """Remove the effect of label smoothing from a teacher's answers, and add zeros for rows of other data sets."""
        rows = data.rows_of(*teacher.sets)
        corrected = unsmoothed(answers, data.take(rows), teacher.recipe.label_smoothing)
        all_rows = {head: np.zeros((len(data), values.shape[1]), np.float32) for head, values in corrected.items()}
        for head, values in corrected.items():
            all_rows[head][rows] = values
        return TeacherAnswers(all_rows, teacher.sets)

    def student(self) -> network.EmotionNet:
        """Returns the student with the pruned vocabulary, distilled now or before.

        Raises:
            TrainingError: The work folder has a student with another fingerprint.
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
        """Returns the first tier, distilled now or before. It starts from the word vectors of the general teacher.

        Raises:
            TrainingError: The work folder has a first tier with another fingerprint.
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
        """Returns the run of a finished stage and its figures in FP32, given its folder below the work folder."""
        record = _read_record(self._work / folder)
        return TrainingRun(**record["run"]), record["validation"]

    def _teacher_fingerprint(self, teacher: Teacher) -> str:
        return _digest(self._data, teacher.model_dump())

    def _distilled_fingerprint(self, config: Student | FirstTierConfig) -> str:
        teachers = [self._teacher_fingerprint(teacher) for teacher in self.config.teachers]
        settings = config.model_dump()
        if not settings.get("pool_early"):
            settings.pop("pool_early", None)  # stages from before this setting existed keep their fingerprint
        # The first part names the way of averaging the teachers: another way would make another student.
        return _digest("unsmoothed mean", teachers, self._data, self._distilled.texts, self.kept.tolist(), settings)

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
        """Measure a trained network whose weights are saved, and record that its stage is done."""
        validation = self._splits.validation.of(*sets)
        figures = headline(logits_of(net, validation.texts, tokenizer), validation)
        self._console.print(f"{folder.name}, FP32, validation: {_line(figures)}; {run.seconds / 60:.0f} min")
        record = {"fingerprint": fingerprint, "run": asdict(run), "validation": figures}
        (folder / DONE).write_text(json.dumps(record, indent=1), encoding="utf-8")
        for scratch in (STATE, BEST):
            (folder / scratch).unlink(missing_ok=True)

    def _score(self, logits: Logits, data: Examples) -> float:
        self._console.print(f"held out: {_line(headline(logits, data))}")
        return -calibrated_loss(logits, data)


def _is_done(folder: Path, fingerprint: str) -> bool:
    try:
        record = _read_record(folder)
    except FileNotFoundError:
        return False
    if record.get("fingerprint") != fingerprint:
        raise TrainingError(
            f"{folder} was made with another configuration or other data; remove it, or choose another work folder"
        )
    return True


def _read_record(folder: Path) -> dict[str, Any]:
    """Read what a finished stage recorded in its folder.

    Raises:
        FileNotFoundError: The stage is not finished.
        TrainingError: The record is damaged.
    """
    try:
        record: dict[str, Any] = json.loads((folder / DONE).read_text(encoding="utf-8"))
    except ValueError as exc:
        raise TrainingError(f"{folder / DONE} is damaged; remove {folder} to train this stage again") from exc
    return record


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _line(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
