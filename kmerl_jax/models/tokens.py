"""The bag of lead tokens: cutting windows into tokens and normalising them.

A token is 100 consecutive samples of one lead, tagged with its lead and its segment (paper, Eq. 1). Missing leads and
missing time are tokens that are not there: shapes are static, and `valid` says which places of the bag are filled.
"""

import dataclasses
from collections.abc import Sequence

import flax.struct
import jax
import jax.numpy as jnp

from kmerl_jax.signals.leads import LIMB, STANDARD, limb_from_pair
from kmerl_jax.signals.waveform import SAMPLES, SEGMENT, SEGMENTS

LENGTHS = (25, 50, 100, 200)
NORMALIZATIONS = ("mv", "zscore", "minmax")
# A QRS complex has a few hundred microvolts of root mean square over a token; dividing by 0.2 mV brings samples near 1.
_MV_UNIT = 0.2


@dataclasses.dataclass(frozen=True)
class Form:
    """How an ECG is put into tokens.

    Attributes:
        normalization: one of `NORMALIZATIONS`.
        length: L, samples of a token, one of `LENGTHS`; the paper's best is 100 (figure 7a).
        joint: whether a token is of all leads at once, the missing ones zero, as MERL's patches are (the ablation
            "without lead-specific tokenization", table 7a).
    """

    normalization: str = "mv"
    length: int = SEGMENT
    joint: bool = False

    def __post_init__(self):
        if self.normalization not in NORMALIZATIONS:
            raise ValueError(f"data.normalization={self.normalization!r} is not one of {', '.join(NORMALIZATIONS)}")
        if self.length not in LENGTHS:
            raise ValueError(f"data.token_length={self.length} is not one of {', '.join(map(str, LENGTHS))} samples")

    @property
    def segments(self) -> int:
        """How many tokens a lead of 10 s has."""
        return SAMPLES // self.length


@flax.struct.dataclass
class Tokens:
    """Tokens of a batch of ECGs.

    Attributes:
        values: [B, T, L] float32, L = 100 samples unless a `Form` says otherwise; zero where not valid.
        lead: [B, T] int32, index in the standard order.
        segment: [B, T] int32, from 0; 50 in 10 s if L is 100.
        valid: [B, T] bool.
    """

    values: jax.Array
    lead: jax.Array
    segment: jax.Array
    valid: jax.Array


