"""Which tokens a training step sees: dynamic lead masking and lead-independent segment masking (paper, section 2.3).

Everything random about a record is drawn from the run's key and the record's place in the stream, before any sharding:
the masks are the same on any number of devices, processes and workers.
"""

import dataclasses

import jax
import jax.numpy as jnp

from kmerl_jax.models.tokens import recorded
from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.signals.waveform import SAMPLES, SEGMENT, SEGMENTS


@dataclasses.dataclass(frozen=True)
class Masking:
    """How much a training step sees.

    Attributes:
        min_leads: the fewest visible leads.
        max_leads: the most visible leads. The paper masks 9, 10 or 11 of 12: 1 to 3 are visible.
        masked_segments: segments of 50 that are masked in each visible lead; of a shorter record, or with tokens of
            another length, the same share.
        shared: whether all visible leads mask the same segments (the ablation "without lead-independent segment
            masking", table 2c).
        length: of a token, in samples.
    """

    min_leads: int = 1
    max_leads: int = 3
    masked_segments: int = 12
    shared: bool = False
    length: int = SEGMENT

    def __post_init__(self):
        if not 1 <= self.min_leads <= self.max_leads <= len(STANDARD):
            raise ValueError(
                f"masking.min_leads={self.min_leads} to masking.max_leads={self.max_leads} visible leads: the range "
                "must lie within 1 to 12"
            )
        if not 0 <= self.masked_segments < SEGMENTS:
            raise ValueError(
                f"masking.masked_segments={self.masked_segments} is not from 0 to {SEGMENTS - 1}: of {SEGMENTS} at "
                "least one must stay"
            )

    @property
    def tokens(self) -> int:
        """T, the token budget."""
        return self.max_leads * self.kept

    @property
    def segments(self) -> int:
        """How many tokens a lead of 10 s has."""
        return SAMPLES // self.length

    @property
    def kept(self) -> int:
        """How many of them stay."""
        return self.segments - round(self.segments * self.masked_segments / SEGMENTS)

    def groups(self, records: int) -> list[tuple[int, int, int]]:
        """Slices of consecutive records, sorted by visible leads (most first), that need no place for hidden leads.

        Counts are dealt, so whatever the first record's place in the stream, the n-th of the sorted records never
        shows more leads than its slice says.

        Args:
            records: how many consecutive records.

        Returns:
            (start, stop, leads) of each slice.
        """
        kinds = self.max_leads - self.min_leads + 1

        def most(leads: int) -> int:
            """The most of the records that can be dealt so many leads or more."""
            share = self.max_leads - leads + 1
            firsts = [min(kinds - offset, records) for offset in range(kinds)]
            rests = [records - first for first in firsts]
            return max(
                min(first, share) + rest // kinds * share + min(rest % kinds, share)
                for first, rest in zip(firsts, rests, strict=True)
            )

        leads = range(self.max_leads, self.min_leads - 1, -1)
        stops = [most(n) for n in leads]
        slices = zip([0, *stops[:-1]], stops, leads, strict=True)
        return [(start, stop, n) for start, stop, n in slices if stop > start]


def visible_counts(key: jax.Array, index: jax.Array, masking: Masking) -> jax.Array:
    """How many leads each record may show, dealt so that every group of consecutive records gets each count once.

    Args:
        key: the run's masking key.
        index: [B] uint32, places in the stream.
        masking: the range of counts.

    Returns:
        [B] int32.
    """
    kinds = masking.max_leads - masking.min_leads + 1

    def count(index: jax.Array) -> jax.Array:
        deal = jax.random.permutation(jax.random.fold_in(key, index // kinds), kinds)
        return masking.min_leads + deal[index % kinds]

    return jax.vmap(count)(index)


def checksum(
    index: jax.Array, lead: jax.Array, segment: jax.Array, valid: jax.Array, segments: int = SEGMENTS
) -> jax.Array:
    """What each record shows, as one number: the sum of the numbers of its tokens.

    Sums over any records, in any order, tell whether two runs have shown the same.

    Args:
        index: [B] uint32, places in the stream.
        lead: [B, T] int32.
        segment: [B, T] int32.
        valid: [B, T] bool; other tokens do not count.
        segments: of a lead of 10 s.

    Returns:
        [B] uint32, modulo 2**32.
    """
    place = jnp.arange(lead.shape[1])[None]
    token = ((place * len(STANDARD) + lead) * segments + segment).astype(jnp.uint32)
    hashes = hashed(hashed(index + jnp.uint32(1))[:, None] ^ token)
    return jnp.where(valid, hashes, 0).sum(1, dtype=jnp.uint32)


def hashed(x: jax.Array) -> jax.Array:
    """The finalizer of MurmurHash3 (Appleby 2011), a permutation of uint32."""
    x = (x ^ x >> 16) * jnp.uint32(0x85EBCA6B)
    x = (x ^ x >> 13) * jnp.uint32(0xC2B2AE35)
    return x ^ x >> 16


def draw(
    key: jax.Array, index: jax.Array, presence: jax.Array, segments: jax.Array, masking: Masking
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Draws the visible leads, uniformly among those present, and in each of them the segments that stay.

    A record with fewer leads than dealt shows all it has. Of n recorded segments, 12/50 are masked (rounded, and never
    all), in each lead equally many, and independently unless they are shared (paper: 25 %, section 2.3).

    Args:
        key: the run's masking key.
        index: [B] uint32, places in the stream.
        presence: [B, 12] bool.
        segments: [B] int32, recorded segments of 100 samples.
        masking: how much is masked.

    Returns:
        lead [B, T] int32, segment [B, T] int32, valid [B, T] bool with T = `masking.tokens`; valid tokens of one lead
        are ordered by time.
    """
    deal_key, mask_key = jax.random.split(key)
    counts = visible_counts(deal_key, index, masking)
    total, kept = masking.segments, masking.kept

    def one(index, presence, segments, dealt):
        lead_key, segment_key = jax.random.split(jax.random.fold_in(mask_key, index))
        # The smallest of independent uniform numbers: a uniform draw without replacement.
        order = jnp.where(presence, jax.random.uniform(lead_key, presence.shape), jnp.inf)
        lead = jnp.argsort(order)[: masking.max_leads]
        lead_valid = jnp.arange(masking.max_leads) < jnp.minimum(dealt, presence.sum())

        count = recorded(segments, masking.length)
        order = jax.random.uniform(segment_key, (1 if masking.shared else masking.max_leads, total))
        order = jnp.broadcast_to(order, (masking.max_leads, total))
        chosen = jnp.argsort(jnp.where(jnp.arange(total) < count, order, jnp.inf), axis=1)[:, :kept]
        masked = jnp.rint(count * (masking.masked_segments / SEGMENTS)).astype(jnp.int32)
        stay = jnp.maximum(count - masked, jnp.minimum(count, 1))
        chosen_valid = jnp.arange(kept) < stay
        segment = jnp.sort(jnp.where(chosen_valid[None], chosen, total), axis=1) % total
        return (
            jnp.repeat(lead, kept).astype(jnp.int32),
            segment.reshape(-1).astype(jnp.int32),
            (lead_valid[:, None] & chosen_valid[None]).reshape(-1),
        )

    return jax.vmap(one)(index, presence, segments, counts)
