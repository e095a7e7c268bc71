"""Embeddings of texts, kept beside the store: every distinct text is embedded once."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kmerl_jax.text.encoder import TextEncoder


def embed(encoder: TextEncoder, texts: Sequence[str], folder: Path) -> tuple[np.ndarray, int]:
    """Embeddings of distinct texts, from the cache where it has them.

    The cache is one folder for each fingerprint of an encoder: `texts.json` and `embeddings.npy`, row by row.

    Args:
        encoder: of the texts.
        texts: N distinct texts.
        folder: the store's `text` folder.

    Returns:
        [N, E] float32, and how many had to be embedded.

    Raises:
        ValueError: the cache is damaged.
    """
    cache = folder / hashlib.sha256(encoder.fingerprint.encode()).hexdigest()[:16]
    known, embeddings = _read(cache, encoder.width)
    row = {text: n for n, text in enumerate(known)}
    new = [text for text in texts if text not in row]
    if new:
        embeddings = np.concatenate([embeddings, encoder.embed(new)])
        known = [*known, *new]
        row = {text: n for n, text in enumerate(known)}
        _write(cache, known, embeddings)
    return embeddings[[row[text] for text in texts]], len(new)


def _read(cache: Path, width: int) -> tuple[list[str], np.ndarray]:
    if not (cache / "texts.json").exists():
        return [], np.zeros((0, width), np.float32)
    try:
        texts = json.loads((cache / "texts.json").read_text())
        embeddings = np.load(cache / "embeddings.npy", allow_pickle=False)[: len(texts)]
        if embeddings.shape != (len(texts), width):
            raise ValueError(f"{len(texts)} texts, embeddings of shape {embeddings.shape}")
    except (OSError, ValueError) as error:
        raise ValueError(f"the cache of text embeddings in {cache} is damaged ({error}); remove the folder") from error
    return texts, embeddings


def _write(cache: Path, texts: list[str], embeddings: np.ndarray) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "embeddings.tmp", "wb") as file:
        np.save(file, embeddings)
    (cache / "texts.tmp").write_text(json.dumps(texts))
    # Embeddings first, and only as many rows are read as there are texts: a kill between the two loses nothing.
    (cache / "embeddings.tmp").replace(cache / "embeddings.npy")
    (cache / "texts.tmp").replace(cache / "texts.json")
