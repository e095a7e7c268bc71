"""Where arrays are, by looking at them, on eight virtual devices."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from kmerl_jax.config import base
from kmerl_jax.training import sharding
from kmerl_jax.training.accumulation import cut
from kmerl_jax.training.objective import Objective
from kmerl_jax.training.optimizer import FROZEN, TRAINED, optimizer
from kmerl_jax.training.step import init_state, make_step
from kmerl_jax.training.texts import is_frozen
from tests.training.batches import (
    KEY,
    frozen_texts,
    mesh_of,
    random_batch,
    random_like,
    small_objective,
    trained_texts,
)


@pytest.mark.parametrize("fsdp", [1, 2, 8])
def test_each_device_holds_its_block_of_the_batch(fsdp):
    mesh = sharding.make_mesh(fsdp)
    assert dict(mesh.shape) == {"data": 8 // fsdp, "fsdp": fsdp}
    batch = sharding.to_device({"x": np.arange(16.0).reshape(16, 1)}, mesh)
    held = {shard.device: list(shard.data[:, 0]) for shard in batch["x"].addressable_shards}
    assert [held[device] for device in jax.devices()] == [[2 * n, 2 * n + 1] for n in range(8)]


@dataclasses.dataclass(frozen=True)
class Device:
    """What a mesh asks of a device."""

    process_index: int
    id: int
    platform: str = "none"
    device_kind: str = "none"


def test_the_devices_of_a_process_are_neighbours():
    """However they are numbered: process p reads block p of each batch."""
    devices = [Device(process, n) for n, process in enumerate((1, 0, 1, 0, 2, 2))]
    mesh = sharding.make_mesh(2, devices)
    assert [(device.process_index, device.id) for device in mesh.devices.flat] == [
        (0, 1), (0, 3), (1, 0), (1, 2), (2, 4), (2, 5)
    ]  # fmt: skip
    assert list(sharding.make_mesh(2, jax.devices()[::-1]).devices.flat) == jax.devices()


def test_only_large_arrays_are_split_over_fsdp():
    state = {"large": jnp.zeros((1024, 2048)), "odd": jnp.zeros((1025, 2049)), "small": jnp.zeros((64, 64))}
    specs = jax.tree.map(lambda s: s.spec, sharding.state_shardings(state, sharding.make_mesh(4)))
    assert specs == {"large": P(None, "fsdp"), "odd": P(), "small": P()}
    alone = sharding.state_shardings(state, sharding.make_mesh(1))
    assert all(s.spec == P() for s in jax.tree.leaves(alone))


LARGE = {
    "['text']['embeddings']['word']['embedding']": (
        8194,
        128,
    ),  # split along its width: 4 does not divide 8194
    "['text']['lower']['up']['kernel']": (1, 128, 8192),
    "['text']['lower']['down']['kernel']": (1, 8192, 128),
    "['text']['upper']['up']['kernel']": (1, 128, 8192),
    "['text']['upper']['down']['kernel']": (1, 8192, 128),
}


def leaves(tree):
    return {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(tree)}


class Tower(Objective):
    """A text encoder that learns in its last layer, and nothing else."""

    texts = trained_texts(vocabulary=8194, width=128, mlp_width=8192)

    def init(self, key, batch):
        return jax.tree.map(jnp.zeros_like, self.pretrained())

    def pretrained(self):
        return {"text": self.texts.weights}

    def role(self, path):
        return FROZEN if is_frozen(path[1]) else TRAINED

    def outputs(self, params, batch, key, train):
        return {"text": self.texts.reports(params, batch, None)}

    def combine(self, outputs, batch):
        return ((outputs["text"] - 1) ** 2).mean(), {}


@pytest.mark.parametrize(("fsdp", "microbatches"), [(1, 1), (4, 2)])
def test_what_each_device_holds_of_a_state(fsdp, microbatches):
    """Before and after a step, in data parallel and in groups of devices that share the large arrays."""
    mesh, objective = mesh_of(8, fsdp), Tower()
    tx = optimizer(base("x", "mimic").optimizer, 10, objective.role)
    batch = sharding.to_device(random_batch(16), mesh)
    state = init_state(objective, tx, batch, KEY, mesh)
    before = jax.tree.map(lambda x: x.sharding, state)
    step = make_step(objective, tx, KEY, state, mesh, microbatches)
    for _ in range(2):
        params, moments = leaves(state["params"]), leaves(state["optimizer"])
        assert {name: x.shape for name, x in params.items() if x.size >= 2**20} == LARGE
        for name, x in leaves(state).items():
            shared = fsdp > 1 and any(name.endswith(end) for end in LARGE)
            assert len({shard.device for shard in x.addressable_shards}) == 8
            assert all(shard.data.size * (fsdp if shared else 1) == x.size for shard in x.addressable_shards), name
            assert x.is_fully_replicated == (not shared)
        for name, x in params.items():
            of_it = [moment for path, moment in moments.items() if path.endswith(name)]
            assert len(of_it) == (2 if "upper" in name else 0)  # mean and mean square
            assert all(moment.sharding == x.sharding for moment in of_it)
        state, metrics = step(state, batch)
        assert metrics["finite"]
        assert jax.tree.map(lambda x: x.sharding, state) == before


def moved(function, *given, out) -> set[str]:
    """Names of the operations by which a compiled function moves data between devices."""
    text = jax.jit(function, out_shardings=out).lower(*given).compile().as_text()
    return set(re.findall(r"\b(all-\w+|reduce-scatter|collective-\w+|ragged-\S+)\(", text))


def test_records_are_computed_where_they_are():
    """Nothing but what compares records moves between devices, whichever tokens they show."""
    mesh = sharding.make_mesh(2)
    where, batch = sharding.batch_sharding(mesh), sharding.to_device(random_batch(32), mesh)
    objective = small_objective(frozen_texts(), mesh.size)
    params = random_like(jax.eval_shape(objective.init, KEY, batch))
    params = jax.device_put(params, sharding.replicated(mesh))
    assert moved(lambda p, b: objective.outputs(p, b, KEY, True), params, batch, out=where) == set()
    assert moved(lambda b: cut(b, 2, mesh), batch, out=None) == set()
    assert "all-reduce" in moved(lambda b: b["text"].mean(), batch, out=None)


def test_what_does_not_divide():
    mesh = sharding.make_mesh()
    with pytest.raises(ValueError, match="does not divide 8 devices"):
        sharding.make_mesh(3)
    with pytest.raises(ValueError, match="30 is not divisible by 8 devices; try 32"):
        sharding.check_batch_size(30, mesh)
    with pytest.raises(ValueError, match="40 is not divisible by 8 devices times 4 microbatches; try 32"):
        sharding.check_batch_size(40, mesh, 4)
    with pytest.raises(ValueError, match=r"train\.microbatches=0 is not 1 or more"):
        sharding.check_batch_size(32, mesh, 0)
    sharding.check_batch_size(32, mesh)
    sharding.check_batch_size(64, mesh, 4)
