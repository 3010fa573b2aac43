"""One ONNX network on ONNX Runtime's CPU provider. It is checked when it is loaded, before it classifies posts."""

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
_PROBE: Final = (2, 5)
"""Numbers of tokens of the texts that a network is tried on. They differ, so that the batch has padding."""


@dataclass(frozen=True)
class TokenIds:
    """The token ids that a network must accept.

    Attributes:
        pad: The id with which the shorter texts of a batch are padded; it is masked.
        highest: The largest id that the tokenizer gives.
        max_tokens: Number of tokens of the longest text.
    """

    pad: int
    highest: int
    max_tokens: int


class Network:
    """Takes token ids and returns one array of logits per head. Thread-safe: nothing changes after the load."""

    def __init__(self, file: Path, heads: Sequence[Head], *, threads: int, tokens: TokenIds) -> None:
        """Load a network, check its inputs and outputs against the heads, and run it on extreme texts.

        Args:
            file: The ONNX file.
            heads: The heads that the network must have outputs for.
            threads: ONNX Runtime's intra-op threads.
            tokens: The token ids that the network must accept.

        Raises:
            ModelPackageError: The network cannot be loaded, needs other inputs, lacks an output, returns arrays that
                are not logits, or fails on the tokenizer's highest id or on the longest text.
            MemoryError: The machine has too little memory.
        """
        self._file = file
        self._heads = tuple(heads)
        self._tokens = tokens
        self._session = _session(file, threads)
        self._inputs = self._checked_inputs()
        self._check_outputs()
        self._probe()

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
        """Returns the inputs of a batch by name, each of the network's integer type, [len(ids), longest text]."""
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
            raise ModelPackageError(f"{self._file} needs inputs that no tokenizer gives: {', '.join(unknown)}")
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

    def _probe(self) -> None:
        """Run the network on extreme texts, because a graph does not tell all its shapes, nor how many ids it accepts.

        Raises:
            ModelPackageError: The network fails on padding, on the highest id or on the longest text, or its outputs
                are not logits.
        """
        pad, highest, max_tokens = self._tokens.pad, self._tokens.highest, self._tokens.max_tokens
        self._check_logits(self._probe_run(_PROBE, pad, "a batch of two texts"))
        self._check_logits(self._probe_run(_PROBE, highest, f"token id {highest}, the tokenizer's highest"))
        # Another token than padding, because some networks give padding no position.
        word = highest if highest != pad else max(pad - 1, 0)
        hint = "; if the network has fewer positions, lower max_tokens"
        self._probe_run((max_tokens,), word, f"a text of {max_tokens} tokens, its max_tokens", hint)

    def _probe_run(self, lengths: Sequence[int], token: int, what: str, hint: str = "") -> list[NDArray[np.float32]]:
        """Returns the logits of texts of these lengths that repeat one token; an error names `what`."""
        try:
            return self.run([np.full(length, token, np.int64) for length in lengths])
        except MemoryError:  # the network is not the reason
            raise
        except Exception as exc:  # ONNX Runtime's exceptions share no public base class
            raise ModelPackageError(f"{self._file} fails on {what}: {one_line(exc)}{hint}") from exc

    def _check_logits(self, outputs: Sequence[NDArray[np.float32]]) -> None:
        """Raise unless these are logits for the texts of `_PROBE`."""
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
"""The outputs of a network by name, each with its width; None if the graph leaves the width open."""


def outputs_of(file: Path) -> Outputs:
    """Returns the outputs of a network.

    Raises:
        ModelPackageError: The file cannot be loaded.
    """
    if not file.is_file():
        raise ModelPackageError(f"{file} does not exist, or is not a file")
    widths = {node.name: (node.shape or [None])[-1] for node in _session(file, 1).get_outputs()}
    return {name: width if isinstance(width, int) else None for name, width in widths.items()}


def one_line(exc: BaseException) -> str:
    """Returns the first line of an exception's message, cut to 200 characters."""
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0][:200]


def _session(file: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # Idle threads sleep instead of spinning, because Kafka, Redis and other workers use the same cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Errors are raised; ONNX Runtime would also write them to stderr.
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(str(file), sess_options=options, providers=["CPUExecutionProvider"])
    except MemoryError:  # the network is not the reason
        raise
    except Exception as exc:  # ONNX Runtime's exceptions share no public base class
        raise ModelPackageError(f"{file} cannot be loaded: {one_line(exc)}") from exc
