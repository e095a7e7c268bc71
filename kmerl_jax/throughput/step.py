"""The training step alone, on a batch that is on the devices already."""

import time

import jax
import jax.numpy as jnp

from kmerl_jax.throughput import machine, peers, synthetic, work
from kmerl_jax.throughput.result import Options, Result
from kmerl_jax.throughput.timing import Contender, race
from kmerl_jax.training import plan, sharding
from kmerl_jax.training.methods import build_objective, check, product_dtype
from kmerl_jax.training.optimizer import optimizer
from kmerl_jax.training.step import init_state, make_step


class Step:
    """A compiled step with a state and a batch.

    Attributes:
        devices: how many take part.
        compile_s: seconds in which it was compiled.
    """

    def __init__(self, config, queries: int):
        """Compiles the step of a config, over all devices.

        Raises:
            ValueError: a config that cannot be.
        """
        mesh = sharding.make_mesh(config.mesh.fsdp)
        self.devices = mesh.size
        sharding.check_batch_size(config.train.batch_size, mesh, config.train.microbatches)
        check(config)
        objective = build_objective(config, synthetic.texts(config, queries), mesh.size)
        tx = optimizer(config.optimizer, max(config.train.steps, 1), objective.role)
        init_key, mask_key = jax.random.split(jax.random.key(config.seed))
        self._batch = sharding.to_device(synthetic.batch(config, queries), mesh)
        self._state = init_state(objective, tx, self._batch, init_key, mesh)
        begun = time.perf_counter()
        step = make_step(objective, tx, mask_key, self._state, mesh, config.train.microbatches)
        self._step = step.lower(self._state, self._batch).compile()
        self.compile_s = time.perf_counter() - begun

    @property
    def memory(self) -> int:
        """Bytes of a device that the compiled step sets aside: arguments, results and temporaries."""
        sizes = self._step.memory_analysis()
        given = sizes.argument_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
        return given + sizes.temp_size_in_bytes

    def run(self, turns: int) -> None:
        """So many steps."""
        for _ in range(turns):
            self._state, metrics = self._step(self._state, self._batch)
        jax.block_until_ready(metrics)


def measure(config, options: Options) -> Result:
    """Times the step, and plain matrix products beside it.

    Raises:
        ValueError: a config that cannot be.
    """
    parts = work.of_training(config, options.queries, plan.MEDCPT, plan.NAME_TOKENS)
    step = Step(config, options.queries)
    step.run(1)
    memory = machine.peak_memory()  # before others take some
    size, dtype = config.train.batch_size, product_dtype(config.train.dtype)
    products, flops = machine.products(dtype)
    others = peers.steps(config, options.queries) if options.peer else []
    *timed, product = race(
        [Contender("kmerl_jax", size, step.run), *others, products], options.repeats, options.seconds
    )
    useful = sum(part.step for part in parts.values())
    devices, matrix_rate = step.devices, flops * product.rate
    utilisation = timed[0].rate * useful / (matrix_rate * devices)
    facts = {
        "ecg_per_s_per_device": timed[0].rate / devices,
        "flops_per_ecg": {name: {"forward": part.forward, "step": part.step} for name, part in parts.items()},
        "matrix_flops_per_s": matrix_rate,
        "model_flop_utilisation": utilisation,
        "compile_s": step.compile_s,
        "peak_memory_bytes": memory,
    }
    lines = [
        f"work an ECG    {useful / 1e9:.3g} GFLOP: "
        + ", ".join(f"{name} {part.step / 1e9:.3g}" for name, part in parts.items()),
        f"utilisation    {utilisation:.1%} of {matrix_rate / 1e12:.3g} TFLOP/s, which {products.name} in "
        f"{jnp.dtype(dtype).name} reach on a device in the same minutes",
        f"memory         {memory / 1e9:.3g} GB at most; compilation {step.compile_s:.1f} s",
    ]
    title = (
        f"step: {config.name}:{config.recipe}, {size:,} ECGs a step, {options.queries} queries, "
        f"{devices} x {jax.devices()[0].device_kind}"
    )
    return Result(title, "ECG", timed, facts, lines)
