"""A linear layer on the pooled features of an ECG encoder, for training on labels."""

import flax.linen as nn
import jax

from kmerl_jax.models.tokens import Tokens


class Classifier(nn.Module):
    """The encoder with a head.

    Attributes:
        encoder: an ECG encoder that has `pooled`.
        classes: C.
    """

    encoder: nn.Module
    classes: int

    @nn.compact
    def __call__(self, tokens: Tokens) -> jax.Array:
        """Logits [B, C] float32."""
        return nn.Dense(self.classes, name="head")(self.encoder.pooled(tokens))
