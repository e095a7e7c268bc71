"""Training as it is: records of a store to updates, with metrics; beside the input alone and the step alone."""

import contextlib
import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from kmerl_jax.processes import together
from kmerl_jax.text.encoder import TextEncoder
from kmerl_jax.throughput import input_stream, machine
from kmerl_jax.throughput.result import Options, Result
from kmerl_jax.throughput.step import Step
from kmerl_jax.throughput.timing import Contender, Timed, race
from kmerl_jax.training import loop, sharding
from kmerl_jax.training.methods import build_objective
from kmerl_jax.training.stream import Examples
from kmerl_jax.training.texts import make_texts

_BURN_IN = 5  # steps


def measure(config, examples: Examples, entities: tuple[str, ...], encoder: TextEncoder, options: Options) -> Result:
    """Trains for as long as all repeats together, in a folder that is thrown away.

    Steps are timed as training tells them: the seconds in which it saves a checkpoint do not count.

    Args:
        config: a resolved config.
        examples: the training records.
        entities: that are asked for.
        encoder: of texts.
        options: how.
    """
    mesh, size = sharding.make_mesh(config.mesh.fsdp), config.train.batch_size
    alone = _alone(config, examples, len(entities), options)
    slower = min(one.rate for one in alone)
    # Processes have measured differently, and all must take as many steps.
    steps = together.from_first(max(options.repeats, round(options.repeats * options.seconds * slower / size)))
    objective = build_objective(config, make_texts(encoder, entities), mesh.size)
    with _shared_folder() as folder:
        loop.fit(objective, examples, None, config, _BURN_IN + steps, folder, mesh)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    seconds = np.array([size / line["ecg_per_s"] for line in lines[_BURN_IN:]])
    parts = [part.mean() for part in np.array_split(seconds, options.repeats)]
    waits = np.array([line["input_wait_s"] for line in lines[_BURN_IN:]])
    timed = [Timed("kmerl_jax", size, tuple(map(float, parts))), *alone]
    waited = float(waits.sum() / seconds.sum())
    facts = {
        "steps": steps,
        "seconds": float(seconds.sum()),
        "ecg_per_s_per_device": timed[0].rate / mesh.size,
        "input_wait_share": waited,
        "peak_memory_bytes": machine.peak_memory(),
    }
    said = [f"sustained      {steps:,} steps in {seconds.sum():.0f} s, {waited:.1%} of it waiting for input"]
    title = (
        f"end_to_end: {config.name}:{config.recipe}, {len(examples.rows):,} records, {size:,} ECGs a step, "
        f"{mesh.size} x {jax.devices()[0].device_kind}"
    )
    return Result(title, "ECG", timed, facts, said)


def _alone(config, examples: Examples, queries: int, options: Options) -> list[Timed]:
    """The parts. What they hold is free again before the whole is measured."""
    step = Contender("kmerl_jax, the step alone", config.train.batch_size, Step(config, queries).run)
    stream = input_stream.contender("kmerl_jax, the input alone", examples, config)
    return race([step, stream], 2, options.seconds)


@contextlib.contextmanager
def _shared_folder() -> Iterator[Path]:
    """A folder that is new, and the same on all processes; on several hosts TMPDIR must be where all can write."""
    name = f"kmerl_jax_{together.from_first(secrets.randbits(31)):x}"
    folder = Path(tempfile.gettempdir()) / name
    try:
        folder.mkdir(exist_ok=True)
        yield folder
        together.everyone(True)  # have read it
    finally:
        shutil.rmtree(folder, ignore_errors=True)
