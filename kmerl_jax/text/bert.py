"""A BERT from a Hugging Face checkpoint as a text encoder: MedCPT and its kin."""

import copy
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from transformers import AutoTokenizer

from kmerl_jax.models.bert import Bert
from kmerl_jax.text import checkpoint

BATCH_TOKENS = 4096
"""Of one batch: many short texts or few long ones."""


class BatchedBert:
    """A BERT over texts of any lengths, in batches of similar length, split over this host's devices."""

    def __init__(self, bert: Bert, weights: dict, window: int, shortest: int = 16):
        """Args:
        bert: the module.
        weights: its parameters.
        window: most tokens of a text.
        shortest: tokens to which the shortest texts are padded.
        """
        mesh = Mesh(np.array(jax.local_devices()), ("data",))
        self._devices = mesh.size
        self._split = NamedSharding(mesh, PartitionSpec("data"))
        self._params = jax.device_put(weights, NamedSharding(mesh, PartitionSpec()))
        self._forward = jax.jit(lambda params, ids, valid: bert.apply({"params": params}, ids, valid))
        self._width, self._window, self._shortest = bert.sizes.width, window, shortest

    def __call__(
        self, texts: Sequence[Sequence[int]], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> np.ndarray:
        """Embeddings [N, E] float32; they depend neither on what else is embedded nor on padding.

        Args:
            texts: the tokens of N texts.
            progress: called with the number of texts done and the number in all.
        """
        out = np.zeros((len(texts), self._width), np.float32)
        buckets: dict[int, list[int]] = {}
        for n, ids in enumerate(texts):
            buckets.setdefault(max(self._shortest, 1 << (len(ids) - 1).bit_length()), []).append(n)
        done = 0
        for length, rows in sorted(buckets.items()):
            length = min(length, self._window)
            size = min(max(BATCH_TOKENS // length, 1), 1 << (len(rows) - 1).bit_length())
            size = -(-size // self._devices) * self._devices
            for start in range(0, len(rows), size):
                part = rows[start : start + size]
                batch = jax.device_put(_padded([texts[n] for n in part], size, length), self._split)
                out[part] = jax.device_get(self._forward(self._params, *batch))[: len(part)]
                done += len(part)
                progress(done, len(texts))
        return out


class BertEncoder:
    """Pooled hidden states of texts in lower case, in batches of similar length, split over this host's devices.

    Attributes:
        name: as in the config.
        width: E.
        fingerprint: of the checkpoint's files and of everything else that an embedding depends on.
        cut: texts read so far that were longer than the window: their ends were not.
        trainable: whether upper layers learn with the run.
        bert: the module.
        weights: its parameters, on the host.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        pooling: str = "mean",
        window: int = 512,
        trainable_layers: int = 0,
        dropout: float = 0.0,
        dtype=jnp.float32,
        remat: bool = False,
    ):
        """Reads a checkpoint.

        Args:
            name: as in the config.
            folder: with config.json, the weights and the tokenizer's files.
            pooling: see `kmerl_jax.models.bert.Bert`.
            window: most tokens of a text, those that mark its beginning and end included.
            trainable_layers: how many of the last layers learn with the run.
            dropout: of these layers, while they learn.
            dtype: of the matrix products.
            remat: whether these layers compute again what their gradient needs.

        Raises:
            ValueError: the checkpoint, or a window or layers that it does not have, or dropout where nothing learns.
        """
        sizes = checkpoint.read_sizes(folder)
        if not 3 <= window <= sizes.positions:
            raise ValueError(f"text.window={window} is not within 3 to {sizes.positions}, the positions of {name}")
        if not 0 <= trainable_layers <= sizes.depth:
            raise ValueError(f"text.trainable_layers={trainable_layers} is not within 0 to {sizes.depth}: {name}")
        if not 0 <= dropout < 1 or (dropout and not trainable_layers):
            raise ValueError(f"text.dropout={dropout} is not within 0 to 1, or no text.trainable_layers drop anything")
        bert = Bert(sizes, pooling, trainable_layers, dropout, dtype, remat)
        self.bert, self.trainable = bert, trainable_layers > 0
        self.weights = checkpoint.convert(checkpoint.read_weights(folder), bert)
        self._tokenizer = _load_tokenizer(folder, sizes.vocabulary)
        self._window = window
        self._batched = BatchedBert(bert, self.weights, window)
        self.name, self.width, self.cut = name, sizes.width, 0
        self.fingerprint = f"bert-2 {_digest(folder)} {pooling} {window} {jnp.dtype(dtype).name}"

    def embed(
        self, texts: Sequence[str], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> np.ndarray:
        """Embeddings [N, E] float32; they depend neither on what else is embedded nor on padding.

        Args:
            texts: N texts.
            progress: called with the number of texts done and the number in all.
        """
        return self._batched(self._tokenize(texts), progress)

    def tokens(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Tokens [N, L] int32 and which of them are valid [N, L] bool; L fits the longest text."""
        listed = self._tokenize(texts)
        return _padded(listed, len(listed), max(map(len, listed)))

    def trained(self, weights: dict) -> "BertEncoder":
        """The same encoder with the weights that a run arrived at, as NumPy arrays."""
        encoder = copy.copy(self)
        encoder.weights = weights
        encoder._batched = BatchedBert(self.bert, weights, self._window)
        return encoder

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        if len(texts) == 0:
            return []
        # As reports and the names of entities are; a tokenizer may tell capitals apart.
        lower = [text.lower() for text in texts]
        whole = self._tokenizer(lower, add_special_tokens=False, verbose=False)["input_ids"]
        room = self._window - 2
        self.cut += sum(len(ids) > room for ids in whole)
        begin, end = self._tokenizer.cls_token_id, self._tokenizer.sep_token_id
        return [[begin, *ids[:room], end] for ids in whole]


def _padded(texts: Sequence[Sequence[int]], size: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [size, length] int32 and which of them are valid; rows beyond the texts are empty."""
    ids = np.zeros((size, length), np.int32)
    valid = np.zeros((size, length), bool)
    for row, tokens in enumerate(texts):
        ids[row, : len(tokens)], valid[row, : len(tokens)] = tokens, True
    return ids, valid


def _load_tokenizer(folder: Path, vocabulary: int):
    if not any((folder / name).is_file() for name in ("vocab.txt", "tokenizer.json")):
        raise ValueError(f"{folder} has neither vocab.txt nor tokenizer.json, so no tokenizer")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises many kinds, over many lines
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{folder} has a tokenizer that cannot be read: {reason}") from error
    if tokenizer.cls_token_id is None or tokenizer.sep_token_id is None:
        raise ValueError(f"the tokenizer in {folder} has no [CLS] or no [SEP]: not that of a BERT")
    if len(tokenizer) > vocabulary:
        raise ValueError(f"the tokenizer in {folder} knows {len(tokenizer):,} tokens, the weights {vocabulary:,}")
    return tokenizer


def _digest(folder: Path) -> str:
    """Of every file that an embedding depends on."""
    digest = hashlib.sha256()
    for name in checkpoint.FILES:
        if (folder / name).is_file():
            digest.update(name.encode())
            with open(folder / name, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:32]
