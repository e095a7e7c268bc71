"""A text encoder that remembers: what has been read before needs no encoder, and none is loaded for it."""

import functools
import threading
from collections.abc import Callable, Sequence

import numpy as np

from kmerl_jax.text.encoder import TextEncoder


class KnownTexts:
    """Embeddings of known texts, and an encoder of which nothing is loaded before it is needed.

    Attributes:
        name: of the encoder, as in the config.
        width: E.
    """

    trainable = False

    def __init__(
        self,
        name: str,
        texts: Sequence[str],
        embeddings: np.ndarray,
        load: Callable[[], TextEncoder],
        fingerprint: str | None = None,
    ):
        """Args:
        name: of the encoder.
        texts: N of them.
        embeddings: [N, E].
        load: gives the encoder itself.
        fingerprint: of the encoder that made the embeddings; None if it is not known.
        """
        self.name, self.width = name, embeddings.shape[1]
        self._known = dict(zip(texts, np.asarray(embeddings, np.float32), strict=True))
        self._load, self._made_by, self._lock = load, fingerprint, threading.Lock()

    @functools.cached_property
    def origin(self) -> TextEncoder:
        """The encoder.

        Raises:
            ValueError: it is not there, or it is another than the one that made the embeddings.
        """
        encoder = self._load()
        if self._made_by and _files(encoder.fingerprint) != _files(self._made_by):
            raise ValueError(
                f"the text encoder {self.name} that is here ({encoder.fingerprint}) is another than the one that the "
                f"model was trained with ({self._made_by})"
            )
        return encoder

    @property
    def fingerprint(self) -> str:
        """Of the encoder."""
        return self._made_by or self.origin.fingerprint

    @property
    def cut(self) -> int:
        """As of the encoder."""
        return self.origin.cut if "origin" in self.__dict__ else 0

    def embed(
        self, texts: Sequence[str], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> np.ndarray:
        """Embeddings [N, E] float32; see `TextEncoder`."""
        with self._lock:
            new = [text for text in dict.fromkeys(texts) if text not in self._known]
            if new:
                self._known |= zip(new, self.origin.embed(new, progress), strict=True)
            return np.stack([self._known[text] for text in texts]) if len(texts) else np.zeros((0, self.width), "f4")


def _files(fingerprint: str) -> list[str]:
    """A fingerprint without the precision, its last word of five: that is the machine's choice, not the encoder's."""
    return fingerprint.split(" ")[:4]
