"""The input alone: how fast batches of a store come to the host."""

import itertools
import os
import tempfile
from pathlib import Path

import jax

from kmerl_jax.throughput import peers, work
from kmerl_jax.throughput.result import Options, Result
from kmerl_jax.throughput.timing import Contender, race
from kmerl_jax.training.stream import Examples, Stream


def contender(examples: Examples, config) -> Contender:
    """The stream of training batches, read and thrown away; a turn is a batch."""
    stream = Stream(
        examples,
        config.train.batch_size,
        config.seed,
        process=jax.process_index(),
        processes=jax.process_count(),
        workers=config.data.workers,
        skip_unreadable=config.data.unreadable == "skip",
    )
    batches = iter(stream)

    def run(turns: int) -> None:
        for _ in itertools.islice(batches, turns):
            pass

    return Contender("kmerl_jax", config.train.batch_size, run)


def measure(config, examples: Examples, options: Options) -> Result:
    """Times the input."""
    with tempfile.TemporaryDirectory() as folder:
        others = peers.inputs(examples, config, Path(folder)) if options.peer else []
        timed = race([contender(examples, config), *others], options.repeats, options.seconds)
    batch = next(iter(Stream(examples, config.train.batch_size, config.seed)))
    sent, seen = work.bytes_to_device(batch), work.bytes_seen(config)
    how = f"{config.data.workers} worker processes" if config.data.workers else "threads"
    lines = [f"bytes an ECG   {sent:,.0f}, of which a step makes use of {seen:,.0f} of signal on average"]
    title = (
        f"input: {len(examples.rows):,} records of {config.data.store}, {config.train.batch_size:,} a batch, read in "
        f"{how} on {len(os.sched_getaffinity(0))} cores"
    )
    return Result(title, "ECG", timed, {"bytes_per_ecg": sent, "bytes_seen_per_ecg": seen}, lines)
