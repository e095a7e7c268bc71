import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kmerl_jax.models import tokens
from kmerl_jax.models.encoder import Encoder, LeadEmbedding, mean_pool
from kmerl_jax.models.kmerl import KMerl
from kmerl_jax.models.query_network import QueryNetwork

RNG = np.random.default_rng(0)
MODEL = KMerl(
    Encoder(LeadEmbedding(32, lead_gain=0.5), depth=2, heads=2), QueryNetwork(width=16, depth=2, heads=2), projection=8
)
TEXT, QUERIES = RNG.normal(size=(3, 24)).astype(np.float32), RNG.normal(size=(5, 24)).astype(np.float32)


def bag(leads=(0, 1, 6), presence=None, signal=None):
    signal = RNG.normal(0, 300, (3, 12, 5000)).astype(np.int16) if signal is None else signal
    presence = np.ones((3, 12), bool) if presence is None else presence
    segments = jnp.array([50, 20, 7], jnp.int32)
    return tokens.normalize(tokens.all_tokens(jnp.asarray(signal), jnp.asarray(presence), segments, leads), "mv")


@pytest.fixture(scope="module")
def params():
    return MODEL.init(jax.random.key(0), bag(), TEXT, QUERIES)["params"]


def ask(params, one, queries=QUERIES):
    return MODEL.apply({"params": params}, one, queries, method="describe")["logits"]


def test_shapes_and_types(params):
    out = MODEL.apply({"params": params}, bag(), TEXT, QUERIES)
    assert {name: (value.shape, value.dtype.name) for name, value in out.items()} == {
        "ecg": ((3, 8), "float32"),
        "text": ((3, 8), "float32"),
        "logits": ((3, 5), "float32"),
    }


def permuted(one: tokens.Tokens, order) -> tokens.Tokens:
    return tokens.Tokens(*[getattr(one, field.name)[:, order] for field in dataclasses.fields(one)])


def test_a_bag_has_no_order(params):
    one = bag()
    shuffled = permuted(one, RNG.permutation(one.lead.shape[1]))
    for name, value in MODEL.apply({"params": params}, one, TEXT, QUERIES).items():
        other = MODEL.apply({"params": params}, shuffled, TEXT, QUERIES)[name]
        np.testing.assert_allclose(other, value, atol=1e-5)


def test_an_absent_lead_changes_nothing(params):
    signal = RNG.normal(0, 300, (3, 12, 5000)).astype(np.int16)
    presence = np.ones((3, 12), bool)
    presence[:, 8] = False
    without = bag((0, 6), presence, signal)
    signal[:, 8] = 20000
    with_absent = bag((0, 6, 8), presence, signal)
    assert with_absent.lead.shape[1] == without.lead.shape[1] + 50
    for name, value in MODEL.apply({"params": params}, without, TEXT, QUERIES).items():
        other = MODEL.apply({"params": params}, with_absent, TEXT, QUERIES)[name]
        np.testing.assert_allclose(other, value, atol=1e-5)


def test_a_present_lead_changes_the_answer(params):
    signal = RNG.normal(0, 300, (3, 12, 5000)).astype(np.int16)
    answers = [ask(params, bag(leads, None, signal)) for leads in ((0,), (0, 1))]
    assert np.abs(answers[0] - answers[1]).max() > 1e-3


def test_the_same_samples_in_another_lead_or_segment_are_another_ecg(params):
    one = bag()
    answer = ask(params, one)
    for moved in (one.replace(lead=(one.lead + 1) % 12), one.replace(segment=(one.segment + 1) % 50)):
        assert np.abs(ask(params, moved) - answer).max() > 1e-4


def test_an_answer_does_not_depend_on_what_else_is_asked(params):
    whole = ask(params, bag(signal=np.ones((3, 12, 5000), np.int16)))
    part = ask(params, bag(signal=np.ones((3, 12, 5000), np.int16)), QUERIES[1:3])
    np.testing.assert_allclose(part, whole[:, 1:3], atol=1e-5)


