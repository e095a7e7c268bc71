import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kmerl_jax.training import sharding
from kmerl_jax.training.objective import Objective
from kmerl_jax.training.step import init_state, make_step, state_shapes


class Parabola(Objective):
    def init(self, key, batch):
        return {"w": jnp.zeros((2,))}

    def loss(self, params, batch, key, train):
        loss = jnp.mean((params["w"][None] - batch["x"]) ** 2)
        return loss, {"w0": params["w"][0]}


def run(batches, tx):
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    batches = [sharding.to_device({"x": np.asarray(x, np.float32)}, mesh) for x in batches]
    state = init_state(Parabola(), tx, batches[0], jax.random.key(0), mesh)
    step = make_step(Parabola(), tx, jax.random.key(0), state, mesh)
    metrics = []
    for batch in batches:
        state, values = step(state, batch)
        metrics.append(jax.device_get(values))
    return state, metrics


def test_an_update_in_closed_form():
    state, metrics = run([[[1.0, 2.0]], [[1.0, 2.0]]], optax.sgd(0.5))
    # The gradient of the mean of two squares at w is (w - x).
    np.testing.assert_allclose(state["params"]["w"], [0.75, 1.5])
    assert [m["loss"] for m in metrics] == [2.5, 0.625]
    np.testing.assert_allclose(metrics[0]["gradient_norm"], 5**0.5, rtol=1e-6)
    assert int(state["step"]) == 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_after_a_non_finite_update_nothing_changes(bad):
    good = [[1.0, 2.0]]
    before, _ = run([good], optax.adam(0.1))
    after, metrics = run([good, [[bad, 0.0]], good, good], optax.adam(0.1))
    assert [bool(m["finite"]) for m in metrics] == [True, False, True, True]
    assert bool(after.pop("halted"))
    before.pop("halted")
    jax.tree.map(np.testing.assert_array_equal, after, before)


class Large(Parabola):
    def init(self, key, batch):
        return {"w": jnp.zeros((2**10, 2**11))}


def test_shapes_of_a_state_that_is_not_made():
    given = Large(), optax.adam(0.1), {"x": jnp.zeros((8, 2))}, jax.random.key(0), sharding.make_mesh(fsdp=4)
    shapes, state = state_shapes(*given), init_state(*given)
    assert shapes["params"]["w"].sharding.shard_shape((2**10, 2**11)) == (2**10, 2**9)
    assert jax.tree.map(lambda x: (x.shape, x.dtype, x.sharding), shapes) == jax.tree.map(
        lambda x: (x.shape, x.dtype, x.sharding), state
    )
