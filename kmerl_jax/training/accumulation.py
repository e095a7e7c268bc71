"""Batches larger than memory: computed in parts, one after another, with one loss over all of their records.

The contrast compares every ECG with every report of the batch, so the mean of the losses of parts is another loss.
Instead (Gao et al. 2021, arXiv 2101.06983), outputs are computed for all parts and nothing else of them is kept; the
loss of all outputs has a gradient for each; with it every part is computed a second time, now for the parameters. The
price is the second forward pass: a third more work.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from kmerl_jax.training import sharding
from kmerl_jax.training.objective import Batch, Metrics, Objective, Outputs, Params


def loss_and_gradient(
    objective: Objective, params: Params, batch: Batch, key: jax.Array, microbatches: int, mesh: Mesh
) -> tuple[tuple[jax.Array, Metrics], Params]:
    """The loss of a training batch, what else should be written down, and the gradient of the parameters.

    Args:
        objective: what is minimised.
        params: parameters.
        batch: of B records, split over the devices.
        key: see `Objective.outputs`.
        microbatches: M parts; M times the devices divide B. The result is that of one part, up to rounding.
        mesh: the devices.
    """
    if microbatches == 1:
        return jax.value_and_grad(objective.loss, has_aux=True)(params, batch, key, True)
    parts = cut(batch, microbatches, mesh)
    outputs = outputs_of(objective, params, batch, key, True, microbatches, mesh)

    def loss(floats: Outputs) -> tuple[jax.Array, Metrics]:
        return objective.combine(outputs | floats, batch)

    value, cotangents = jax.value_and_grad(loss, has_aux=True)(_floats(outputs))

    def add(total: Params, part: tuple[Batch, Outputs]) -> tuple[Params, None]:
        batch, cotangents = part
        _, pull = jax.vjp(lambda params: _floats(objective.outputs(params, batch, key, True)), params)
        (gradient,) = pull(cotangents)
        return jax.tree.map(jnp.add, total, gradient), None

    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), params)
    gradient, _ = jax.lax.scan(add, zeros, (parts, cut(cotangents, microbatches, mesh)))
    return value, gradient


def outputs_of(
    objective: Objective, params: Params, batch: Batch, key: jax.Array, train: bool, microbatches: int, mesh: Mesh
) -> Outputs:
    """The outputs of all records of a batch, part by part; arguments as of `loss_and_gradient`."""
    if microbatches == 1:
        return objective.outputs(params, batch, key, train)
    parts = cut(batch, microbatches, mesh)
    return joined(jax.lax.map(lambda part: objective.outputs(params, part, key, train), parts), mesh)


def cut(tree: Any, microbatches: int, mesh: Mesh) -> Any:
    """[B, ...] to [M, B / M, ...]: each device's block in M runs of consecutive records; nothing moves.

    Args:
        tree: of arrays, split over the devices along their first axis.
        microbatches: M.
        mesh: the devices.
    """

    def one(x: jax.Array) -> jax.Array:
        runs = x.reshape(mesh.size, microbatches, -1, *x.shape[1:]).swapaxes(0, 1)
        where = NamedSharding(mesh, PartitionSpec(None, *sharding.batch_sharding(mesh).spec))
        return jax.lax.with_sharding_constraint(runs.reshape(microbatches, -1, *x.shape[1:]), where)

    return jax.tree.map(one, tree)


def joined(parts: Any, mesh: Mesh) -> Any:
    """What `cut` has cut, as it was: [M, B / M, ...] to [B, ...]."""

    def one(x: jax.Array) -> jax.Array:
        blocks = x.reshape(len(x), mesh.size, -1, *x.shape[2:]).swapaxes(0, 1)
        return jax.lax.with_sharding_constraint(blocks.reshape(-1, *x.shape[2:]), sharding.batch_sharding(mesh))

    return jax.tree.map(one, parts)


def _floats(outputs: Outputs) -> Outputs:
    return {name: x for name, x in outputs.items() if jnp.issubdtype(x.dtype, jnp.floating)}