def test_with_self_attention_it_does():
    model = QueryNetwork(width=16, depth=1, heads=2, self_attention=True)
    features, valid = RNG.normal(size=(2, 6, 32)).astype(np.float32), np.ones((2, 6), bool)
    params = model.init(jax.random.key(0), QUERIES, features, valid)
    whole, part = (model.apply(params, q, features, valid) for q in (QUERIES, QUERIES[:2]))
    assert np.abs(whole[:, :2] - part).max() > 1e-4


def test_mean_pool():
    features = RNG.normal(size=(2, 4, 3)).astype(np.float32)
    valid = np.array([[1, 0, 1, 0], [0, 0, 0, 0]], bool)
    pooled = mean_pool(jnp.asarray(features), jnp.asarray(valid))
    np.testing.assert_allclose(pooled[0], features[0, [0, 2]].mean(0), rtol=1e-6)
    np.testing.assert_array_equal(pooled[1], 0)


def layer_norm(x, p):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * p["scale"] + p["bias"]


def dense(x, p):
    return x @ p["kernel"] + p["bias"]


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def attention(x, memory, valid, p, heads=2):
    def split(y):
        return y.reshape(len(y), heads, -1).swapaxes(0, 1)

    q, k, v = split(dense(x, p["query"])), split(dense(memory, p["key"])), split(dense(memory, p["value"]))
    score = np.where(valid, q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1]), -np.inf)
    weight = np.exp(score - score.max(-1, keepdims=True))
    mixed = (weight / weight.sum(-1, keepdims=True)) @ v
    return dense(mixed.swapaxes(0, 1).reshape(len(x), -1), p["out"])


def layer(x, memory, valid, p, name):
    y = layer_norm(x, p[f"{name}_norm"])
    x = x + attention(y, y if memory is None else memory, valid, p[name])
    return x + dense(gelu(dense(layer_norm(x, p["mlp_norm"]), p["mlp"]["up"])), p["mlp"]["down"])


def nth(stacked, n):
    return jax.tree.map(lambda leaf: leaf[n], stacked)


def test_the_whole_model_against_numpy(params):
    one = bag()
    logits = ask(params, one)
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    embedding, network = p["encoder"]["embedding"], p["query_network"]
    for b in range(3):
        x = np.asarray(one.values[b], np.float64) @ embedding["projection"]["kernel"]
        x = x * embedding["gain"][one.lead[b]] + embedding["lead"][one.lead[b]] + embedding["temporal"][one.segment[b]]
        for n in range(2):
            x = layer(x, None, np.asarray(one.valid[b]), nth(p["encoder"]["layers"], n), "attention")
        x = layer_norm(x, p["encoder"]["norm"])
        q = layer_norm(dense(QUERIES, network["projection"]), network["projection_norm"])
        for n in range(2):
            q = layer(q, x, np.asarray(one.valid[b]), nth(network["layers"], n), "cross_attention")
        expected = dense(layer_norm(q, network["norm"]), network["classifier"])[:, 0]
        np.testing.assert_allclose(logits[b], expected, atol=2e-5)


@pytest.mark.parametrize(
    ("name", "millions"), [("vit_tiny", 5.4), ("vit_small", 21.3), ("vit_middle", 37.9), ("vit_base", 85.2)]
)
def test_the_four_sizes(name, millions):
    width, heads = {"vit_tiny": (192, 3), "vit_small": (384, 6), "vit_middle": (512, 8), "vit_base": (768, 12)}[name]
    shapes = jax.eval_shape(lambda: Encoder(LeadEmbedding(width), 12, heads).init(jax.random.key(0), bag())["params"])
    layers = sum(x.size for x in jax.tree.leaves(shapes))
    # 12 layers of 12 d^2 weights, 13 d biases and norms; W, embeddings and the last norm besides.
    assert layers == 12 * (12 * width**2 + 13 * width) + 100 * width + 62 * width + 2 * width
    assert layers / 1e6 == pytest.approx(millions, abs=0.1)
