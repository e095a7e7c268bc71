"""What turns texts into vectors: one interface, several encoders, by name."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from kmerl_jax.text.lexical import LexicalEncoder


class TextEncoder(Protocol):
    """A text encoder.

    Attributes:
        name: as in the config.
        width: E, of an embedding.
        fingerprint: changes whenever the same text would get another embedding; the cache is keyed by it.
        cut: texts read so far whose ends were not, because they were too long.
        trainable: whether some of it learns with the run; then a run needs tokens rather than embeddings.
    """

    name: str
    width: int
    fingerprint: str
    cut: int
    trainable: bool

    def embed(
        self, texts: Sequence[str], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> np.ndarray:
        """Embeddings [N, E] float32 of N texts; `progress` is called with the texts done and the number in all."""


def load(config, dtype, remat: bool = False) -> TextEncoder:
    """The text encoder that `text.encoder` names: lexical, a folder, or an id on the Hugging Face Hub.

    Args:
        config: the text part of a config.
        dtype: of matrix products.
        remat: whether layers that learn compute again what their gradient needs.

    Raises:
        ValueError: no such encoder, its files are not usable, or it has not as many layers to train.
    """
    if config.encoder == "lexical":
        if config.trainable_layers:
            raise ValueError(
                f"text.trainable_layers={config.trainable_layers}, but the lexical encoder has no layers; "
                "text.encoder names a BERT"
            )
        return LexicalEncoder()
    from kmerl_jax.text import bert, checkpoint  # transformers takes seconds to import

    return bert.BertEncoder(
        config.encoder,
        checkpoint.locate(config.encoder),
        config.pooling,
        config.window,
        config.trainable_layers,
        config.dropout,
        dtype,
        remat,
    )
