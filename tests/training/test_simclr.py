"""SimCLR's objective: its loss against NumPy's, and what its views must and must not depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kmerl_jax.config import base
from kmerl_jax.training import sharding
from kmerl_jax.training.methods import build_objective, check
from kmerl_jax.training.simclr import nt_xent
from tests.training.batches import KEY, frozen_texts, mesh_of, random_batch, random_like
from tests.training.test_sharding import moved

RNG = np.random.default_rng(0)
BATCH = jax.tree.map(jnp.asarray, random_batch(8))


def config_of(**fields):
    config = base("small", "demo")
    config.method = "simclr"
    config.model.update(width=128, depth=1, heads=2, projection=8)
    config.masking.max_leads = 12
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return config


def small(**fields):
    return build_objective(config_of(**fields), frozen_texts())


def params_of(objective):
    params = random_like(jax.eval_shape(objective.init, KEY, BATCH))

    def positive(path, x):
        return np.abs(x) + 0.1 if path[-1].key == "variance" else x

    return jax.tree_util.tree_map_with_path(positive, params)


def outputs(objective, params, batch, train=True):
    return jax.jit(objective.outputs, static_argnums=3)(params, batch, KEY, train)


def test_the_loss_is_that_of_the_paper():
    first, second = RNG.normal(size=(2, 5, 3)).astype(np.float32)
    views = np.concatenate([first, second]).astype(float)
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    alike = np.exp(views @ views.T / 0.2)
    each = [
        -np.log(alike[n, (n + 5) % 10] / sum(alike[n, other] for other in range(10) if other != n)) for n in range(10)
    ]
    assert float(nt_xent(first, second, 0.2)) == pytest.approx(np.mean(each), rel=1e-5)
    gradient = jax.grad(nt_xent)(first, second, 0.2)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


def test_views_that_are_told_apart_cost_nothing():
    same = 10 * jnp.eye(4)
    assert float(nt_xent(same, same, 0.01)) == pytest.approx(0, abs=1e-6)
    assert float(nt_xent(same, jnp.roll(same, 1, axis=0), 0.01)) > 90


@pytest.mark.parametrize("encoder", ["vit", "resnet18"])
def test_a_view_is_of_one_half_of_the_ecg(encoder):
    objective = small(model__encoder=encoder)
    params, middle = params_of(objective), BATCH["segments"][:, None, None] // 2 * 100
    out = outputs(objective, params, BATCH, False)
    assert not np.allclose(out["first"], out["second"])
    early = jnp.arange(5000)[None, None] < middle
    for changed, same, half in (("first", "second", early), ("second", "first", ~early)):
        other = BATCH | {"signal": jnp.where(half, -BATCH["signal"], BATCH["signal"])}
        again = outputs(objective, params, other, False)
        np.testing.assert_array_equal(again[same], out[same])
        assert np.abs(again[changed] - out[changed]).max(1).min() > 1e-3


def test_the_loss_and_how_often_a_view_finds_the_other():
    objective = small()
    views = jnp.asarray(RNG.normal(size=(2, 8, 4)), jnp.float32)
    out = {"first": views[0], "second": views[0], "masks": jnp.arange(8, dtype=jnp.uint32), "drift": jnp.zeros(8)}
    loss, metrics = objective.combine(out, BATCH)
    assert float(loss) == pytest.approx(float(nt_xent(views[0], views[0], 0.07)), rel=1e-6)
    assert float(metrics["retrieval"]) == 1
    assert int(metrics["masks"]) == 28
    assert float(objective.combine(out | {"second": views[1]}, BATCH)[1]["retrieval"]) < 1


def test_reports_and_labels_are_not_looked_at():
    objective = small()
    params = params_of(objective)
    other = {name: BATCH[name] + 1 for name in ("text", "text_id", "labels")}
    loss, _ = jax.jit(lambda batch: objective.loss(params, batch, KEY, True))(BATCH)
    again, _ = jax.jit(lambda batch: objective.loss(params, batch, KEY, True))(BATCH | other)
    assert float(loss) == float(again)


def test_the_batch_may_lie_on_several_devices():
    objective = small()
    params, mesh = params_of(objective), mesh_of(4)
    whole, _ = jax.jit(lambda p, batch: objective.loss(p, batch, KEY, True))(params, BATCH)
    there = sharding.to_device(random_batch(8), mesh)
    spread, metrics = jax.jit(lambda p, batch: objective.loss(p, batch, KEY, True))(
        jax.device_put(params, sharding.replicated(mesh)), there
    )
    assert float(spread) == pytest.approx(float(whole), rel=1e-4)
    assert int(metrics["masks"]) == int(objective.combine(outputs(objective, params, BATCH), BATCH)[1]["masks"])


def test_views_are_computed_where_their_ecg_is():
    objective, mesh = small(), mesh_of(2)
    there = sharding.to_device(random_batch(8), mesh)
    params = jax.device_put(params_of(objective), sharding.replicated(mesh))
    where = sharding.batch_sharding(mesh)
    assert moved(lambda p, b: objective.outputs(p, b, KEY, False), params, there, out=where) == set()


def test_running_statistics_are_used_where_nothing_is_learnt():
    objective = small()
    params = params_of(objective)
    half = {name: x[:4] for name, x in BATCH.items()}
    alone, among = (outputs(objective, params, batch, False)["first"] for batch in (half, BATCH))
    np.testing.assert_allclose(alone, among[:4], rtol=1e-4, atol=1e-5)
    alone, among = (outputs(objective, params, batch, True)["first"] for batch in (half, BATCH))
    assert not np.allclose(alone, among[:4], atol=1e-3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text__trainable_layers": 1}, "SimCLR reads no text"),
        ({"text__encoder": "ncbi/MedCPT-Query-Encoder"}, "SimCLR reads no text"),
        ({"model__projection": 0}, "is not 1 or more"),
        ({"train__microbatches": 2}, "cannot be taken in parts"),
        ({"model__encoder": "resnet19"}, "is not one of vit, resnet18"),
        ({"data__tokenization": "joint"}, "the tokens of simclr are of all leads already"),
    ],
)
def test_what_cannot_be(fields, message):
    with pytest.raises(ValueError, match=message):
        check(config_of(**fields))
