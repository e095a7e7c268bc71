import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kmerl_jax.training import sharding
from kmerl_jax.training.objective import Objective
from kmerl_jax.training.step import checksum, init_state, make_step, state_shapes


class Parabola(Objective):
    def init(self, key, batch):
        return {"w": jnp.zeros((2,))}

    def loss(self, params, batch, key, train):
        loss = jnp.mean((params["w"][None] - batch["x"]) ** 2)
        return loss, {"w0": params["w"][0]}


def batch_of(n, x, stop=False):
    ids = np.arange(len(x))
    about = {"index": n * len(x) + ids, "entry": 7 * ids, "unreadable": ids - 1, "stop": np.full(len(x), stop)}
    return {"x": np.asarray(x, np.float32), **{name: np.asarray(value) for name, value in about.items()}}


def run(batches, tx):
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    batches = [sharding.to_device(batch_of(n, x), mesh) for n, x in enumerate(batches)]
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


def test_every_process_learns_what_the_others_blocks_hold():
    mesh = sharding.make_mesh()
    x = np.zeros((16, 2))
    there = [batch_of(0, x), batch_of(0, x)]
    there[1]["stop"][11] = True
    there = [sharding.to_device(one, mesh) for one in there]
    state = init_state(Parabola(), optax.sgd(0.1), there[0], jax.random.key(0), mesh)
    step = make_step(Parabola(), optax.sgd(0.1), jax.random.key(0), state, mesh)
    told = []
    for one in there:
        state, metrics = step(state, one)
        told.append(jax.device_get(metrics))
    assert [bool(m["stop"]) for m in told] == [False, True]
    assert [int(m["unreadable"]) for m in told] == [15, 15]
    assert told[0]["records"] == told[1]["records"]


def mixed(x):
    """MurmurHash3's finalizer in Python's integers."""
    x = (x ^ (x >> 16)) * 0x85EBCA6B % 2**32
    x = (x ^ (x >> 13)) * 0xC2B2AE35 % 2**32
    return x ^ (x >> 16)


def test_a_checksum_tells_which_record_stood_where():
    rng = np.random.default_rng(0)
    index, entry = rng.integers(0, 2**31, (2, 50))

    def of(index, entry):
        return int(checksum(jnp.asarray(index, jnp.uint32), jnp.asarray(entry, jnp.int32)))

    expected = sum(mixed(mixed(i + 1) ^ e) for i, e in zip(index.tolist(), entry.tolist(), strict=True))
    assert of(index, entry) == expected % 2**32
    order = rng.permutation(50)
    assert of(index[order], entry[order]) == of(index, entry)
    assert of(index, entry[order]) != of(index, entry)
    assert (of(index[:20], entry[:20]) + of(index[20:], entry[20:])) % 2**32 == of(index, entry)


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
