"""The transformer layers that the encoder and the query network are made of, pre-LN, in Linen."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Dtype = Any


class Attention(nn.Module):
    """Multi-head attention of `x` over `memory`.

    Attributes:
        heads: number of heads; they divide the width of `x`.
        dtype: of the matrix products; softmax is in float32.
    """

    heads: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, memory: jax.Array, valid: jax.Array | None) -> jax.Array:
        """Args:
            x: [B, Q, D], or [1, Q, D] for queries that all records share.
            memory: [B, T, M].
            valid: [B, T] bool, or None if all of the memory is.

        Returns:
            [B, Q, D].
        """
        width = x.shape[-1]
        shape = (self.heads, width // self.heads)
        query = nn.DenseGeneral(shape, dtype=self.dtype, name="query")(x)
        key = nn.DenseGeneral(shape, dtype=self.dtype, name="key")(memory)
        value = nn.DenseGeneral(shape, dtype=self.dtype, name="value")(memory)
        # Shared queries are projected once and repeated only here.
        query = jnp.broadcast_to(query, (len(memory), *query.shape[1:]))
        mask = None if valid is None else valid[:, None, None, :]
        mixed = jax.nn.dot_product_attention(query, key, value, mask=mask)
        return nn.DenseGeneral(width, axis=(-2, -1), dtype=self.dtype, name="out")(mixed)


class Mlp(nn.Module):
    """Two dense layers with GELU between.

    Attributes:
        ratio: width of the hidden layer over that of the input.
        dtype: of the matrix products.
    """

    ratio: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., D] to [..., D]."""
        width = x.shape[-1]
        x = nn.gelu(nn.Dense(self.ratio * width, dtype=self.dtype, name="up")(x))
        return nn.Dense(width, dtype=self.dtype, name="down")(x)


def layer_norm(name: str) -> nn.LayerNorm:
    """Layer normalisation in float32, whatever the precision around it."""
    return nn.LayerNorm(epsilon=1e-6, dtype=jnp.float32, name=name)
