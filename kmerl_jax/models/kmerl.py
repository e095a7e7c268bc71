"""K-MERL: the ECG encoder, the two projectors and the query network (paper, figure 1b)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from kmerl_jax.models.encoder import Encoder, mean_pool
from kmerl_jax.models.query_network import QueryNetwork
from kmerl_jax.models.tokens import Form, Tokens, one
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

    @property
    def scores(self) -> tuple[str, ...]:
        """How it can be asked by name: the answers of the query network, and cosines; the first is its own way."""
        return ("query", "cosine")

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

    def init_params(self, key: jax.Array, form: Form, text_width: int) -> dict:
        """Parameters, for tokens of a form and embeddings [*, text_width] of texts."""
        text = jnp.zeros((1, text_width))
        return self.init(key, one(form), text, text)["params"]

    def describe(self, tokens: Tokens, queries: jax.Array) -> dict[str, jax.Array]:
        """What can be said of ECGs without their reports.

        Args:
            tokens: of B ECGs.
            queries: [Q, E], embeddings of names.

        Returns:
            "logits" [B, Q], that each of the names holds; "ecg" [B, P], projected, to be compared with projected texts;
            "pooled" [B, D], mean-pooled encoder features before the projector: what a linear probe sees.
        """
        features = self.encoder(tokens)
        pooled = mean_pool(features, tokens.valid)
        return {
            "logits": self.query_network(queries, features, tokens.valid),
            "ecg": self.ecg_projector(pooled),
            "pooled": pooled,
        }

    def embedded(self, tokens: Tokens) -> dict[str, jax.Array]:
        """ "ecg" and "pooled" of `describe`, which ask nothing."""
        pooled = self.pooled(tokens)
        return {"ecg": self.ecg_projector(pooled), "pooled": pooled}

    def pooled(self, tokens: Tokens) -> jax.Array:
        """The encoder's part of `describe` alone: features [B, D]."""
        return self.encoder.pooled(tokens)

    def features(self, tokens: Tokens) -> jax.Array:
        """The encoder's features of each token, [B, T, D]; what stands at a place that is not valid means nothing."""
        return self.encoder(tokens)

    def project_text(self, text: jax.Array) -> jax.Array:
        """Embeddings of texts [B, E] to [B, P], to be compared with projected ECGs."""
        return self.text_projector(text)
