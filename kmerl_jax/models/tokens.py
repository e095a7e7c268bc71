"""The bag of lead tokens: cutting windows into tokens and normalising them.

A token is 100 consecutive samples of one lead, tagged with its lead and its segment (paper, Eq. 1). Missing leads and
missing time are tokens that are not there: shapes are static, and `valid` says which places of the bag are filled.
"""

from collections.abc import Sequence

import flax.struct
import jax
import jax.numpy as jnp

from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.signals.waveform import SEGMENT, SEGMENTS

NORMALIZATIONS = ("mv", "zscore", "minmax")
# A QRS complex has a few hundred microvolts of root mean square over a token; dividing by 0.2 mV brings samples near 1.
_MV_UNIT = 0.2


@flax.struct.dataclass
class Tokens:
    """Tokens of a batch of ECGs.

    Attributes:
        values: [B, T, 100] float32; zero where not valid.
        lead: [B, T] int32, index in the standard order.
        segment: [B, T] int32, 0 to 49.
        valid: [B, T] bool.
    """

    values: jax.Array
    lead: jax.Array
    segment: jax.Array
    valid: jax.Array


def cut(signal: jax.Array, lead: jax.Array, segment: jax.Array, valid: jax.Array) -> Tokens:
    """Takes the named tokens out of windows.

    Args:
        signal: [B, 12, 5000] int16, microvolts.
        lead: [B, T] int32.
        segment: [B, T] int32.
        valid: [B, T] bool.

    Returns:
        Tokens in millivolts.
    """
    segments = signal.reshape(len(signal), len(STANDARD), SEGMENTS, SEGMENT)
    rows = jnp.arange(len(signal))[:, None]
    values = segments[rows, lead, segment].astype(jnp.float32) / 1000
    return Tokens(jnp.where(valid[..., None], values, 0.0), lead, segment, valid)


def all_tokens(signal: jax.Array, presence: jax.Array, segments: jax.Array, leads: Sequence[int]) -> Tokens:
    """Every recorded token of the chosen leads: what a model sees when it is used.

    Args:
        signal: [B, 12, 5000] int16, microvolts.
        presence: [B, 12] bool.
        segments: [B] int32, number of recorded segments.
        leads: indices of the leads that may be seen; the others influence nothing.

    Returns:
        Tokens with T = len(leads) * 50.
    """
    batch = len(signal)
    shape = (batch, len(leads), SEGMENTS)
    lead = jnp.broadcast_to(jnp.asarray(leads, jnp.int32)[None, :, None], shape)
    segment = jnp.broadcast_to(jnp.arange(SEGMENTS, dtype=jnp.int32)[None, None, :], shape)
    valid = presence[:, jnp.asarray(leads)][:, :, None] & (segment < segments[:, None, None])
    return cut(signal, lead.reshape(batch, -1), segment.reshape(batch, -1), valid.reshape(batch, -1))


def normalize(tokens: Tokens, method: str) -> Tokens:
    """Scales an ECG's tokens by what is in its own bag, so that what is hidden leaks nothing.

    "mv" divides by a fixed 0.2 mV, which keeps voltage criteria; "zscore" and "minmax" (MERL's) use the mean and
    deviation, or the extremes, of the ECG's valid tokens.
    """
    if method == "mv":
        return tokens.replace(values=tokens.values / _MV_UNIT)
    x, there, axes = tokens.values, tokens.valid[..., None], (1, 2)
    if method == "zscore":
        count = jnp.maximum(there.sum(axes, keepdims=True), 1) * SEGMENT
        mean = x.sum(axes, keepdims=True) / count
        deviation = jnp.sqrt((jnp.where(there, x - mean, 0.0) ** 2).sum(axes, keepdims=True) / count)
        scaled = (x - mean) / (deviation + 1e-6)
    else:
        low = jnp.where(there, x, jnp.inf).min(axes, keepdims=True)
        high = jnp.where(there, x, -jnp.inf).max(axes, keepdims=True)
        scaled = (x - low) / (high - low + 1e-6)
    return tokens.replace(values=jnp.where(there, scaled, 0.0))
