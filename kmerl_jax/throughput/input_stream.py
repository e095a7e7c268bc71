"""The input alone: how fast batches of a store come to the host."""

import itertools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kmerl_jax.throughput import peers, work
from kmerl_jax.throughput.result import Options, Result
from kmerl_jax.throughput.timing import Contender, race
from kmerl_jax.training.stream import Examples, make_stream

_AHEAD = 8  # batches that Grain prepares in threads before they are asked for, or in each worker process, at most


def contender(name: str, examples: Examples, config) -> Contender:
    """The stream of training batches, read and thrown away; a turn is a batch."""
    workers = config.data.workers
    batches = iter(make_stream(examples, config, workers=workers))

    def run(turns: int) -> None:
        for _ in itertools.islice(batches, turns):
            pass

    return Contender(name, config.train.batch_size, run, _AHEAD * max(workers, 1))


def measure(
    config, examples: Examples, options: Options, progress: Callable[[int, int], None] = lambda done, total: None
) -> Result:
    """Times the input.

    Args:
        config: a resolved config.
        examples: the training records.
        options: how.
        progress: of writing the records for PyTorch; called with the number done and the number in all.

    Raises:
        ValueError: there is no room for the records as PyTorch reads them.
    """
    with tempfile.TemporaryDirectory() as folder:
        others = peers.inputs(examples, config, Path(folder), progress) if options.peer else []
        timed = race([contender("kmerl_jax", examples, config), *others], options.repeats, options.seconds)
    batch = next(iter(make_stream(examples, config)))
    batch["stop"] = np.zeros(len(batch["index"]), bool)  # the loop adds it: whether this process was told to stop
    sent, seen = work.bytes_to_device(batch), work.bytes_seen(config)
    how = f"{config.data.workers} worker processes" if config.data.workers else "threads"
    lines = [f"bytes an ECG   {sent:,.0f} to the device, of which a step shows {seen:,.0f} of signal on average"]
    title = (
        f"input: {len(examples.rows):,} records of {config.data.store}, {config.train.batch_size:,} a batch, read in "
        f"{how} on {len(os.sched_getaffinity(0))} cores"
    )
    return Result(title, "ECG", timed, {"bytes_per_ecg": sent, "bytes_seen_per_ecg": seen}, lines)
