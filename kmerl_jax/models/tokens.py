"""The bag of lead tokens: cutting windows into tokens and normalising them.

A token is 100 consecutive samples of one lead, tagged with its lead and its segment (paper, Eq. 1). Missing leads and
missing time are tokens that are not there: shapes are static, and `valid` says which places of the bag are filled.
"""

from collections.abc import Sequence

import flax.struct
import jax
import jax.numpy as jnp

from kmerl_jax.signals.leads import LIMB, STANDARD, limb_from_pair
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
        signal: [B, 12, 5000], microvolts.
        lead: [B, T] int32.
        segment: [B, T] int32.
        valid: [B, T] bool.

    Returns:
        Tokens in millivolts.
    """
    segments = signal.reshape(signal.shape[0], len(STANDARD), SEGMENTS, SEGMENT)
    # Batched: an index of rows would be another axis to gather from, and tokens would move between devices.
    values = jax.vmap(lambda x, lead, segment: x[lead, segment])(segments, lead, segment).astype(jnp.float32) / 1000
    return Tokens(jnp.where(valid[..., None], values, 0.0), lead, segment, valid)


def all_tokens(
    signal: jax.Array,
    presence: jax.Array,
    segments: jax.Array,
    leads: Sequence[int],
    derive: bool = False,
    samples: int | None = None,
) -> Tokens:
    """Every recorded token of the chosen leads: what a model sees when it is used.

    Args:
        signal: [B, 12, 5000] int16, microvolts.
        presence: [B, 12] bool.
        segments: [B] int32, number of recorded segments.
        leads: indices of the leads that may be seen; the others influence nothing.
        derive: computes the limb leads that are not shown, of ECGs that show two of them.
        samples: what comes later is set to zero, and all windows count as full (MERL's way with CPSC2018); None: no.

    Returns:
        Tokens with T = 50 times the leads that are shown or can be derived.
    """
    batch = signal.shape[0]
    if samples is not None:
        signal = jnp.where((jnp.arange(signal.shape[-1]) < samples)[None, None], signal, 0)
        segments = jnp.full_like(segments, SEGMENTS)
    if derive and sum(lead < len(LIMB) for lead in leads) >= 2:
        shown = presence & jnp.isin(jnp.arange(len(STANDARD)), jnp.asarray(leads))[None]
        signal, presence = _with_limb_leads(signal, shown)
        leads = sorted({*leads, *range(len(LIMB))})
    shape = (batch, len(leads), SEGMENTS)
    lead = jnp.broadcast_to(jnp.asarray(leads, jnp.int32)[None, :, None], shape)
    segment = jnp.broadcast_to(jnp.arange(SEGMENTS, dtype=jnp.int32)[None, None, :], shape)
    valid = presence[:, jnp.asarray(leads)][:, :, None] & (segment < segments[:, None, None])
    return cut(signal, lead.reshape(batch, -1), segment.reshape(batch, -1), valid.reshape(batch, -1))


def _with_limb_leads(signal: jax.Array, shown: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Computes the limb leads that are not shown from the first two that are."""
    limb = shown[:, : len(LIMB)]
    first = jnp.argmax(limb, axis=1)
    second = jnp.argmax(limb & (jnp.arange(len(LIMB))[None] != first[:, None]), axis=1)
    pair = jnp.take_along_axis(signal, jnp.stack([first, second], 1)[:, :, None], axis=1).astype(jnp.float32)
    weights = jnp.asarray(limb_from_pair(), jnp.float32)[first, second]
    derived = jnp.einsum("blp,bps->bls", weights, pair, precision="highest")
    both = limb.sum(1) >= 2
    recorded = signal[:, : len(LIMB)].astype(jnp.float32)
    limbs = jnp.where((both[:, None] & ~limb)[:, :, None], derived, recorded)
    signal = jnp.concatenate([limbs, signal[:, len(LIMB) :].astype(jnp.float32)], axis=1)
    return signal, shown.at[:, : len(LIMB)].set(limb | both[:, None])


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
