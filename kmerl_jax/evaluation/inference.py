"""Running a model over the entries of a store, with a chosen set of leads, on all devices."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from kmerl_jax.cohorts.store import Store
from kmerl_jax.models import tokens
from kmerl_jax.models.kmerl import KMerl
from kmerl_jax.signals.leads import STANDARD, lead_ids
from kmerl_jax.signals.waveform import SEGMENT
from kmerl_jax.training import sharding


def ask(
    model: KMerl, params: dict, queries: np.ndarray, normalization: str, mesh: Mesh, **over
) -> tuple[np.ndarray, np.ndarray]:
    """Logits of named entities for the entries of a store.

    Args:
        model: the network.
        params: its parameters.
        queries: [C, E], embeddings of the names.
        normalization: of the tokens, as in training.
        mesh: the devices.
        **over: `store`, `rows`, `leads`, `batch_size`, `progress`; see `_over`.

    Returns:
        [N, C] float32, and [N] bool: the ECG had any of the leads.
    """

    def forward(params: dict, bag: tokens.Tokens) -> jax.Array:
        return model.apply({"params": params}, bag, queries, method="ask")

    return _over(forward, params, normalization, mesh, **over)


def pooled(model: KMerl, params: dict, normalization: str, mesh: Mesh, **over) -> tuple[np.ndarray, np.ndarray]:
    """Mean-pooled encoder features of the entries of a store.

    Args:
        model: the network.
        params: its parameters.
        normalization: of the tokens, as in training.
        mesh: the devices.
        **over: `store`, `rows`, `leads`, `batch_size`, `progress`; see `_over`.

    Returns:
        [N, D] float32, and [N] bool: the ECG had any of the leads.
    """

    def forward(params: dict, bag: tokens.Tokens) -> jax.Array:
        return model.apply({"params": params}, bag, method="pooled")

    return _over(forward, params, normalization, mesh, **over)


def random_encoder(model: KMerl, seed: int) -> dict:
    """Parameters of an encoder that has learnt nothing, for `pooled`."""
    ids = jnp.zeros((1, 1), jnp.int32)
    bag = tokens.Tokens(jnp.zeros((1, 1, SEGMENT)), ids, ids, jnp.ones((1, 1), bool))
    return jax.jit(lambda key: model.init(key, bag, method="pooled")["params"])(jax.random.key(seed))


def _over(
    forward: Callable[[dict, tokens.Tokens], jax.Array],
    params: dict,
    normalization: str,
    mesh: Mesh,
    *,
    store: Store,
    rows: np.ndarray,
    leads: Sequence[str],
    batch_size: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Applies a function of tokens to entries, batch by batch; what it gives does not depend on the batch size.

    Args:
        forward: of parameters and a batch's tokens to [B, ...].
        params: the parameters.
        normalization: of the tokens.
        mesh: the devices.
        store: where the entries are.
        rows: [N] which entries.
        leads: the leads that may be seen; the others influence nothing.
        batch_size: ECGs of 12 leads at a time, or more of fewer leads, rounded up to a multiple of the devices.
        progress: called with the number of ECGs done and the number in all.
    """
    ids = lead_ids(leads)
    batch_size = -(-batch_size * len(STANDARD) // (len(ids) * mesh.size)) * mesh.size

    @jax.jit
    def run(params, signal, presence, segments):
        bag = tokens.all_tokens(signal, presence, segments, ids)
        return forward(params, tokens.normalize(bag, normalization)), bag.valid.any(1)

    values, seen = [], []
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        # The last batch is filled up by repetition: one shape, one compilation.
        filled = np.resize(part, batch_size)
        windows = [store[int(row)] for row in filled]
        batch = {
            "signal": np.stack([window.signal for window in windows]),
            "presence": np.stack([window.presence for window in windows]),
            "segments": np.array([window.segments for window in windows], np.int32),
        }
        value, any_token = jax.device_get(run(params, **sharding.to_device(batch, mesh)))
        values.append(value[: len(part)])
        seen.append(any_token[: len(part)])
        progress(start + len(part), len(rows))
    return np.concatenate(values), np.concatenate(seen)
