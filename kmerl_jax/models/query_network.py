"""The cardiac query network: asks of an ECG's features whether each named entity is present (paper, section 2.5)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from kmerl_jax.models.transformer import Attention, Dtype, Mlp, layer_norm, through_layers


class QueryLayer(nn.Module):
    """Queries look at each other (an option), then at the ECG's tokens, then an MLP.

    Attributes:
        heads: attention heads.
        mlp_ratio: hidden width of the MLP over the width.
        self_attention: whether queries attend to each other. Then an answer depends on what else is asked.
        head_width: see `Attention`.
        dtype: of the matrix products.
    """

    heads: int
    mlp_ratio: int
    self_attention: bool
    head_width: int = 0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, features: jax.Array, valid: jax.Array) -> tuple[jax.Array, None]:
        """Queries to queries; the None is what `nn.scan` stacks.

        Args:
            x: [B, Q, D], or [1, Q, D] if all ECGs are asked the same.
            features: [B, T, M].
            valid: [B, T] bool.
        """
        if self.self_attention:
            y = layer_norm("self_attention_norm")(x).astype(self.dtype)
            x = x + Attention(self.heads, self.dtype, self.head_width, name="self_attention")(y, y, None)
        y = layer_norm("cross_attention_norm")(x).astype(self.dtype)
        attention = Attention(self.heads, self.dtype, self.head_width, name="cross_attention")
        x = x + attention(y, features.astype(self.dtype), valid)
        y = layer_norm("mlp_norm")(x).astype(self.dtype)
        return x + Mlp(self.mlp_ratio, self.dtype, name="mlp")(y), None


class QueryNetwork(nn.Module):
    """Transformer decoder layers and one linear classifier shared by all queries.

    Attributes:
        width: of the queries.
        depth: number of layers; the paper has 4.
        heads: attention heads of a layer; the paper has 4.
        mlp_ratio: hidden width of the MLPs over `width`.
        self_attention: whether queries attend to each other.
        head_width: see `Attention`.
        dtype: of the matrix products.
        remat: see `through_layers`.
    """

    width: int = 256
    depth: int = 4
    heads: int = 4
    mlp_ratio: int = 4
    self_attention: bool = False
    head_width: int = 0
    dtype: Dtype = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(self, queries: jax.Array, features: jax.Array, valid: jax.Array) -> jax.Array:
        """Args:
            queries: [Q, E], embeddings of the names asked for.
            features: [B, T, M], of the encoder.
            valid: [B, T] bool.

        Returns:
            Logits [B, Q] float32.
        """
        x = nn.Dense(self.width, dtype=self.dtype, name="projection")(queries)[None]
        # Embeddings of unit length are 30 times smaller than what the first layer adds, which is the same for all
        # names: without a norm, what is asked is all but lost.
        x = layer_norm("projection_norm")(x)
        settings = self.heads, self.mlp_ratio, self.self_attention, self.head_width, self.dtype
        # Up to the first attention to an ECG all is the same for all of them, and computed once.
        x = through_layers(self, QueryLayer, settings, x, features, valid)
        return nn.Dense(1, name="classifier")(layer_norm("norm")(x))[..., 0]
