"""A text encoder that needs no weights: hashed word and character n-grams, projected at random to 768 numbers.

It knows spelling and no meaning: "RBBB" and "right bundle branch block" are strangers to it. It is there so that
everything runs without a download, not to replace a language model.
"""

from collections.abc import Callable, Sequence

import numpy as np
import scipy.sparse
from sklearn.feature_extraction.text import HashingVectorizer

_FEATURES = 2**14


class LexicalEncoder:
    """Words, pairs of words, and characters by 3 to 5 within words, hashed, normalised and projected."""

    name = "lexical"
    width = 768
    fingerprint = "lexical-1"
    cut = 0
    trainable = False

    def __init__(self):
        hashed = {"n_features": _FEATURES, "norm": "l2"}
        self._words = HashingVectorizer(ngram_range=(1, 2), token_pattern=r"[^\s.,;:()]+", **hashed)
        self._characters = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), **hashed)
        rng = np.random.default_rng(0)
        # A random projection keeps angles (Johnson-Lindenstrauss); rows of unit expected length keep the scale.
        self._projection = rng.standard_normal((2 * _FEATURES, self.width), np.float32) / np.float32(self.width**0.5)

    def embed(
        self, texts: Sequence[str], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> np.ndarray:
        """Embeddings [N, 768] float32 of unit length, up to the projection's error; too fast to show progress."""
        if len(texts) == 0:
            return np.zeros((0, self.width), np.float32)
        counts = scipy.sparse.hstack([self._words.transform(texts), self._characters.transform(texts)], format="csr")
        return np.asarray((counts.astype(np.float32) @ self._projection) / 2**0.5, np.float32)
