"""The transformer layers that the encoder and the query network are made of, pre-LN, in Linen."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Dtype = Any

# What a layer adds begins a tenth as large as usual: the first steps then shape the tokens' own projections, and a run
# of a few hundred steps learns faster.
SMALL = nn.initializers.variance_scaling(0.01, "fan_in", "truncated_normal")


class Attention(nn.Module):
    """Multi-head attention of `x` over `memory`.

    Its weights [B, heads, Q, T] can be had as the intermediate "weights".

    Attributes:
        heads: number of heads.
        dtype: of the matrix products; softmax is in float32.
        head_width: of each; 0: the width of `x` over the heads, which divide it.
    """

    heads: int
    dtype: Dtype = jnp.float32
    head_width: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, memory: jax.Array, valid: jax.Array | None) -> jax.Array:
        """Args:
            x: [B, Q, D], or [1, Q, D] if all of the batch ask the same.
            memory: [B, T, M].
            valid: [B, T] bool, or None if all of the memory is.

        Returns:
            [B, Q, D].
        """
        width, head = x.shape[-1], self.head_width or x.shape[-1] // self.heads

        def project(name: str, y: jax.Array) -> jax.Array:
            return dense_rows(y, self.heads * head, self.dtype, name).reshape(*y.shape[:2], self.heads, head)

        query = project("query", x) / head**0.5
        key, value = project("key", memory), project("value", memory)
        query = jnp.broadcast_to(query, (key.shape[0], *query.shape[1:]))
        # Written out: jax.nn.dot_product_attention takes up to three times as long on a CPU.
        score = jnp.einsum("bqhk,bthk->bhqt", query, key).astype(jnp.float32)
        if valid is not None:
            score = jnp.where(valid[:, None, None, :], score, jnp.finfo(jnp.float32).min)
        weights = jax.nn.softmax(score)
        self.sow("intermediates", "weights", weights)
        mixed = jnp.einsum("bhqt,bthk->bqhk", weights.astype(self.dtype), value)
        return dense_rows(mixed.reshape(*mixed.shape[:2], -1), width, self.dtype, "out", SMALL)


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
        # Its parts are computed again for the gradient: to keep them is a seventh of the memory of a step.
        x = jax.checkpoint(nn.gelu)(dense_rows(x, self.ratio * width, self.dtype, "up"))
        return dense_rows(x, width, self.dtype, "down", SMALL)


def dense_rows(
    x: jax.Array, width: int, dtype: Dtype, name: str, init: nn.initializers.Initializer = nn.linear.default_kernel_init
) -> jax.Array:
    """A dense layer over the last axis of [B, T, D], as one matrix product of [B T, D].

    The same numbers as nn.Dense on [B, T, D], whose weight gradient contracts two axes, which XLA does on a CPU by
    copying: the gradient of an MLP takes a third longer that way.
    """
    rows = nn.Dense(width, dtype=dtype, kernel_init=init, name=name)(x.reshape(-1, x.shape[-1]))
    return rows.reshape(*x.shape[:-1], width)


def stacked(layer: type[nn.Module], depth: int, inputs: int, remat: bool = False) -> type[nn.Module]:
    """`depth` layers as a loop, their parameters stacked along a leading axis.

    Args:
        layer: a module from (x, *inputs) to (x, None).
        depth: number of layers.
        inputs: how many inputs, beside x, every layer is given alike.
        remat: whether the backward pass computes each layer again from its input, the only thing that is kept of it.
    """
    if remat:
        layer = nn.remat(layer, prevent_cse=False)  # the loop prevents it already
    return nn.scan(
        layer,
        variable_axes={"params": 0},
        split_rngs={"params": True, "dropout": True},
        in_axes=(nn.broadcast,) * inputs,
        length=depth,
    )


def through_layers(
    module: nn.Module, layer: type[nn.Module], settings: tuple, x: jax.Array, *inputs: jax.Array
) -> jax.Array:
    """The layers of a module one after another, written out: a fifth faster on a CPU than a loop, longer to compile.

    With `module.remat` they are a loop: written out, what is computed twice is merged again. The layers' intermediates
    are those of the module, under "layers", unless they are a loop.

    Args:
        module: whose parameters "layers" they have, stacked or apart; with `depth` and `remat`.
        layer: see `stacked`.
        settings: of each layer.
        x: [B, ...], or [1, ...] if it is the same for all of the batch until a layer tells them apart.
        *inputs: what every layer is given alike, [B, ...].
    """
    if module.is_initializing() or module.remat:
        loop = stacked(layer, module.depth, len(inputs), module.remat)(*settings, name="layers")
        return loop(jnp.broadcast_to(x, (len(inputs[0] if inputs else x), *x.shape[1:])), *inputs)[0]
    one = layer(*settings, parent=None)
    for parameters in _of_each(module.variables["params"]["layers"]):
        (x, _), seen = one.apply({"params": parameters}, x, *inputs, mutable=["intermediates"])
        module.sow("intermediates", "layers", seen["intermediates"])
    return x


def apart(parameters: dict) -> dict:
    """The parameters of a model with those of stacked layers in lists, one a layer; for use, not for training.

    A function that is given a stack copies the parameters of every layer out of it each time that it is called: of
    vit_tiny, for one ECG, a fifteenth of its time.
    """
    return {
        name: x if not isinstance(x, dict) else _of_each(x) if name == "layers" else apart(x)
        for name, x in parameters.items()
    }


def _of_each(layers: dict | list[dict]) -> list[dict]:
    if isinstance(layers, list):
        return layers
    depth = len(jax.tree.leaves(layers)[0])
    return [jax.tree.map(lambda x, n=n: x[n], layers) for n in range(depth)]


def layer_norm(name: str, epsilon: float = 1e-6) -> nn.LayerNorm:
    """Layer normalisation in float32, whatever the precision around it."""
    return nn.LayerNorm(epsilon=epsilon, dtype=jnp.float32, name=name)
