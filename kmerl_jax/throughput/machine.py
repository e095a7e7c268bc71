"""What a benchmark ran on: versions, devices, commit, memory, and how fast plain matrix products are here."""

import importlib.metadata
import os
import platform
import resource
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp

import kmerl_jax
from kmerl_jax.throughput.timing import Contender

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "grain", "numpy", "torch")
# Large enough to reach the device's rate, small enough to take tenths of a second.
_SIDE = {"cpu": 2048, "gpu": 8192, "tpu": 8192}


def about() -> dict:
    """Versions, devices, host and commit, for a result that is kept."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "kmerl_jax": kmerl_jax.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": versions,
        "device": jax.devices()[0].device_kind,
        "devices": len(jax.devices()),
        "processes": jax.process_count(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
    }


def _commit() -> str | None:
    """Of the clone that the package is in, with a plus if files differ from it; None outside of a clone."""
    folder = Path(kmerl_jax.__file__).parents[1]

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def products(dtype) -> tuple[Contender, float]:
    """Matrix products of random matrices, as large as this kind of device needs to show its rate, on one device.

    Args:
        dtype: of the factors.

    Returns:
        A contender, an item of which is a product; and the FLOPs of a product.
    """
    side = _SIDE.get(jax.default_backend(), 4096)
    x, y = (jax.random.normal(jax.random.key(n), (side, side), jnp.float32).astype(dtype) for n in range(2))
    product = jax.jit(lambda x, y: (x @ y) / jnp.sqrt(jnp.asarray(side, dtype)))

    def run(turns: int) -> None:
        z = x
        for _ in range(turns):
            z = product(z, y)
        z.block_until_ready()

    return Contender(f"products of {side} x {side} matrices", 1, run), 2 * side**3


def peak_memory() -> int:
    """Most bytes in use so far: of the first device, or of this process where devices do not count (CPUs)."""
    counted = jax.local_devices()[0].memory_stats() or {}
    return counted.get("peak_bytes_in_use") or 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
