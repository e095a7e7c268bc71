"""The two losses: contrast of ECGs with reports, and presence of each entity."""

import jax
import jax.numpy as jnp

DIRECTIONS = ("symmetric", "e2t")


def unit(x: jax.Array) -> jax.Array:
    """Rows of length one, in float32."""
    x = x.astype(jnp.float32)
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-8)


def contrast(
    ecg: jax.Array,
    text: jax.Array,
    text_id: jax.Array | None,
    temperature: float = 0.07,
    direction: str = "symmetric",
) -> jax.Array:
    """InfoNCE between ECGs and their reports over the global batch (paper, Eq. 4, read as the README's table says).

    Args:
        ecg: [B, P].
        text: [B, P]; row i belongs to ECG i.
        text_id: [B] int32, equal where reports are identical: such pairs are positives of each other and share the
            target evenly. None: only row i is positive of ECG i.
        temperature: tau.
        direction: "symmetric" averages ECG-to-text and text-to-ECG, "e2t" is the first alone.

    Returns:
        Scalar, float32.
    """
    logits = unit(ecg) @ unit(text).T / temperature
    same = jnp.eye(len(ecg)) if text_id is None else (text_id[:, None] == text_id[None, :]).astype(jnp.float32)
    # Identity is symmetric, so one matrix of targets serves both directions.
    target = same / same.sum(1, keepdims=True)
    e2t = -(target * jax.nn.log_softmax(logits, axis=1)).sum(1).mean()
    if direction == "e2t":
        return e2t
    # Not of logits.T: rows lie on their devices, and a transposition would send all B x B of them around.
    return (e2t - (target * jax.nn.log_softmax(logits, axis=0)).sum(0).mean()) / 2


def entity_presence(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Binary cross-entropy averaged over records and entities (paper, Eq. 5).

    Args:
        logits: [B, Q].
        labels: [B, Q] int8: 1 present, 0 absent, -1 not known and left out.

    Returns:
        Scalar, float32.
    """
    logits, known = logits.astype(jnp.float32), labels >= 0
    loss = jnp.logaddexp(0.0, logits) - logits * labels
    return jnp.where(known, loss, 0.0).sum() / jnp.maximum(known.sum(), 1)


def retrieval(ecg: jax.Array, text: jax.Array, text_id: jax.Array) -> jax.Array:
    """Share of ECGs whose most similar report in the batch is their own, or identical to it.

    Args:
        ecg: [B, P].
        text: [B, P].
        text_id: [B] int32, equal where reports are identical.
    """
    nearest = jnp.argmax(unit(ecg) @ unit(text).T, axis=1)
    return (text_id[nearest] == text_id).mean(dtype=jnp.float32)
