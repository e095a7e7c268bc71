"""Embeddings of texts, kept beside the store: every distinct text is embedded once."""

import hashlib
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kmerl_jax.processes import together
from kmerl_jax.text.encoder import TextEncoder

_PART_TEXTS = 16384  # of one file: what a kill can lose


def embed(
    encoder: TextEncoder,
    texts: Sequence[str],
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[np.ndarray, int]:
    """Embeddings of distinct texts, from the cache where it has them.

    The cache is one folder for each fingerprint of an encoder. Files are added to it and never changed, so a kill loses
    what was being embedded and nothing else, and several runs can add at once. Of several processes
    each embeds a share.

    Args:
        encoder: of the texts.
        texts: N distinct texts.
        folder: the store's `text` folder.
        progress: called with the number of new texts done and the number of new texts.

    Returns:
        [N, E] float32, and how many had to be embedded.

    Raises:
        ValueError: the cache is damaged.
    """
    cache = folder / hashlib.sha256(encoder.fingerprint.encode()).hexdigest()[:16]
    known = _read(cache, encoder.width)
    new = [text for text in texts if text not in known]
    count, share = len(new), new[jax.process_index() :: jax.process_count()]
    known |= _embed(encoder, share, cache, progress)
    if jax.process_count() > 1:
        together.everyone(True)  # has written its share
        known |= _read(cache, encoder.width)
        # None are missing, unless the processes have no file system in common.
        known |= _embed(encoder, [text for text in new if text not in known], cache, progress)
    return np.stack([known[text] for text in texts]) if texts else np.zeros((0, encoder.width), np.float32), count


def _embed(
    encoder: TextEncoder, texts: list[str], cache: Path, progress: Callable[[int, int], None]
) -> dict[str, np.ndarray]:
    """Embeds texts and keeps them, part by part."""
    done = {}
    for start in range(0, len(texts), _PART_TEXTS):
        part = texts[start : start + _PART_TEXTS]
        vectors = encoder.embed(part, lambda done, total, start=start: progress(start + done, len(texts)))
        _write(cache, part, vectors)
        done |= zip(part, vectors, strict=True)
    return done


def _read(cache: Path, width: int) -> dict[str, np.ndarray]:
    known = {}
    for path in sorted(cache.glob("*.parquet")):
        try:
            table = pq.read_table(path, columns=["text", "embedding"])
            vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(len(table), width)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise ValueError(f"{path}, embeddings of texts, is damaged ({error}); remove the file") from error
        known |= zip(table["text"].to_pylist(), vectors, strict=True)
    return known


def _write(cache: Path, texts: list[str], vectors: np.ndarray) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    column = pa.FixedSizeListArray.from_arrays(np.ascontiguousarray(vectors, np.float32).reshape(-1), vectors.shape[1])
    name = uuid.uuid4().hex
    unfinished = cache / f"{name}.tmp"
    pq.write_table(pa.table({"text": texts, "embedding": column}), unfinished)
    unfinished.replace(cache / f"{name}.parquet")
