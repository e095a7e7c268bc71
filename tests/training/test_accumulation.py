"""Batches in parts: the loss and the gradient of the whole batch, in less memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmerl_jax.models.classifier import Classifier
from kmerl_jax.models.encoder import Encoder, LeadEmbedding
from kmerl_jax.models.tokens import Form
from kmerl_jax.training import losses, sharding
from kmerl_jax.training.accumulation import cut, joined, loss_and_gradient
from kmerl_jax.training.classification import ClassificationObjective
from kmerl_jax.training.objective import Objective
from tests.training.batches import KEY, frozen_texts, mesh_of, random_batch, random_like, small_objective, trained_texts


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([(1, 1), (2, 1), (8, 1), (8, 4)]), st.integers(1, 5), st.integers(1, 4))
def test_records_stay_where_they_are(shape, microbatches, run):
    """Part m of a device's block are its records from m runs on; put together they are the batch again."""
    mesh = mesh_of(*shape)
    devices, block = mesh.size, microbatches * run
    batch = sharding.to_device({"x": np.arange(devices * block)}, mesh)
    parts = cut(batch, microbatches, mesh)
    for shard in parts["x"].addressable_shards:
        device = list(mesh.devices.flat).index(shard.device)
        held = device * block + np.arange(block)
        np.testing.assert_array_equal(shard.data, held.reshape(microbatches, run))
    again = joined(parts, mesh)["x"]
    assert again.sharding == batch["x"].sharding
    np.testing.assert_array_equal(again, batch["x"])


class Product(Objective):
    """(mean of w x) (mean of v x^2): no sum over records."""

    def outputs(self, params, batch, key, train):
        return {"a": params["w"] * batch["x"], "b": params["v"] * batch["x"] ** 2, "n": batch["n"]}

    def combine(self, outputs, batch):
        return outputs["a"].mean() * outputs["b"].mean(), {"n": outputs["n"].sum()}


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from([(1, 1), (4, 2)]),
    st.integers(1, 3),
    st.lists(st.floats(-4, 4, width=32), min_size=24, max_size=24),
)
def test_a_product_of_means_in_closed_form(shape, microbatches, xs):
    """Output that is no float has no gradient, and is there all the same."""
    x, mesh = np.array(xs), mesh_of(*shape)
    batch = sharding.to_device({"x": x.astype(np.float32), "n": np.arange(24, dtype=np.uint32)}, mesh)
    params = {"w": jnp.float32(2), "v": jnp.float32(3)}
    (loss, metrics), gradient = loss_and_gradient(Product(), params, batch, KEY, microbatches, mesh)
    a, b = x.mean(), (x**2).mean()
    np.testing.assert_allclose(loss, 6 * a * b, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose([gradient["w"], gradient["v"]], [3 * a * b, 2 * a * b], rtol=1e-4, atol=1e-4)
    assert metrics["n"] == 23 * 24 // 2


class Alike(Objective):
    """The contrast of records that are all alike."""

    def outputs(self, params, batch, key, train):
        return {"x": params["w"] * batch["x"]}

    def combine(self, outputs, batch):
        return losses.contrast(outputs["x"], outputs["x"], None), {}


def test_the_contrast_is_over_the_whole_batch():
    """Where nothing can be told apart it is the logarithm of how many records are compared, in closed form."""
    mesh, params = mesh_of(2), {"w": jnp.ones(())}
    batch = sharding.to_device({"x": np.ones((16, 4), np.float32)}, mesh)
    for microbatches in (1, 2, 4):
        (loss, _), _ = loss_and_gradient(Alike(), params, batch, KEY, microbatches, mesh)
        np.testing.assert_allclose(loss, np.log(16), rtol=1e-6)


FROZEN, TRAINED = frozen_texts(), trained_texts(dropout=0.3)
OTHER = {"loss__direction": "e2t", "loss__duplicates": False}  # with the trained texts; by default symmetric and True
QUICK = {"xla_backend_optimization_level": 0}  # these programs are compiled to be run once


@functools.cache
def result(texts, devices, fsdp, microbatches, **fields):
    """Loss, metrics and gradient on the host."""
    mesh, batch = mesh_of(devices, fsdp), random_batch(32)
    objective = small_objective(texts, mesh.size, **fields)
    params = random_like(jax.eval_shape(objective.init, KEY, batch))
    params = jax.device_put(params, sharding.state_shardings(params, mesh))

    def run(params, batch):
        return loss_and_gradient(objective, params, batch, KEY, microbatches, mesh)

    return jax.device_get(jax.jit(run, compiler_options=QUICK)(params, sharding.to_device(batch, mesh)))


def assert_alike(one, other):
    ((loss, metrics), gradient), ((loss_, metrics_), gradient_) = one, other
    assert metrics.keys() == metrics_.keys() == {"loss_contrast", "loss_entities", "retrieval", "masks"}
    assert metrics["masks"] == metrics_["masks"]
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))
    np.testing.assert_allclose([loss, *metrics.values()], [loss_, *metrics_.values()], rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), gradient, gradient_)


