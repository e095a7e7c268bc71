"""The ECG encoder: a vision transformer over lead tokens (paper, section 2.2)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from kmerl_jax.models.tokens import Tokens
from kmerl_jax.models.transformer import Attention, Dtype, Mlp, layer_norm, through_layers
from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.signals.waveform import SEGMENTS


def _sinusoids(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Sines and cosines of geometric frequencies (Vaswani et al. 2017, section 3.5): where temporal embeddings begin.

    They are learnt from there on. That near segments begin alike is what a rhythm is read from.
    """
    del key
    segments, width = shape
    frequency = 1.0 / segments ** (jnp.arange(width // 2) / (width // 2))
    angle = jnp.arange(segments)[:, None] * frequency[None]
    return _TEMPORAL_SCALE * jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=1)


# The norms of the layers leave of a voltage only its ratio to the embeddings. A quiet token is projected to a size of
# 0.1: with much less there is nothing to compare a voltage with, with much more what is small (fibrillation) drowns.
# A QRS complex is 20 times larger, and which lead it is in must not drown in it.
_TEMPORAL_SCALE = 0.1
_LEAD_SCALE = 0.5


def _gains(spread: float) -> nn.initializers.Initializer:
    return lambda key, shape: 1.0 + spread * jax.random.normal(key, shape)


class LeadEmbedding(nn.Module):
    """A token's vector: W e + lead + temp, with W shared by all leads (paper, Eqs. 2 and 3).

    With gains, which the paper does not have, it is gain * W e + lead + temp: a downward QRS complex is another vector
    in each lead from the first step on. From a sum alone the layers have to learn that product, and in a short run they
    hardly do.

    Attributes:
        width: D.
        lead_gain: deviation from 1 with which the gains of the leads begin; 0: there are no gains.
        segments: how many tokens a lead of 10 s has.
        lead: whether there is an embedding of the lead, which table 7a of the paper takes away.
        temporal: whether there is an embedding of the segment, likewise.
        dtype: of the projection.
    """

    width: int
    lead_gain: float = 0.0
    segments: int = SEGMENTS
    lead: bool = True
    temporal: bool = True
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, tokens: Tokens) -> jax.Array:
        """Tokens to [B, T, D]."""
        x = nn.Dense(self.width, use_bias=False, dtype=self.dtype, name="projection")(tokens.values)
        tags = []
        if self.lead:
            lead = self.param("lead", nn.initializers.normal(_LEAD_SCALE), (len(STANDARD), self.width))
            tags.append(lead[tokens.lead])
        if self.temporal:
            temporal = self.param("temporal", _sinusoids, (self.segments, self.width))
            tags.append(temporal[tokens.segment])
        if self.lead_gain:
            gain = self.param("gain", _gains(self.lead_gain), (len(STANDARD), self.width))
            x = x * gain[tokens.lead].astype(x.dtype)
        for tag in tags:
            x = x + tag.astype(x.dtype)
        return x


class EncoderLayer(nn.Module):
    """Self-attention among the valid tokens, then an MLP.

    Attributes:
        heads: attention heads.
        mlp_ratio: hidden width of the MLP over the width.
        dtype: of the matrix products.
    """

    heads: int
    mlp_ratio: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array) -> tuple[jax.Array, None]:
        """[B, T, D] and [B, T] bool to [B, T, D]; the None is what `nn.scan` stacks."""
        y = layer_norm("attention_norm")(x).astype(self.dtype)
        x = x + Attention(self.heads, self.dtype, name="attention")(y, y, valid)
        y = layer_norm("mlp_norm")(x).astype(self.dtype)
        return x + Mlp(self.mlp_ratio, self.dtype, name="mlp")(y), None


class Encoder(nn.Module):
    """The bag of tokens to features.

    Attributes:
        embedding: of tokens to vectors of width D.
        depth: number of layers.
        heads: attention heads of a layer.
        mlp_ratio: hidden width of the MLPs over D.
        dtype: of the matrix products; parameters, norms and softmax are float32.
        remat: see `through_layers`.
    """

    embedding: LeadEmbedding
    depth: int
    heads: int
    mlp_ratio: int = 4
    dtype: Dtype = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(self, tokens: Tokens) -> jax.Array:
        """Tokens to features [B, T, D] float32. What stands at a place that is not valid means nothing."""
        x = self.embedding(tokens)
        settings = self.heads, self.mlp_ratio, self.dtype
        x = through_layers(self, EncoderLayer, settings, x, tokens.valid)
        return layer_norm("norm")(x)

    def pooled(self, tokens: Tokens) -> jax.Array:
        """Tokens to the mean of their features, [B, D]."""
        return mean_pool(self(tokens), tokens.valid)


def mean_pool(features: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean over the valid tokens.

    Args:
        features: [B, T, D].
        valid: [B, T] bool.

    Returns:
        [B, D].
    """
    weight = valid[..., None].astype(features.dtype)
    return (features * weight).sum(1) / jnp.maximum(weight.sum(1), 1)
