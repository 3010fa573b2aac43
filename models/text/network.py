"""One ONNX network on ONNX Runtime's CPU provider: checked when it is loaded, so that no post finds a fault first."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from models.errors import ModelPackageError
from models.package.manifest import Head

_REQUIRED: Final = ("input_ids", "attention_mask")
_KNOWN: Final = frozenset({*_REQUIRED, "token_type_ids"})
_INTEGERS: Final[dict[str, type[np.signedinteger[Any]]]] = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_FLOATS: Final = frozenset({"tensor(float)", "tensor(float16)", "tensor(double)"})
# Token counts of the texts that a network is tried on; different, so that padding is seen too.
_PROBE: Final = (2, 5)


@dataclass(frozen=True)
class TokenIds:
    """What token ids a network must take.

    Attributes:
        pad: what shorter texts of a batch are filled up with; it is masked.
        highest: the largest id that the tokenizer gives.
        most: tokens of the longest text.
    """

    pad: int
    highest: int
    most: int


class Network:
    """Token ids in, one array of logits per head out. Safe to share between threads: nothing changes after the load."""

    def __init__(self, file: Path, heads: Sequence[Head], *, threads: int, tokens: TokenIds) -> None:
        """Load a network, hold it against the heads, and run it on what it will have to take.

        Args:
            file: The ONNX file.
            heads: What it must answer.
            threads: ONNX Runtime's intra-op threads.
            tokens: What it will be given.

        Raises:
            ModelPackageError: It cannot be loaded, wants other inputs, lacks an output, gives what are not logits, or
                has no room for the tokenizer's highest id or for the longest text.
            MemoryError: This machine has too little for it, now or ever.
        """
        self._file = file
        self._heads = tuple(heads)
        self._tokens = tokens
        self._session = _session(file, threads)
        self._inputs = self._checked_inputs()
        self._check_outputs()
        self._try_out()

    def run(self, ids: Sequence[NDArray[np.int64]]) -> list[NDArray[np.float32]]:
        """Run one batch.

        Args:
            ids: Token ids of each text, int64[tokens]; at least one text.

        Returns:
            Logits of each head, float32[len(ids), labels].
        """
        outputs = self._session.run([head.output for head in self._heads], self.feed(ids))
        return [np.asarray(output, np.float32) for output in outputs]

    def feed(self, ids: Sequence[NDArray[np.int64]]) -> dict[str, NDArray[Any]]:
        """The inputs of a batch by name, each of the network's integer type, [len(ids), longest]."""
        lengths = np.array([len(text) for text in ids])
        mask = np.arange(lengths.max()) < lengths[:, None]
        padded = np.full(mask.shape, self._tokens.pad, np.int64)
        padded[mask] = np.concatenate(ids)
        by_name = {"input_ids": padded, "attention_mask": mask, "token_type_ids": np.zeros_like(padded)}
        return {name: by_name[name].astype(kind) for name, kind in self._inputs.items()}

    def _checked_inputs(self) -> dict[str, type[np.signedinteger[Any]]]:
        nodes = {node.name: node for node in self._session.get_inputs()}
        if missing := [name for name in _REQUIRED if name not in nodes]:
            hint = "; without it padding would change the answers" if missing == ["attention_mask"] else ""
            raise ModelPackageError(
                f"{self._file} has no input {', '.join(missing)}; its inputs are: {', '.join(nodes) or 'none'}{hint}"
            )
        if unknown := sorted(nodes.keys() - _KNOWN):
            raise ModelPackageError(f"{self._file} wants inputs that no tokenizer gives: {', '.join(unknown)}")
        for name, node in nodes.items():
            if node.type not in _INTEGERS:
                raise ModelPackageError(f"{self._file} takes {name} as {node.type}, not as int64 or int32")
            if len(node.shape) != 2:
                raise ModelPackageError(f"{self._file} takes {name} with shape {node.shape}, not [batch, tokens]")
        return {name: _INTEGERS[node.type] for name, node in nodes.items()}

    def _check_outputs(self) -> None:
        nodes = {node.name: node for node in self._session.get_outputs()}
        for head in self._heads:
            node = nodes.get(head.output)
            if node is None:
                raise ModelPackageError(
                    f"{self._file} has no output {head.output!r} for head {head.name!r}; its outputs are: "
                    f"{', '.join(nodes)}"
                )
            if node.type not in _FLOATS:
                raise ModelPackageError(
                    f"{self._file} gives {node.type} for head {head.name!r}, not logits as floating-point numbers"
                )

    def _try_out(self) -> None:
        """What shapes and numbers come out is sure only after a run: a graph may leave its dimensions open.

        The same holds for what it has room for: the rows of its embedding, and its positions.
        """
        pad, highest, most = self._tokens.pad, self._tokens.highest, self._tokens.most
        self._check_logits(self._tried(_PROBE, pad, "a batch of two texts"))
        self._check_logits(self._tried(_PROBE, highest, f"token id {highest}, the tokenizer's highest"))
        # Not of padding: some networks give that no position.
        word = highest if highest != pad else max(pad - 1, 0)
        hint = "; if it has fewer positions, texts must be cut earlier"
        self._tried((most,), word, f"a text of {most} tokens, its max_tokens", hint)

    def _tried(self, lengths: Sequence[int], token: int, what: str, hint: str = "") -> list[NDArray[np.float32]]:
        """Logits of texts of these lengths that say nothing but `token`."""
        try:
            return self.run([np.full(length, token, np.int64) for length in lengths])
        except MemoryError:  # not the network's fault
            raise
        except Exception as exc:  # ONNX Runtime's exceptions share no public base class
            raise ModelPackageError(f"{self._file} fails on {what}: {one_line(exc)}{hint}") from exc

    def _check_logits(self, outputs: Sequence[NDArray[np.float32]]) -> None:
        """Whether these are logits for the texts of `_PROBE`."""
        for head, logits in zip(self._heads, outputs, strict=True):
            if logits.ndim != 2 or len(logits) != len(_PROBE):
                raise ModelPackageError(
                    f"{self._file} gives shape {list(logits.shape)} for head {head.name!r} and two texts, not "
                    "[batch, labels]"
                )
            if logits.shape[1] != len(head.labels):
                raise ModelPackageError(
                    f"{self._file} gives {logits.shape[1]} values for head {head.name!r}, which has "
                    f"{len(head.labels)} labels"
                )
            if not np.isfinite(logits).all():
                raise ModelPackageError(f"{self._file} gives logits for head {head.name!r} that are not finite numbers")


Outputs = dict[str, int | None]
"""The outputs of a network by name, each with its width, None where the graph leaves it open."""


def outputs_of(file: Path) -> Outputs:
    """What a network gives.

    Raises:
        ModelPackageError: It cannot be loaded.
    """
    if not file.is_file():
        raise ModelPackageError(f"{file} is not there, or is not a file")
    widths = {node.name: (node.shape or [None])[-1] for node in _session(file, 1).get_outputs()}
    return {name: width if isinstance(width, int) else None for name, width in widths.items()}


def one_line(exc: BaseException) -> str:
    """The first line of an exception's message, cut to 200 characters."""
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0][:200]


def _session(file: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # Idle threads sleep instead of spinning: the cores are shared with Kafka, Redis and other workers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Faults come back as errors; their log lines on stderr would say them twice.
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(str(file), sess_options=options, providers=["CPUExecutionProvider"])
    except MemoryError:  # not the network's fault
        raise
    except Exception as exc:  # ONNX Runtime's exceptions share no public base class
        raise ModelPackageError(f"{file} cannot be loaded: {one_line(exc)}") from exc
