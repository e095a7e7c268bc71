"""Training as it is: records of a store to updates, with metrics; beside the input alone and the step alone."""

import json
import tempfile
from pathlib import Path

import numpy as np

from kmerl_jax.text.encoder import TextEncoder
from kmerl_jax.throughput import input_stream, machine
from kmerl_jax.throughput.result import Options, Result
from kmerl_jax.throughput.step import Step
from kmerl_jax.throughput.timing import Contender, Timed, race
from kmerl_jax.training import loop, sharding
from kmerl_jax.training.objective import build_objective
from kmerl_jax.training.stream import Examples
from kmerl_jax.training.texts import make_texts

_BURN_IN = 5  # steps


def measure(config, examples: Examples, entities: tuple[str, ...], encoder: TextEncoder, options: Options) -> Result:
    """Trains for as long as all repeats together, in a folder that is thrown away.

    Args:
        config: a resolved config.
        examples: the training records.
        entities: that are asked for.
        encoder: of texts.
        options: how.
    """
    mesh, size = sharding.make_mesh(config.mesh.fsdp), config.train.batch_size
    step = Contender("kmerl_jax, the step alone", size, Step(config, len(entities)).run)
    stream = Contender("kmerl_jax, the input alone", size, input_stream.contender(examples, config).run)
    alone = race([step, stream], 2, options.seconds)
    slower = min(one.rate for one in alone)
    steps = _BURN_IN + max(options.repeats, round(options.repeats * options.seconds * slower / size))
    objective = build_objective(config, make_texts(encoder, entities), mesh.size)
    with tempfile.TemporaryDirectory() as folder:
        loop.fit(objective, examples, None, config, steps, Path(folder), mesh)
        lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    seconds = np.array([size / line["ecg_per_s"] for line in lines[_BURN_IN:]])
    parts = [part.mean() for part in np.array_split(seconds, options.repeats)]
    waits = np.array([line["input_wait_s"] for line in lines[_BURN_IN:]])
    timed = [Timed("kmerl_jax", size, tuple(map(float, parts))), *alone]
    facts = {
        "steps": len(seconds),
        "seconds": float(seconds.sum()),
        "input_wait_share": float(waits.sum() / seconds.sum()),
        "peak_memory_bytes": machine.peak_memory(),
    }
    waited = facts["input_wait_share"]
    said = [f"sustained      {len(seconds):,} steps in {seconds.sum():.0f} s, {waited:.1%} of it waiting for input"]
    title = f"end_to_end: {config.name}:{config.recipe}, {len(examples.rows):,} records, {size:,} ECGs a step"
    return Result(title, "ECG", timed, facts, said)
