"""The manifest, the heads and the provenance of a trained package are those of its training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from models.text.golden import check_golden
from models.text.onnx_classifier import OnnxClassifier
from models.training import run
from models.training.config import TrainingConfig, read_config
from models.training.data import SET_NAMES, SETS, Examples, Logits, read_splits
from models.training.errors import TrainingError
from models.training.loop import TrainingRun
from models.training.network import HEADS
from models.training.networks import DONE, Networks
from models.training.run import run_training
from tests.training.test_training_run import CALIBRATION, CONFIG, MACHINE, data

__all__ = ["data"]  # a fixture

SPECIALIST = """
[[teachers]]
name = "special"
encoder = "minilm-l6"
sets = ["emotion"]
recipe = { epochs = 5, batch_size = 16, learning_rate = 3e-4 }
"""

# The tests take minutes on a busy machine.
pytestmark = pytest.mark.timeout(900)


def configuration(tmp_path: Path) -> Path:
    """A configuration whose first teacher is a specialist."""
    file = tmp_path / "config.toml"
    file.write_text(CONFIG.replace("[[teachers]]", f"{SPECIALIST}[[teachers]]", 1))
    return file


def test_the_package_of_a_teacher_has_the_heads_and_figures_of_its_data_sets(data, tmp_path):
    package = run_training(
        data=data,
        config_file=configuration(tmp_path),
        work=tmp_path / "work",
        out=tmp_path / "out",
        replace=False,
        threads=MACHINE.threads,
        bf16=MACHINE.bf16,
        compiled=MACHINE.compiled,
        console=Console(quiet=True),
        teacher="special",
    )
    manifest = package.manifest
    assert [source.name for source in manifest.training_data] == [SETS[0].title]
    assert [head.name for head in manifest.heads] == ["emotion"]
    assert manifest.tiers[0].temperatures.keys() == {"emotion"}
    assert {name.split(".")[0] for name in manifest.metrics} == {"emotion"}
    assert manifest.metrics["emotion.accuracy"] > 0.5
    card = (package.path / "MODEL_CARD.md").read_text()
    assert not [data_set.title for data_set in SETS[1:] if data_set.title in card]
    assert check_golden(OnnxClassifier.load(package), package) >= 1


class Finished:
    """Has the finished stages' results that the provenance needs."""

    def __init__(self, config: TrainingConfig) -> None:
        self.config = config

    def stage_result(self, _folder: str) -> tuple[TrainingRun, dict[str, float]]:
        return TrainingRun(60.0, [1.0]), {}

    def teacher_mean(self, data: Examples) -> Logits:
        return {head: np.zeros((len(data), labels), np.float32) for head, labels in HEADS.items()}


@pytest.mark.parametrize("cascade", [True, False])
def test_the_provenance_has_the_first_tier_and_its_teacher_if_there_is_one(data, tmp_path, cascade):
    splits = read_splits(data, CALIBRATION, 17)
    found = run._provenance(Finished(read_config(configuration(tmp_path))), splits, MACHINE, cascade=cascade)
    assert [stage.name for stage in found.teachers] == ["special", "one", "two"]
    if cascade:
        assert found.first_tier is not None
        assert found.first_tier.base == "the word vectors of one"
    else:
        assert found.first_tier is None
    assert set(found.rows) == set(SET_NAMES)


def test_a_damaged_record_of_a_stage_is_reported_in_one_line(data, tmp_path):
    config = read_config(configuration(tmp_path))
    splits = read_splits(data, CALIBRATION, 17)
    networks = Networks(config, splits, tmp_path / "work", machine=MACHINE, console=Console(quiet=True))
    folder = tmp_path / "work" / "teachers" / "one"
    folder.mkdir(parents=True)
    (folder / DONE).write_text('{"fingerpr')
    with pytest.raises(TrainingError, match=r"teachers/one/done\.json is damaged; remove .*teachers/one to train"):
        networks.teacher(config.general_teacher)
