"""Batches of no ECG in particular: the shapes of training, with random numbers in them."""

import jax
import jax.numpy as jnp
import numpy as np

from kmerl_jax.models.bert import Bert
from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.signals.waveform import SAMPLES, SEGMENTS
from kmerl_jax.training import plan
from kmerl_jax.training.texts import FrozenTexts, Texts, TrainedTexts


def texts(config, queries: int) -> Texts:
    """The names of so many entities: as embeddings, or with a BERT that learns, of MedCPT's size."""
    if not config.text.trainable_layers:
        return FrozenTexts(names(config, queries))
    rng = np.random.default_rng(config.seed)
    bert = plan.bert_of(config)
    tokens, valid = random_tokens(rng, queries, plan.NAME_TOKENS)
    return TrainedTexts(bert, random_weights(bert, config.seed), tokens, valid)


def names(config, queries: int) -> np.ndarray:
    """Embeddings [queries, 768] float32."""
    return np.random.default_rng(config.seed).normal(size=(queries, plan.MEDCPT.width)).astype(np.float32)


def random_weights(bert: Bert, seed: int) -> dict:
    """Weights that know nothing, as NumPy arrays."""
    ids = jnp.zeros((1, 4), jnp.int32)
    init = jax.jit(lambda key: bert.init(key, ids, ids == 0)["params"])
    return jax.device_get(init(jax.random.key(seed)))


def random_tokens(rng: np.random.Generator, texts: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [texts, length] int32, and that all of them are valid."""
    return rng.integers(0, plan.MEDCPT.vocabulary, (texts, length), np.int32), np.ones((texts, length), bool)


def signals(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """Whole ECGs: "signal" [count, 12, 5000] int16 µV, "presence" and "segments"."""
    return {
        "signal": rng.normal(0, 200, (count, len(STANDARD), SAMPLES)).astype(np.int16),
        "presence": np.ones((count, len(STANDARD)), bool),
        "segments": np.full(count, SEGMENTS, np.int32),
    }


def batch(config, queries: int) -> dict[str, np.ndarray]:
    """A training batch (see `kmerl_jax.training.stream`) of whole ECGs, this process's block of it."""
    rng = np.random.default_rng([config.seed, jax.process_index()])
    size = config.train.batch_size // jax.process_count()
    places = (jax.process_index() * size + np.arange(size)).astype(np.uint32)
    made = signals(rng, size) | {
        "index": places,
        "first": np.zeros(size, np.uint32),
        "entry": places.astype(np.int32),
        "unreadable": np.full(size, -1, np.int32),
        "stop": np.zeros(size, bool),
        "text_id": places.astype(np.int32),
        "labels": rng.choice(np.array([0, 0, 0, 0, 1, -1], np.int8), (size, queries)),
    }
    if config.text.trainable_layers:
        tokens, valid = random_tokens(rng, size, config.text.window)
        return made | {"text_tokens": tokens, "text_valid": valid}
    return made | {"text": rng.normal(size=(size, plan.MEDCPT.width)).astype(np.float32)}
