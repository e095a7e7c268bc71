"""A vision transformer over patches of all leads at once: MERL's second kind of encoder (arXiv 2403.06659)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from kmerl_jax.models.tokens import Tokens, grid
from kmerl_jax.models.transformer import SMALL, Attention, Dtype, dense_rows, layer_norm, through_layers
from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.signals.waveform import SAMPLES

PATCH = 50
"""Samples of a patch."""
_EPSILON = 1e-5  # of the published layer norms


class VitLayer(nn.Module):
    """Self-attention among all patches, then an MLP; as `EncoderLayer`, with the published norms and GELU.

    Attributes:
        heads: attention heads.
        mlp_ratio: hidden width of the MLP over the width.
        dtype: of the matrix products.
    """

    heads: int
    mlp_ratio: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, None]:
        """[B, T, D] to [B, T, D]; the None is what `nn.scan` stacks."""
        width = x.shape[-1]
        y = layer_norm("attention_norm", _EPSILON)(x).astype(self.dtype)
        x = x + Attention(self.heads, self.dtype, name="attention")(y, y, None)
        y = layer_norm("mlp_norm", _EPSILON)(x).astype(self.dtype)
        y = nn.gelu(dense_rows(y, self.mlp_ratio * width, self.dtype, "up"), approximate=False)
        return x + dense_rows(y, width, self.dtype, "down", SMALL), None


class Vit(nn.Module):
    """An ECG to one vector.

    Attributes:
        width: D.
        depth: number of layers.
        heads: attention heads of a layer.
        mlp_ratio: hidden width of the MLPs over D.
        dtype: of the matrix products; parameters, norms and softmax are float32.
        remat: see `through_layers`.
    """

    width: int
    depth: int
    heads: int
    mlp_ratio: int = 4
    dtype: Dtype = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(self, tokens: Tokens) -> jax.Array:
        """Tokens, placed in a window that is zero elsewhere, to [B, D] float32."""
        window, _ = grid(tokens)
        patches = window.reshape(len(window), len(STANDARD), -1, PATCH).swapaxes(1, 2)
        patches = patches.reshape(*patches.shape[:2], -1)
        position = self.param("position", nn.initializers.normal(1.0), (SAMPLES // PATCH, self.width))
        x = nn.Dense(self.width, use_bias=False, dtype=self.dtype, name="projection")(patches)
        x = through_layers(self, VitLayer, (self.heads, self.mlp_ratio, self.dtype), x + position[None].astype(x.dtype))
        return layer_norm("norm", _EPSILON)(x.mean(1))

    def pooled(self, tokens: Tokens) -> jax.Array:
        """Tokens to [B, D] float32: what a linear probe sees."""
        return self(tokens)

    def mean(self, features: jax.Array) -> jax.Array:
        """Features [B, D] as they are: the mean over patches is in them."""
        return features
