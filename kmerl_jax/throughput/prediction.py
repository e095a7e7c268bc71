"""Someone's own ECG: how long the predict command takes from start to end, and another record once it runs."""

import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
import wfdb

from kmerl_jax.evaluation import release
from kmerl_jax.evaluation.pretrained import checksum_of
from kmerl_jax.prediction.answer import answer
from kmerl_jax.prediction.model import load
from kmerl_jax.prediction.names import wanted
from kmerl_jax.signals import files
from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.signals.waveform import RATE
from kmerl_jax.throughput import synthetic
from kmerl_jax.throughput.inference import initial_parameters
from kmerl_jax.throughput.result import Options, Result
from kmerl_jax.throughput.timing import Contender, race
from kmerl_jax.training.methods import check


def measure(config, options: Options) -> Result:
    """Times both, with a model of random weights that was exported, and a WFDB record of 12 leads and 10 s.

    Raises:
        ValueError: a config that cannot be.
    """
    check(config)
    with tempfile.TemporaryDirectory() as folder:
        model, record = Path(folder) / "model", Path(folder) / "record"
        export(config, options.queries, model)
        write_record(record)
        opened = load(model)
        asked = wanted(opened.entities, (), None)

        def another(turns: int) -> None:
            for _ in range(turns):
                answer(opened, record, files.read(record), asked, None)

        contenders = [
            Contender("another record, once it runs", 1, another),
            Contender("the command, from start to end", 1, lambda turns: command(model, record, turns)),
        ]
        timed = race(contenders, options.repeats, options.seconds)
    device = jax.devices()[0].device_kind
    title = f"prediction: {config.name}, {options.queries} findings, a record of 12 leads and 10 s, {device}"
    return Result(title, "record", timed, {}, [])


def export(config, queries: int, out: Path) -> None:
    """A model with random weights, as the export command writes it."""
    embeddings = synthetic.names(config, queries)
    params = initial_parameters(config, embeddings.shape[1])
    names = [f"finding {n}" for n in range(queries)]
    entities = {"cohort": "random", "entities": names, "superclasses": {}, "positives": {}, "texts_from_labels": False}
    about = {"step": 0, "checksum": checksum_of(params)}
    release.write(out, params, config.to_dict(), about, entities, names, embeddings, [], "Random weights.\n")


def write_record(path: Path) -> None:
    """A WFDB record of 12 leads and 10 s of noise."""
    signal = synthetic.signals(np.random.default_rng(0), 1)["signal"][0].T / 1000
    count = len(STANDARD)
    wfdb.wrsamp(path.name, RATE, ["mV"] * count, list(STANDARD), signal, fmt=["16"] * count, write_dir=str(path.parent))


def command(model: Path, record: Path, turns: int) -> None:
    """Predicts in a process of its own."""
    for _ in range(turns):
        subprocess.run(
            [sys.executable, "-m", "kmerl_jax.predict", f"--run={model}", str(record)], check=True, capture_output=True
        )
