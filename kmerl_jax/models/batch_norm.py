"""Batch normalisation whose running statistics are parameters.

A training step knows parameters and a loss, and nothing of a model's state. So the running statistics are parameters
too, and follow the batch's by gradient: that of (running - batch)^2 / 2 is running - batch, and a step of gradient
descent at rate 0.1 is the usual running mean of momentum 0.1.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from kmerl_jax.models.transformer import Dtype

STATISTICS = ("mean", "variance")
"""Names of these parameters; no others are called so."""
RATE = 0.1
"""Of the gradient descent that they follow the batch's by."""
_EPSILON = 1e-5
DRIFT = "drift"
"""The collection of what is minimised by that. To ask for it is to normalise by the batch's own statistics."""


class BatchNorm(nn.Module):
    """Normalises each channel over all other axes (Ioffe and Szegedy 2015, arXiv 1502.03167), in float32.

    A batch is the global one: under `jax.jit` a mean over the batch is over all devices.

    Attributes:
        dtype: of the result.
    """

    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, ..., C] to the same."""
        channels, axes = x.shape[-1:], tuple(range(x.ndim - 1))
        mean = self.param("mean", nn.initializers.zeros, channels)
        variance = self.param("variance", nn.initializers.ones, channels)
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        x = x.astype(jnp.float32)
        if self.is_mutable_collection(DRIFT) and not self.is_initializing():
            running, count = (mean, variance), x.size // x.shape[-1]
            mean = x.mean(axes)
            variance = jnp.maximum((x**2).mean(axes) - mean**2, 0.0)
            # What is kept is the unbiased estimate, as in PyTorch.
            batch = jax.lax.stop_gradient((mean, variance * (count / max(count - 1, 1))))
            drift = sum(((a - b) ** 2).sum() / 2 for a, b in zip(running, batch, strict=True))
            self.sow(DRIFT, "drift", drift)
        else:
            mean, variance = jax.lax.stop_gradient((mean, variance))
        factor = scale * jax.lax.rsqrt(variance + _EPSILON)
        shape = [1] * len(axes) + [-1]
        return (x * factor.reshape(shape) + (bias - mean * factor).reshape(shape)).astype(self.dtype)


def apply(model: nn.Module, params: Any, train: bool, *inputs: Any) -> tuple[Any, jax.Array]:
    """What a model says, and by how much its running statistics are off: a number to be given to `follow`.

    Args:
        model: a module.
        params: its parameters.
        train: whether it normalises by the batch's own statistics; else by the running ones, and nothing is off.
        *inputs: of the module.
    """
    out, seen = model.apply({"params": params}, *inputs, mutable=[DRIFT] if train else [])
    return out, sum(jax.tree.leaves(seen), jnp.zeros(()))


def follow(loss: jax.Array, drift: jax.Array) -> jax.Array:
    """The same loss, with a gradient that makes the running statistics follow the batch's."""
    return loss + drift - jax.lax.stop_gradient(drift)
