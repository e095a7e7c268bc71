"""Where arrays live: one mesh with axes "data" and "fsdp", batches split over both, large parameters over "fsdp"."""

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

_SMALLEST_SHARDED = 2**20  # parameters below 4 MB cost more to gather than to hold


def make_mesh(fsdp: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh over the devices.

    Args:
        fsdp: over how many devices parameters are split; the other axis is data parallel.
        devices: which; all of all processes by default.

    Raises:
        ValueError: `fsdp` does not divide the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    # A process reads one block of each batch, so its devices must be neighbours: jax.make_mesh may order otherwise.
    devices = sorted(devices, key=lambda device: (device.process_index, device.id))
    if fsdp < 1 or len(devices) % fsdp:
        raise ValueError(f"mesh.fsdp={fsdp} does not divide {len(devices)} devices")
    # Auto: with explicit axes z @ z.T over the batch is a type error.
    types = AxisType.Auto, AxisType.Auto
    return Mesh(np.array(devices).reshape(-1, fsdp), ("data", "fsdp"), axis_types=types)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """A batch is split over all devices along its first axis."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def state_shardings(state, mesh: Mesh):
    """A sharding for each array of a state: the largest axis that "fsdp" divides, of arrays of a million elements.

    Args:
        state: a tree of arrays or shapes.
        mesh: the mesh.
    """

    def one(leaf) -> NamedSharding:
        ways = mesh.shape["fsdp"]
        axes = [n for n in np.argsort(leaf.shape)[::-1] if leaf.shape[n] % ways == 0]
        if ways == 1 or not axes or np.prod(leaf.shape) < _SMALLEST_SHARDED:
            return replicated(mesh)
        return NamedSharding(mesh, PartitionSpec(*["fsdp" if n == axes[0] else None for n in range(len(leaf.shape))]))

    return jax.tree.map(one, state)


def to_device(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """This process's block of a global batch, as global arrays."""
    sharding = batch_sharding(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, values) for name, values in batch.items()}


def to_host(tree, mesh: Mesh):
    """The whole of each array as NumPy, on every process; all processes must ask."""
    return jax.device_get(jax.jit(lambda x: x, out_shardings=replicated(mesh))(tree))


def check_batch_size(batch_size: int, mesh: Mesh, microbatches: int = 1) -> None:
    """Raises:
    ValueError: the devices, times the microbatches, do not divide the global batch.
    """
    if microbatches < 1:
        raise ValueError(f"train.microbatches={microbatches} is not 1 or more")
    parts = mesh.size * microbatches
    if batch_size < 1 or batch_size % parts:
        each = f" times {microbatches} microbatches" if microbatches > 1 else ""
        raise ValueError(
            f"train.batch_size={batch_size} is not divisible by {mesh.size} devices{each}; "
            f"try {max(1, round(batch_size / parts)) * parts}"
        )