@pytest.mark.parametrize(
    ("devices", "fsdp", "microbatches"), [(1, 1, 2), (1, 1, 4), (8, 1, 1), (8, 1, 4), (8, 4, 2)], ids=str
)
def test_parts_and_devices_change_only_the_rounding(devices, fsdp, microbatches):
    whole = result(FROZEN, 1, 1, 1)
    assert_alike(result(FROZEN, devices, fsdp, microbatches), whole)


@pytest.mark.parametrize(("devices", "fsdp", "microbatches"), [(1, 1, 4), (8, 4, 2)], ids=str)
def test_reports_and_names_forget_alike_in_all_parts(devices, fsdp, microbatches):
    whole = result(TRAINED, 1, 1, 1, **OTHER)
    assert_alike(result(TRAINED, devices, fsdp, microbatches, **OTHER), whole)
    assert all(np.abs(x).max() > 1e-4 for x in jax.tree.leaves(whole[1]["text"]["upper"]["up"]))
    assert all(np.abs(x).max() == 0 for x in jax.tree.leaves(whole[1]["text"]["lower"]))


def compiled(microbatches=1, remat=False, depth=2):
    """Loss and gradient of an encoder that learns from labels, compiled, and what it was compiled for."""
    mesh, batch = mesh_of(1), random_batch(32)
    model = Classifier(Encoder(LeadEmbedding(16), depth=depth, heads=1, remat=remat), 5)
    objective = ClassificationObjective(model, Form(), (0, 6), False, None, {})
    params = jax.jit(objective.init)(KEY, batch)
    batch = sharding.to_device(batch, mesh)

    def run(params, batch):
        return loss_and_gradient(objective, params, batch, KEY, microbatches, mesh)

    return jax.jit(run).lower(params, batch).compile(), params, batch


def test_parts_take_less_memory_and_give_the_same():
    one, two, eight = (compiled(microbatches) for microbatches in (1, 2, 8))
    memory = [program.memory_analysis().temp_size_in_bytes for program, *_ in (one, two, eight)]
    assert memory[1] < 0.6 * memory[0]
    assert memory[2] < 0.3 * memory[0]
    whole, parts = (program(*given) for program, *given in (one, eight))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), whole, parts)


def test_remat_takes_less_memory_and_gives_the_same():
    kept, again = compiled(depth=6), compiled(depth=6, remat=True)
    memory = [program.memory_analysis().temp_size_in_bytes for program, *_ in (kept, again)]
    assert memory[1] < 0.4 * memory[0]
    jax.tree.map(np.testing.assert_array_equal, kept[1], again[1])
    outs = [program(*given) for program, *given in (kept, again)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *outs)


def test_remat_of_every_transformer_gives_the_same():
    """Encoder, query network and a BERT that forgets."""
    assert_alike(
        result(trained_texts(True, 0.3), 1, 1, 1, train__remat=True, **OTHER), result(TRAINED, 1, 1, 1, **OTHER)
    )
