"""Random batches, and objectives small enough to be compiled often; they need no store."""

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from kmerl_jax.config import base
from kmerl_jax.models.bert import Bert, BertSizes
from kmerl_jax.training import sharding
from kmerl_jax.training.kmerl import KMerlObjective
from kmerl_jax.training.methods import build_objective
from kmerl_jax.training.texts import FrozenTexts, Params, Texts, TrainedTexts

KEY = jax.random.key(3)
NAMES, WIDTH, LENGTH, WORDS = 5, 12, 6, 50  # queries, width of embeddings, tokens of a text, words of a vocabulary


def random_batch(size: int, first: int = 17) -> dict[str, np.ndarray]:
    """Records with 1 to 12 leads and 1 to 50 segments, from a place in the stream on; a third of the reports repeat."""
    rng = np.random.default_rng(0)
    presence = rng.random((size, 12)) < 0.5
    presence[:, 0] = True
    return {
        "index": np.arange(first, first + size, dtype=np.uint32),
        "first": np.full(size, first, np.uint32),
        "entry": np.arange(size, dtype=np.int32),
        "unreadable": np.full(size, -1, np.int32),
        "stop": np.zeros(size, bool),
        "signal": rng.integers(-900, 900, (size, 12, 5000)).astype(np.int16),
        "presence": presence,
        "segments": rng.integers(1, 51, size).astype(np.int32),
        "text": rng.normal(size=(size, WIDTH)).astype(np.float32),
        "text_tokens": rng.integers(WORDS, size=(size, LENGTH)).astype(np.int32),
        "text_valid": np.arange(LENGTH) < rng.integers(1, LENGTH + 1, (size, 1)),
        "text_id": (np.arange(size) * 2 // 3).astype(np.int32),
        "labels": rng.integers(-1, 2, (size, NAMES)).astype(np.int8),
    }


def frozen_texts() -> FrozenTexts:
    """Random embeddings of the names."""
    return FrozenTexts(np.random.default_rng(1).normal(size=(NAMES, WIDTH)).astype(np.float32))


def trained_texts(remat: bool = False, dropout: float = 0.0, **sizes) -> TrainedTexts:
    """A random BERT of two layers, of which the last learns; `sizes` are those of `BertSizes`."""
    small = {"vocabulary": WORDS, "width": 16, "depth": 2, "heads": 2, "mlp_width": 24, "positions": LENGTH, "types": 1}
    bert = Bert(BertSizes(**small | sizes, activation="gelu", epsilon=1e-6), "mean", 1, dropout, jnp.float32, remat)
    tokens = np.random.default_rng(2).integers(WORDS, size=(NAMES, LENGTH)).astype(np.int32)
    valid = np.ones((NAMES, LENGTH), bool)
    return TrainedTexts(bert, random_like(jax.eval_shape(bert.init, KEY, tokens, valid)["params"]), tokens, valid)


def random_like(shapes) -> Params:
    """Parameters without compiling their initialisers; nothing in them is zero or one."""
    rng = np.random.default_rng(3)
    return jax.tree.map(lambda x: (0.3 * rng.normal(size=x.shape)).astype(x.dtype), shapes)


def small_config(**fields) -> ConfigDict:
    """A model of one layer; `fields` have their dots written as __."""
    config = base("small", "demo")
    config.model.update(width=16, depth=1, heads=2, projection=8, query_width=16, query_depth=1, query_heads=2)
    config.masking.update(max_leads=2, masked_segments=30)
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return config


def small_objective(texts: Texts, shards: int = 1, **fields) -> KMerlObjective:
    """K-MERL's, of `small_config`."""
    return build_objective(small_config(**fields), texts, shards)


def mesh_of(devices: int, fsdp: int = 1) -> jax.sharding.Mesh:
    """Of the first so many devices."""
    return sharding.make_mesh(fsdp, jax.devices()[:devices])
