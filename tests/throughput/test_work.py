import jax
import numpy as np
import pytest

from kmerl_jax.config import base, merl
from kmerl_jax.models import tokens
from kmerl_jax.models.bert import BertSizes
from kmerl_jax.throughput import synthetic, work
from kmerl_jax.training import flops, methods, plan
from kmerl_jax.training.methods import build_model, build_objective

Q, B = 40, 8
BERT = BertSizes(500, 64, 3, 2, 96, 64, 2, "gelu", 1e-12)
E, NAME = BERT.width, plan.NAME_TOKENS


@pytest.fixture(autouse=True)
def small_bert(monkeypatch):
    monkeypatch.setattr(plan, "MEDCPT", BERT)


def config_of(min_leads, max_leads, self_attention=False):
    config = base("small", "mimic")
    config.model.update(width=64, depth=2, heads=2, projection=32, query_width=48, query_depth=2, query_heads=2)
    config.model.update(mlp_ratio=3, query_mlp_ratio=2, query_self_attention=self_attention)
    config.masking.update(min_leads=min_leads, max_leads=max_leads)
    config.train.batch_size = B
    return config


def loss_of(config):
    """The loss of a batch as a function of parameters, and their shapes."""
    objective = build_objective(config, synthetic.texts(config, Q))
    batch, key = jax.device_put(synthetic.batch(config, Q)), jax.random.key(0)
    params = jax.eval_shape(lambda: objective.init(key, batch))
    return lambda params: objective.loss(params, batch, key, True)[0], params


@pytest.mark.parametrize("leads", [1, 3])
@pytest.mark.parametrize("self_attention", [False, True])
def test_it_is_what_the_program_computes_and_no_more_than_that(leads, self_attention):
    config = config_of(leads, leads, self_attention)
    loss, params = loss_of(config)
    parts = work.of_training(config, Q, BERT, NAME).values()
    retrieval = 2 * B**2 * 32  # a metric, which is not useful work
    forward = flops.count(jax.make_jaxpr(loss)(params))
    assert forward == pytest.approx(B * sum(part.forward for part in parts) + retrieval, rel=1e-12)
    step = flops.count(jax.make_jaxpr(jax.value_and_grad(loss))(params))
    assert step == pytest.approx(B * sum(part.step for part in parts) + retrieval, rel=1e-12)


@pytest.mark.parametrize("length", [25, 200])
def test_tokens_of_other_lengths_and_heads_of_their_own_width(length):
    config = config_of(2, 2, True)
    config.data.token_length = length
    config.model.query_head_width = 40
    loss, params = loss_of(config)
    parts = work.of_training(config, Q, BERT, NAME).values()
    forward = flops.count(jax.make_jaxpr(loss)(params))
    assert forward == pytest.approx(B * sum(part.forward for part in parts) + 2 * B**2 * 32, rel=1e-12)


def test_tokens_of_all_leads_are_not_counted():
    config = config_of(1, 3)
    config.data.tokenization = "joint"
    with pytest.raises(ValueError, match="no work is counted"):
        work.of_training(config, Q, BERT, NAME)


def test_the_work_of_another_method_is_not_made_up():
    config = config_of(1, 3)
    config.method = "mine"
    with pytest.raises(ValueError, match="method=mine: its work on paper is not known"):
        work.of_training(config, Q, BERT, NAME)
    with pytest.raises(ValueError, match="method=mine: its work on paper is not known"):
        work.of_inference(config, 12, Q, 768)


def merl_of(encoder):
    config = merl(config_of(1, 1))
    config.model.encoder = encoder
    return config


@pytest.mark.parametrize("encoder", ["vit", "resnet18", "resnet50"])
def test_merls_work_is_what_the_program_computes(encoder):
    loss, params = loss_of(merl_of(encoder))
    parts = work.of_training(merl_of(encoder), Q, BERT, NAME).values()
    forward = flops.count(jax.make_jaxpr(loss)(params))
    assert forward == pytest.approx(B * sum(part.forward for part in parts) + 2 * B**2 * 32, rel=1e-12)
    if encoder == "vit":  # of a convolution with a stride the count of the gradient has zeros in it
        step = flops.count(jax.make_jaxpr(jax.value_and_grad(loss))(params))
        assert step == pytest.approx(B * sum(part.step for part in parts) + 2 * B**2 * 32, rel=1e-12)


