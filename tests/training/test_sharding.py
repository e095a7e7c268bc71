import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from kmerl_jax.training import sharding


def test_a_batch_is_split_over_all_devices():
    mesh = sharding.make_mesh(2)
    assert dict(mesh.shape) == {"data": 4, "fsdp": 2}
    batch = sharding.to_device({"x": np.arange(16.0).reshape(16, 1)}, mesh)
    shards = sorted(batch["x"].addressable_shards, key=lambda shard: shard.index[0].start)
    assert [list(shard.data[:, 0]) for shard in shards] == [[2 * n, 2 * n + 1] for n in range(8)]


def test_only_large_arrays_are_split_over_fsdp():
    state = {"large": jnp.zeros((1024, 2048)), "odd": jnp.zeros((1025, 2049)), "small": jnp.zeros((64, 64))}
    specs = jax.tree.map(lambda s: s.spec, sharding.state_shardings(state, sharding.make_mesh(4)))
    assert specs == {"large": P(None, "fsdp"), "odd": P(), "small": P()}
    alone = sharding.state_shardings(state, sharding.make_mesh(1))
    assert all(s.spec == P() for s in jax.tree.leaves(alone))


def test_what_does_not_divide():
    with pytest.raises(ValueError, match="does not divide 8 devices"):
        sharding.make_mesh(3)
    with pytest.raises(ValueError, match="30 is not divisible by 8 devices; try 32"):
        sharding.check_batch_size(30, sharding.make_mesh())
    sharding.check_batch_size(32, sharding.make_mesh())
