"""K-MERL: the ECG encoder, the two projectors and the query network (paper, figure 1b)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from kmerl_jax.models.encoder import Encoder, mean_pool
from kmerl_jax.models.query_network import QueryNetwork
from kmerl_jax.models.tokens import Tokens
from kmerl_jax.models.transformer import Dtype, layer_norm


class Projector(nn.Module):
    """A two-layer MLP into the space where ECGs and reports are compared.

    LayerNorm where MERL has BatchNorm, so that nothing depends on how a batch is split.

    Attributes:
        width: of the hidden layer and the output.
        dtype: of the matrix products.
    """

    width: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, E] to [B, width] float32."""
        x = nn.Dense(self.width, dtype=self.dtype, name="hidden")(x)
        x = nn.gelu(layer_norm("norm")(x))
        return nn.Dense(self.width, dtype=self.dtype, name="out")(x).astype(jnp.float32)


class KMerl(nn.Module):
    """The whole model, over embeddings of texts that a text encoder made.

    Attributes:
        encoder: the ECG encoder.
        query_network: asks for entities.
        projection: width of the space where ECGs and reports are compared; the paper's d.
    """

    encoder: Encoder
    query_network: QueryNetwork
    projection: int = 256

    def setup(self):
        self.ecg_projector = Projector(self.projection, self.encoder.dtype)
        self.text_projector = Projector(self.projection, self.encoder.dtype)

    def __call__(self, tokens: Tokens, text: jax.Array, queries: jax.Array) -> dict[str, jax.Array]:
        """Everything the training losses need.

        Args:
            tokens: of B ECGs.
            text: [B, E], embeddings of their reports.
            queries: [Q, E], embeddings of the entities' names.

        Returns:
            "ecg" [B, P] and "text" [B, P], projected; "logits" [B, Q].
        """
        features = self.encoder(tokens)
        return {
            "ecg": self.ecg_projector(mean_pool(features, tokens.valid)),
            "text": self.text_projector(text),
            "logits": self.query_network(queries, features, tokens.valid),
        }

    def ask(self, tokens: Tokens, queries: jax.Array) -> jax.Array:
        """Logits [B, Q] of the names whose embeddings [Q, E] are given."""
        return self.query_network(queries, self.encoder(tokens), tokens.valid)

    def pooled(self, tokens: Tokens) -> jax.Array:
        """Mean-pooled encoder features [B, D], before the projector: what a linear probe sees."""
        return mean_pool(self.encoder(tokens), tokens.valid)
