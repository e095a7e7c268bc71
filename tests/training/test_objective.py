import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmerl_jax.models import masking, tokens
from kmerl_jax.training import losses
from kmerl_jax.training.methods import build_objective
from kmerl_jax.training.texts import FrozenTexts


@pytest.mark.parametrize("shards", [1, 4])
def test_parts_give_the_loss_of_the_whole_batch(small_config, shards):
    """Sorting and cutting a batch saves tokens and changes nothing."""
    rng = np.random.default_rng(0)
    size, queries = 24, rng.normal(size=(5, 12)).astype(np.float32)
    presence = rng.random((size, 12)) < 0.5
    presence[:, 0] = True
    batch = {
        "index": np.arange(17, 17 + size, dtype=np.uint32),
        "signal": rng.integers(-900, 900, (size, 12, 5000)).astype(np.int16),
        "presence": presence,
        "segments": rng.integers(1, 51, size).astype(np.int32),
        "text": rng.normal(size=(size, 12)).astype(np.float32),
        "text_id": rng.integers(9, size=size).astype(np.int32),
        "labels": rng.integers(-1, 2, (size, 5)).astype(np.int8),
    }
    batch, key = jax.tree.map(jnp.asarray, batch), jax.random.key(3)
    objective = build_objective(small_config, FrozenTexts(queries), shards)
    params = jax.jit(objective.init)(key, batch)
    outputs = jax.jit(objective.outputs, static_argnums=3)(params, batch, key, True)
    loss, metrics = objective.combine(outputs, batch)

    places = masking.draw(
        jax.random.split(key)[0], batch["index"], batch["presence"], batch["segments"], objective.masking
    )
    bag = tokens.normalize(tokens.cut(batch["signal"], *places), "mv")
    out = objective.model.apply({"params": params}, bag, batch["text"], queries)
    contrast = losses.contrast(out["ecg"], out["text"], batch["text_id"])
    entities = losses.entity_presence(out["logits"], batch["labels"])
    shown = masking.checksum(batch["index"], *places)
    np.testing.assert_array_equal(outputs.pop("masks"), shown)
    assert int(metrics["masks"]) == int(np.asarray(shown, np.int64).sum()) % 2**32
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), outputs, out)  # in the batch's order
    np.testing.assert_allclose(metrics["loss_contrast"], contrast, rtol=1e-5)
    np.testing.assert_allclose(metrics["loss_entities"], entities, rtol=1e-5)
    np.testing.assert_allclose(loss, contrast + small_config.loss.entities * entities, rtol=1e-5)


@functools.cache
def compiled_counts(rules):
    return jax.jit(lambda index: masking.visible_counts(jax.random.key(0), index, rules))


def visible_counts(rules, start):
    """Of 70 records, so that each of the rules is compiled once."""
    return np.asarray(compiled_counts(rules)(jnp.arange(start, start + 70, dtype=jnp.uint32)))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 70), st.integers(0, 10**6))
def test_no_record_outgrows_its_slice(low, high, records, start):
    rules = masking.Masking(min(low, high), max(low, high), 12)
    groups = rules.groups(records)
    assert [group[0] for group in groups] == [0, *[group[1] for group in groups[:-1]]]
    assert groups[-1][1] == records
    counts = np.sort(visible_counts(rules, start)[:records])[::-1]
    for first, stop, leads in groups:
        assert (counts[first:stop] <= leads).all()


def test_a_third_of_the_tokens_is_saved():
    rules = masking.Masking()
    spent = sum((stop - start) * leads for start, stop, leads in rules.groups(32))
    assert spent / (32 * 3) < 0.7
    assert sum((stop - start) * leads for start, stop, leads in rules.groups(4095)) / (4095 * 3) < 0.668
