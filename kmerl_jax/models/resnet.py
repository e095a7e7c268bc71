"""ResNets over time, all leads being channels: MERL's encoders, as in its public code (arXiv 2403.06659)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from kmerl_jax.models.batch_norm import BatchNorm
from kmerl_jax.models.tokens import Tokens, grid
from kmerl_jax.models.transformer import Dtype

DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
"""Blocks of each stage."""
BOTTLENECKS = ("resnet50", "resnet101")
WIDTHS = (64, 128, 256, 512)
"""Channels of each stage."""
STEM = 7
"""Samples that the first convolution sees."""
EXPANSION = 4  # of a bottleneck's last convolution


def width(name: str) -> int:
    """C, channels of what a ResNet gives."""
    return WIDTHS[-1] * (EXPANSION if name in BOTTLENECKS else 1)


class Convolution(nn.Module):
    """A convolution over time without bias, padded to keep the length, then batch normalisation.

    Attributes:
        channels: of the result.
        kernel: length, in samples.
        stride: in samples.
        dtype: of the convolution.
    """

    channels: int
    kernel: int
    stride: int = 1
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, S, C] to [B, S / stride, channels]."""
        shape = (self.kernel,), (self.stride,), self.kernel // 2
        x = nn.Conv(self.channels, *shape, use_bias=False, dtype=self.dtype, name="convolution")(x)
        return BatchNorm(self.dtype, name="norm")(x)


class Block(nn.Module):
    """A residual block (He et al. 2016): two convolutions of 3, or a bottleneck of 1, 3 and 1.

    Attributes:
        channels: inside the block.
        stride: of its first convolution of 3.
        bottleneck: whether it is one; then four times as many channels come out.
        dtype: of the convolutions.
    """

    channels: int
    stride: int
    bottleneck: bool
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, S, C] to [B, S / stride, C']."""
        out = self.channels * (EXPANSION if self.bottleneck else 1)
        if self.bottleneck:
            layers = [(self.channels, 1, 1), (self.channels, 3, self.stride), (out, 1, 1)]
        else:
            layers = [(self.channels, 3, self.stride), (out, 3, 1)]
        y = x
        for n, layer in enumerate(layers, 1):
            y = Convolution(*layer, self.dtype, name=f"layer{n}")(nn.relu(y) if n > 1 else y)
        if self.stride != 1 or x.shape[-1] != out:
            x = Convolution(out, 1, self.stride, self.dtype, name="shortcut")(x)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """An ECG to features over time.

    Attributes:
        size: which of `DEPTHS`.
        dtype: of the convolutions.
        remat: whether the backward pass computes each block again from its input.
    """

    size: str
    dtype: Dtype = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(self, tokens: Tokens) -> jax.Array:
        """Tokens, placed in a window that is zero elsewhere, to [B, 313, C]."""
        window, _ = grid(tokens)
        x = window.reshape(*window.shape[:2], -1).swapaxes(1, 2)
        x = nn.relu(Convolution(WIDTHS[0], STEM, 2, self.dtype, name="stem")(x))
        residual = nn.remat(Block) if self.remat else Block
        for stage, (channels, blocks) in enumerate(zip(WIDTHS, DEPTHS[self.size], strict=True), 1):
            for block in range(blocks):
                stride = 2 if stage > 1 and not block else 1
                settings = channels, stride, self.size in BOTTLENECKS, self.dtype
                x = residual(*settings, name=f"stage{stage}_block{block}")(x)
        return x

    def pooled(self, tokens: Tokens) -> jax.Array:
        """Tokens to the mean of their features, [B, C] float32: what a linear probe sees."""
        return self.mean(self(tokens))

    def mean(self, features: jax.Array) -> jax.Array:
        """Features [B, S, C] over time to [B, C] float32."""
        return features.astype(jnp.float32).mean(1)
