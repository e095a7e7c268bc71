"""What turns texts into vectors: one interface, several encoders, by name."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from kmerl_jax.text.lexical import LexicalEncoder


class TextEncoder(Protocol):
    """A frozen text encoder.

    Attributes:
        name: as in the config.
        width: E, of an embedding.
        fingerprint: changes whenever the same text would get another embedding; the cache is keyed by it.
    """

    name: str
    width: int
    fingerprint: str

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings [N, E] float32 of N texts."""


def load(name: str) -> TextEncoder:
    """The text encoder that `text.encoder` names.

    Raises:
        ValueError: no such encoder.
    """
    if name == "lexical":
        return LexicalEncoder()
    raise ValueError(f"unknown text encoder {name!r}; text.encoder is lexical")
