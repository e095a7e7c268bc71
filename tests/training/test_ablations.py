"""Every ablation is a field of the config: it builds, traces, and changes what it says it changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kmerl_jax.config import base
from kmerl_jax.evaluation import inference
from kmerl_jax.models import masking, tokens
from kmerl_jax.training import sharding
from kmerl_jax.training.methods import build_model, build_objective, check, form
from tests.training.batches import KEY, WIDTH, frozen_texts, random_batch, random_like, small_config

SIZE = 12
JOINT = {"data__tokenization": "joint", "model__lead_embedding": False, "model__lead_gain": 0.0}
BATCH = jax.tree.map(jnp.asarray, random_batch(SIZE, 0))


def traced(**fields):
    """An objective, shapes of its parameters, and shapes of what it says; nothing is compiled."""
    objective = build_objective(small_config(**fields), frozen_texts())
    params = jax.eval_shape(objective.init, KEY, BATCH)
    loss, metrics = jax.eval_shape(lambda p: objective.loss(p, BATCH, KEY, True), params)
    assert loss.shape == ()
    assert metrics["loss_contrast"].shape == ()
    return objective, params


def shapes(params):
    return {jax.tree_util.keystr(path): x.shape for path, x in jax.tree_util.tree_leaves_with_path(params)}


def differing(**fields):
    """Names of parameters that are there, or of that shape, in one of two models alone."""
    ours, theirs = shapes(traced()[1]), shapes(traced(**fields)[1])
    return {name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)}


def loss_of(**fields):
    objective = build_objective(small_config(**fields), frozen_texts())
    params = random_like(jax.eval_shape(objective.init, KEY, BATCH))
    return jax.device_get(jax.jit(lambda p: objective.loss(p, BATCH, KEY, True))(params))


def shown(**fields):
    """Of a batch, [B, T]: lead, segment, whether valid."""
    rules = build_objective(small_config(**fields), frozen_texts()).masking
    whole = jnp.ones((SIZE, 12), bool), jnp.full(SIZE, 50, jnp.int32)
    drawn = jax.jit(masking.draw, static_argnums=4)(KEY, BATCH["index"], *whole, rules)
    return rules, *(np.asarray(x) for x in drawn)


def test_losses():
    """Table 2a: without one loss the sum is the other, weighted."""
    loss, metrics = loss_of(loss__contrast=0.0)
    assert loss == pytest.approx(20 * metrics["loss_entities"], rel=1e-6)
    loss, metrics = loss_of(loss__entities=0.0)
    assert loss == pytest.approx(metrics["loss_contrast"], rel=1e-6)
    one, two = loss_of(loss__direction="symmetric")[1], loss_of(loss__direction="e2t")[1]
    assert one["loss_contrast"] != two["loss_contrast"]
    one, two = loss_of(loss__duplicates=True)[1], loss_of(loss__duplicates=False)[1]
    assert one["loss_contrast"] != two["loss_contrast"]
    assert one["loss_entities"] == two["loss_entities"]


def test_shared_segments():
    """Table 2c: all visible leads of a record show the same segments, and other records others."""
    rules, _, segment, valid = shown(masking__segments="shared", masking__min_leads=2)
    assert rules.shared
    segment, valid = (x.reshape(SIZE, 2, -1) for x in (segment, valid))
    assert valid.all()
    np.testing.assert_array_equal(segment[:, 0], segment[:, 1])
    assert len({tuple(row) for row in segment[:, 0]}) == SIZE
    _, _, apart, _ = shown(masking__min_leads=2)
    assert (apart.reshape(SIZE, 2, -1)[:, 0] != apart.reshape(SIZE, 2, -1)[:, 1]).any(1).all()


@pytest.mark.parametrize(
    ("fields", "leads", "segments"),
    [
        ({"masked_segments": 0}, {1, 2, 3}, 50),
        ({"masked_segments": 25}, {1, 2, 3}, 25),
        ({"masked_segments": 38}, {1, 2, 3}, 12),
        ({"min_leads": 2, "max_leads": 2}, {2}, 38),
        ({"min_leads": 12, "max_leads": 12}, {12}, 38),
        ({"max_leads": 6}, {1, 2, 3, 4, 5, 6}, 38),
    ],
)
def test_how_much_is_masked(fields, leads, segments):
    """Table 2c and figure 7b: none, or another share of the segments; a fixed number of leads, all, or fewer."""
    about = {"min_leads": 1, "max_leads": 3, "masked_segments": 12} | fields
    rules, _, _, valid = shown(**{f"masking__{name}": value for name, value in about.items()})
    per_lead = valid.reshape(SIZE, rules.max_leads, -1).sum(2)
    assert set((per_lead > 0).sum(1)) == leads
    assert set(per_lead[per_lead > 0]) == {segments}


@pytest.mark.parametrize("length", tokens.LENGTHS)
def test_token_length(length):
    """Figure 7a: tokens of that many samples, as many of them as it takes, the same share masked."""
    _, params = traced(data__token_length=length, masking__masked_segments=12)
    assert params["encoder"]["embedding"]["projection"]["kernel"].shape == (length, 16)
    assert params["encoder"]["embedding"]["temporal"].shape == (5000 // length, 16)
    rules, lead, segment, valid = shown(data__token_length=length, masking__masked_segments=12)
    assert rules.kept == 5000 // length - round(5000 // length * 0.24)
    one = valid[0] & (lead[0] == lead[0, 0])
    assert one.sum() == rules.kept
    assert segment.max() < 5000 // length
    bag = tokens.cut(BATCH["signal"], *map(jnp.asarray, (lead, segment, valid)), length)
    start = segment[0, 0] * length
    expected = np.asarray(BATCH["signal"])[0, lead[0, 0], start : start + length] / np.float32(1000)
    np.testing.assert_allclose(bag.values[0, 0], expected, rtol=1e-6)


def test_joint_tokens():
    """Table 7a: a token is of all leads at once, zero where one is hidden."""
    objective, params = traced(**JOINT)
    assert params["encoder"]["embedding"]["projection"]["kernel"].shape == (1200, 16)
    assert set(params["encoder"]["embedding"]) == {"projection", "temporal"}
    bag = tokens.all_tokens(BATCH["signal"], jnp.ones((SIZE, 12), bool), BATCH["segments"], (1, 7))
    joint = tokens.formed(bag, objective.form)
    assert joint.values.shape == (SIZE, 50, 1200)
    np.testing.assert_array_equal(joint.valid, np.arange(50) < np.asarray(BATCH["segments"])[:, None])
    expected = np.zeros((12, 100), np.float32)
    expected[[1, 7]] = np.asarray(BATCH["signal"])[2, [1, 7], 300:400] / 200
    if BATCH["segments"][2] > 3:
        np.testing.assert_allclose(joint.values[2, 3].reshape(12, 100), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("fields", "gone"),
    [
        ({"model__lead_embedding": False}, {"['encoder']['embedding']['lead']"}),
        ({"model__temporal_embedding": False}, {"['encoder']['embedding']['temporal']"}),
        ({"model__lead_gain": 0.0}, {"['encoder']['embedding']['gain']"}),
    ],
)
def test_embeddings(fields, gone):
    assert differing(**fields) == gone


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_query_layers(depth):
    """Table 7d."""
    _, params = traced(model__query_depth=depth)
    assert {x.shape[0] for x in jax.tree.leaves(params["query_network"]["layers"])} == {depth}


@pytest.mark.parametrize("heads", [1, 2, 3, 4, 5])
def test_query_heads(heads):
    """Table 7e: heads of the same width, also where they do not divide that of the queries."""
    _, params = traced(model__query_heads=heads, model__query_head_width=6)
    layer = params["query_network"]["layers"]["cross_attention"]
    assert layer["query"]["kernel"].shape == (1, 16, 6 * heads)
    assert layer["out"]["kernel"].shape == (1, 6 * heads, 16)


def test_query_self_attention():
    changed = differing(model__query_self_attention=True)
    assert changed
    assert all("self_attention" in name for name in changed)


@pytest.mark.parametrize("width", [16, 24, 32])
def test_model_size(width):
    """Figure 9."""
    _, params = traced(model__width=width)
    assert params["encoder"]["norm"]["scale"].shape == (width,)


@pytest.mark.parametrize("method", tokens.NORMALIZATIONS)
def test_normalization(method):
    config = small_config(data__normalization=method)
    assert form(config).normalization == method
    losses = {name: float(loss_of(data__normalization=name)[0]) for name in ("mv", method)}
    assert (losses["mv"] == losses[method]) == (method == "mv")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("data.token_length", 30, "25, 50, 100, 200"),
        ("data.tokenization", "patch", "lead, joint"),
        ("data.tokenization", "joint", "has tokens of no lead"),
        ("model.query_head_width", -64, "model.query_head_width=-64 is not 0 or more"),
        ("model.query_heads", 3, "model.query_head_width=64 gives each head"),
        ("model.projection", 0, "model.projection=0 is not 1 or more"),
        ("model.depth", 0, "model.depth=0 is not 1 or more"),
        ("model.query_depth", -1, "model.query_depth=-1 is not 1 or more"),
        ("masking.segments", "none", "independent, shared"),
        ("model.encoder", "resnet18", "K-MERL's encoder is vit"),
    ],
)
def test_what_cannot_be(field, value, message):
    config = base("x", "demo")
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=message):
        check(config)


@pytest.mark.parametrize("fields", [{"data__token_length": 25}, {"data__token_length": 200}, JOINT, {}])
def test_all_are_used_as_they_are_trained(fields):
    """An evaluation cuts windows, and a prediction cuts bags of 100 samples anew: both into the same tokens."""
    config = small_config(**fields)
    model, how = build_model(config), form(config)
    params = random_like(jax.eval_shape(lambda: model.init_params(KEY, how, WIDTH)))
    names = np.random.default_rng(0).normal(size=(3, WIDTH)).astype(np.float32)
    windows = BATCH["signal"], jnp.ones((SIZE, 12), bool), jnp.full(SIZE, 38, jnp.int32)

    def forward(params, bag):
        return model.apply({"params": params}, bag, names, method="describe")

    run = inference.over_windows(forward, how, sharding.make_mesh(devices=jax.devices()[:1]), ("II", "V2"))
    evaluated = run(params, *windows)
    bag = tokens.recut(tokens.all_tokens(*windows, (1, 7)), how.length)
    predicted = forward(params, tokens.formed(bag, how))
    np.testing.assert_allclose(evaluated["logits"], predicted["logits"], atol=1e-5)
    np.testing.assert_allclose(evaluated["pooled"], predicted["pooled"], atol=1e-5)