def cut(signal: jax.Array, lead: jax.Array, segment: jax.Array, valid: jax.Array, length: int = SEGMENT) -> Tokens:
    """Takes the named tokens out of windows.

    Args:
        signal: [B, 12, 5000], microvolts.
        lead: [B, T] int32.
        segment: [B, T] int32.
        valid: [B, T] bool.
        length: of a token, in samples.

    Returns:
        Tokens in millivolts.
    """
    segments = signal.reshape(signal.shape[0], len(STANDARD), -1, length)
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
    length: int = SEGMENT,
) -> Tokens:
    """Every recorded token of the chosen leads: what a model sees when it is used.

    Args:
        signal: [B, 12, 5000] int16, microvolts.
        presence: [B, 12] bool.
        segments: [B] int32, number of recorded segments.
        leads: indices of the leads that may be seen; the others influence nothing.
        derive: computes the limb leads that are not shown, of ECGs that show two of them.
        samples: what comes later is set to zero, and all windows count as full (MERL's way with CPSC2018); None: no.
        length: of a token, in samples.

    Returns:
        Tokens with T = 5000 / length times the leads that are shown or can be derived.
    """
    batch = signal.shape[0]
    if samples is not None:
        signal = jnp.where((jnp.arange(signal.shape[-1]) < samples)[None, None], signal, 0)
        segments = jnp.full_like(segments, SEGMENTS)
    if derive and sum(lead < len(LIMB) for lead in leads) >= 2:
        shown = presence & jnp.isin(jnp.arange(len(STANDARD)), jnp.asarray(leads))[None]
        signal, presence = _with_limb_leads(signal, shown)
        leads = sorted({*leads, *range(len(LIMB))})
    shape = (batch, len(leads), SAMPLES // length)
    lead = jnp.broadcast_to(jnp.asarray(leads, jnp.int32)[None, :, None], shape)
    segment = jnp.broadcast_to(jnp.arange(shape[2], dtype=jnp.int32)[None, None, :], shape)
    valid = presence[:, jnp.asarray(leads)][:, :, None] & (segment < recorded(segments, length)[:, None, None])
    return cut(signal, lead.reshape(batch, -1), segment.reshape(batch, -1), valid.reshape(batch, -1), length)


def recorded(segments: jax.Array, length: int) -> jax.Array:
    """How many whole tokens of a length were recorded.

    Args:
        segments: recorded segments of 100 samples, as a store counts them.
        length: of a token, in samples.
    """
    return segments * SEGMENT // length


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
        count = jnp.maximum(there.sum(axes, keepdims=True), 1) * x.shape[-1]
        mean = x.sum(axes, keepdims=True) / count
        deviation = jnp.sqrt((jnp.where(there, x - mean, 0.0) ** 2).sum(axes, keepdims=True) / count)
        scaled = (x - mean) / (deviation + 1e-6)
    else:
        low = jnp.where(there, x, jnp.inf).min(axes, keepdims=True)
        high = jnp.where(there, x, -jnp.inf).max(axes, keepdims=True)
        scaled = (x - low) / (high - low + 1e-6)
    return tokens.replace(values=jnp.where(there, scaled, 0.0))


def formed(bag: Tokens, form: Form) -> Tokens:
    """A bag of tokens in millivolts, as a model wants it.

    Args:
        bag: with tokens of `form.length` samples.
        form: what the model wants.
    """
    bag = normalize(bag, form.normalization)
    return _joined(bag) if form.joint else bag


def grid(bag: Tokens) -> tuple[jax.Array, jax.Array]:
    """The tokens where they stand in the window, and zeros where there are none.

    Args:
        bag: no token of it stands in it twice.

    Returns:
        [B, 12, 5000 / L, L] values, and [B, 12, 5000 / L] bool, whether there is a token.
    """
    length = bag.values.shape[-1]

    def one(values, lead, segment, valid):
        # Added: a place of the bag that is not filled may be tagged like one that is.
        empty = jnp.zeros((len(STANDARD), SAMPLES // length, length), values.dtype)
        there = jnp.zeros(empty.shape[:2], bool).at[lead, segment].max(valid)
        return empty.at[lead, segment].add(jnp.where(valid[:, None], values, 0.0)), there

    return jax.vmap(one)(bag.values, bag.lead, bag.segment, bag.valid)


def recut(bag: Tokens, length: int) -> Tokens:
    """The same samples in tokens of another length, of all 12 leads; one counts if all of its samples are there.

    Args:
        bag: of tokens of 100 samples.
        length: in samples, one of `LENGTHS`.
    """
    if length == bag.values.shape[-1]:
        return bag
    values, there = grid(bag)
    batch, leads, segments = len(values), len(STANDARD), SAMPLES // length
    sampled = jnp.repeat(there, SEGMENT, axis=2).reshape(batch, leads, segments, length).all(-1)
    lead, segment = (jnp.broadcast_to(x.reshape(-1), (batch, leads * segments)) for x in jnp.indices((leads, segments)))
    values = values.reshape(batch, leads * segments, length)
    valid = sampled.reshape(batch, -1)
    return Tokens(jnp.where(valid[..., None], values, 0.0), lead, segment, valid)


def _joined(bag: Tokens) -> Tokens:
    """Tokens of all leads at once, [B, 5000 / L, 12 L], there where any lead is; their lead means nothing."""
    values, there = grid(bag)
    batch, _, segments, _ = values.shape
    segment = jnp.broadcast_to(jnp.arange(segments), (batch, segments))
    return Tokens(values.swapaxes(1, 2).reshape(batch, segments, -1), jnp.zeros_like(segment), segment, there.any(1))


def one(form: Form = Form()) -> Tokens:
    """A bag of one ECG with one token, for the shapes of parameters."""
    ids = jnp.zeros((1, 1), jnp.int32)
    return formed(Tokens(jnp.zeros((1, 1, form.length)), ids, ids, jnp.ones((1, 1), bool)), form)