@pytest.mark.parametrize("encoder", ["vit", "resnet18"])
def test_simclrs_work_is_of_two_views(encoder):
    config = merl_of(encoder)
    config.method, config.text.encoder = "simclr", "lexical"
    loss, params = loss_of(config)
    parts = work.of_training(config, Q, BERT, NAME).values()
    forward = flops.count(jax.make_jaxpr(loss)(params))
    assert forward == pytest.approx(B * sum(part.forward for part in parts) + 2 * B**2 * 32, rel=1e-12)
    if encoder == "vit":
        step = flops.count(jax.make_jaxpr(jax.value_and_grad(loss))(params))
        assert step == pytest.approx(B * sum(part.step for part in parts) + 2 * B**2 * 32, rel=1e-12)


@pytest.mark.parametrize("encoder", ["vit", "resnet18"])
def test_merls_answers(encoder):
    config = merl_of(encoder)
    model, form = build_model(config), methods.form(config)
    params = jax.eval_shape(lambda: model.init_params(jax.random.key(0), form, E))
    names = jax.ShapeDtypeStruct((Q, E), np.float32)

    def ask(params, names):
        return model.apply({"params": params}, tokens.one(form), names, method="describe")["logits"]

    # The cosines are a product of vectors and no matrix product to the count.
    count = flops.count(jax.make_jaxpr(ask)(params, names)) + 2 * Q * 32
    assert sum(work.of_inference(config, 3, Q, E).values()) == pytest.approx(count, rel=1e-12)


@pytest.mark.parametrize(("layers", "pooling"), [(1, "pooler"), (3, "mean")])
def test_a_text_tower_that_learns(layers, pooling):
    config = config_of(1, 1)
    config.text.update(trainable_layers=layers, pooling=pooling, window=12)
    loss, params = loss_of(config)
    parts = work.of_training(config, Q, BERT, NAME)
    retrieval = B**2 * 32
    forward = flops.count(jax.make_jaxpr(loss)(params))
    useful = B * sum(part.forward for part in parts.values())
    assert forward == pytest.approx(useful + 2 * retrieval, rel=1e-12)
    # Not useful: the gradient of what the first layer that learns is given, by its queries, keys and values.
    unread = 3 * E**2 * (B * 12 + Q * NAME)
    step = flops.count(jax.make_jaxpr(jax.value_and_grad(loss))(params))
    useful = B * sum(part.step for part in parts.values())
    assert step == pytest.approx(useful + 2 * (retrieval + unread), rel=1e-12)
    texts = work.of_texts(BERT, [12] * B + [NAME] * Q, pooling) * (B + Q)
    assert B * parts["text"].forward == pytest.approx(texts)


def test_unequal_records_count_as_their_mean():
    one, two, three = (work.of_training(config_of(n, n), Q, BERT, NAME) for n in (1, 2, 3))
    mixed = work.of_training(config_of(1, 3), Q, BERT, NAME)
    for name, part in mixed.items():
        assert part.step == pytest.approx((one[name].step + two[name].step + three[name].step) / 3)


@pytest.mark.parametrize("layers", [0, 1])
def test_xla_counts_a_little_more(layers, monkeypatch):
    """All that is not a product counts there, too."""
    # A layer that learns and one that does not: XLA counts one turn of a loop.
    monkeypatch.setattr(plan, "MEDCPT", BertSizes(500, 256, 2, 4, 1024, 64, 2, "gelu", 1e-12))
    config = config_of(1, 1)
    config.model.update(width=256, heads=4, query_width=256, query_heads=4)
    config.text.update(trainable_layers=layers, window=48)
    loss, params = loss_of(config)
    analysis = jax.jit(jax.value_and_grad(loss)).lower(params).compile().cost_analysis()
    useful = B * sum(part.step for part in work.of_training(config, Q, plan.MEDCPT, NAME).values())
    assert 1 < analysis["flops"] / useful < 1.25


def test_inference_sees_whole_leads_and_keeps_no_gradient():
    config = config_of(1, 1)
    parts = work.of_inference(config, 2, Q, E)
    tokens, width, asked = 100, 64, 48
    encoder = tokens * 100 * width + 2 * ((4 + 2 * 3) * width**2 * tokens + 2 * width * tokens**2)
    layer = Q * asked**2 * (2 + 2 * 2) + 2 * tokens * asked * width + 2 * Q * tokens * asked
    assert parts == {"encoder": 2 * encoder, "query network": 2 * (Q * E * asked + 2 * layer + Q * asked)}


def test_bytes():
    config = config_of(1, 3)
    batch = {"signal": np.zeros((4, 12, 5000), np.int16), "index": np.zeros(4, np.uint32)}
    assert work.bytes_to_device(batch) == 120_004
    assert work.bytes_seen(config) == 2 * 38 * 100 * 2
