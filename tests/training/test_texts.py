"""A BERT that learns inside the step."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kmerl_jax.cohorts.store import Store
from kmerl_jax.text import encoder as encoders
from kmerl_jax.training import loop, pairs, sharding
from kmerl_jax.training.methods import build_objective
from kmerl_jax.training.texts import make_texts
from tests.text.bert_folder import write_bert

NAMES = ["sinus rhythm", "atrial fibrillation with left axis deviation", "normal ecg"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def load(small_config, folder):
    """Loads the encoder of a config with these fields changed."""
    small_config.text.update(encoder=str(folder), window=24)
    small_config.model.depth = small_config.masking.max_leads = 1  # what is compiled here is mostly BERT

    def run(**fields):
        small_config.text.update(fields)
        return encoders.load(small_config.text, jnp.float32)

    return run


@pytest.fixture
def fit(load, small_config, tmp_path):
    """Trains with these text fields; returns the losses, the objective and the final parameters."""

    def run(name, devices=1, steps=3, **fields):
        encoder = load(**fields)
        config = small_config.copy_and_resolve_references()
        config.train.steps = steps
        asked, train, _ = pairs.load(Store(config.data.store), encoder, config)
        objective = build_objective(config, make_texts(encoder, asked.entities))
        mesh = sharding.make_mesh(1, jax.devices()[:devices])
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        state = loop.fit(objective, train, None, config, steps, folder, mesh)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return {line["step"]: line["loss"] for line in lines}, objective, state

    return run


def test_without_dropout_it_embeds_as_the_frozen_encoder_does(load):
    frozen = load().embed(NAMES)
    for pooling, layers in (("mean", 1), ("mean", 2), ("cls", 1), ("pooler", 2)):
        frozen = load(pooling=pooling, trainable_layers=0).embed(NAMES)
        texts = make_texts(load(pooling=pooling, trainable_layers=layers), NAMES)
        np.testing.assert_allclose(texts.queries({"text": texts.weights}, {}, None), frozen, atol=1e-5)
        tokens, valid = load().tokens(NAMES[::-1])
        batch = {"text_tokens": tokens, "text_valid": valid, "index": jnp.arange(3)}
        reports = texts.reports({"text": texts.weights}, batch, None)
        np.testing.assert_allclose(reports, frozen[::-1], atol=1e-5)


def test_dropout_follows_the_place_in_the_stream_alone(load):
    texts = make_texts(load(trainable_layers=1, dropout=0.3), NAMES)
    params, key = {"text": texts.weights}, jax.random.key(5)
    tokens, valid = load(trainable_layers=0, dropout=0.0).tokens(NAMES * 2)
    batch = {"text_tokens": tokens, "text_valid": valid, "index": jnp.array([4, 9, 2, 7, 1, 4], jnp.uint32)}
    batch["first"] = jnp.ones(6, jnp.uint32)
    dropped = texts.reports(params, batch, key)
    half = jax.tree.map(lambda x: x[3:], batch)
    np.testing.assert_allclose(texts.reports(params, half, key), dropped[3:], atol=1e-6)
    whole = texts.reports(params, batch, None)
    assert np.abs(dropped - whole).max() > 0.1
    assert np.abs(dropped[0] - texts.reports(params, {**batch, "index": batch["index"] + 8}, key)[0]).max() > 0.1
    np.testing.assert_array_equal(texts.queries(params, half, key), texts.queries(params, batch, key))
    later = {**batch, "first": batch["first"] + 8}
    assert np.abs(texts.queries(params, batch, key) - texts.queries(params, later, key)).max() > 0.1


def test_upper_layers_learn_and_lower_ones_do_not(fit, load):
    losses, objective, state = fit("a", trainable_layers=1)
    before, after = objective.texts.weights, jax.device_get(state["params"]["text"])
    for group in ("embeddings", "lower"):
        jax.tree.map(np.testing.assert_array_equal, before[group], after[group])
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), before["upper"], after["upper"])
    assert all(step > 0 for step in jax.tree.leaves(moved))
    kept = {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(state["optimizer"])}
    assert any("'upper'" in name for name in kept)
    assert not any("'lower'" in name or "'embeddings'" in name for name in kept)
    # The names are asked with the weights as they are now.
    now = load(trainable_layers=1).trained(after).embed(NAMES)
    assert np.abs(now - load(trainable_layers=0).embed(NAMES)).max() > 1e-4
    frozen, *_ = fit("frozen", trainable_layers=0)
    np.testing.assert_allclose(losses[1], frozen[1], rtol=1e-5)
    assert losses[3] != frozen[3]


def test_any_number_of_devices_and_a_resumed_run_forget_alike(fit):
    whole, _, state = fit("whole", trainable_layers=1, dropout=0.2)
    many, *_ = fit("many", devices=8, trainable_layers=1, dropout=0.2)
    np.testing.assert_allclose(list(many.values()), list(whole.values()), rtol=2e-5)
    resumed = fit("whole", trainable_layers=1, dropout=0.2)
    jax.tree.map(np.testing.assert_array_equal, resumed[2]["params"], state["params"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"trainable_layers": 3}, r"text\.trainable_layers=3 is not within 0 to 2"),
        ({"trainable_layers": -1}, "not within 0 to 2"),
        ({"dropout": 0.1}, r"text\.dropout=0\.1 is not within 0 to 1, or no text\.trainable_layers"),
        ({"trainable_layers": 1, "dropout": 1.0}, r"text\.dropout=1\.0"),
        ({"encoder": "lexical", "trainable_layers": 1}, "the lexical encoder has no layers"),
    ],
)
def test_what_cannot_be_trained(load, fields, message):
    with pytest.raises(ValueError, match=message):
        load(**fields)
