"""Measures how fast training, its parts, and answers are on this machine.

    python -m kmerl_jax.benchmark --config=configs/vit_tiny.py:mimic --what=step
    python -m kmerl_jax.benchmark --config=configs/vit_tiny.py --what=input
    python -m kmerl_jax.benchmark --config=configs/vit_tiny.py --what=end_to_end --seconds=60 --json=end_to_end.json
    python -m kmerl_jax.benchmark --config=configs/vit_tiny.py --what=inference
    python -m kmerl_jax.benchmark --config=configs/vit_tiny.py --what=prediction
    python -m kmerl_jax.benchmark --config=configs/vit_tiny.py --what=growth --picture=growth.png

step: the training step, on a batch of random numbers that is on the devices already. input: reading batches of the
config's store. end_to_end: both, as train does them, with metrics. text: embedding reports with a BERT of MedCPT's
size. inference: answers to all queries, one ECG at a time and in batches, with 12, 6, 3 and 1 leads. prediction: the
predict command from start to end, and another record once it runs. growth: the step with ever larger batches (and its
memory), sizes of the model and numbers of tokens, and the input with ever more records. Everything is warmed up,
repeated, and told as the median of the repeats with the slowest and the fastest.
"""

import dataclasses
import os
from pathlib import Path

import jax
from absl import flags
from ml_collections import config_flags

from kmerl_jax import command
from kmerl_jax.cohorts.store import Store
from kmerl_jax.knowledge.queries import Queries
from kmerl_jax.processes import start
from kmerl_jax.text import encoder as text_encoders
from kmerl_jax.text.encoder import TextEncoder
from kmerl_jax.throughput import peers
from kmerl_jax.throughput.result import Options, Result
from kmerl_jax.training import pairs
from kmerl_jax.training.methods import product_dtype
from kmerl_jax.training.run import flat
from kmerl_jax.training.stream import Examples

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, with an optional :RECIPE.")
_WHAT = flags.DEFINE_enum(
    "what", "step", ("step", "input", "end_to_end", "text", "inference", "prediction", "growth"), "What is measured."
)
_QUERIES = flags.DEFINE_integer("queries", 277, "Names asked for, where no store says how many.", lower_bound=1)
_SECONDS = flags.DEFINE_float("seconds", 5.0, "How long each repeat takes, about.", lower_bound=0.0)
_REPEATS = flags.DEFINE_integer("repeats", 5, "How often everything is measured.", lower_bound=2)
_PEER = flags.DEFINE_boolean("peer", False, "Race PyTorch on the same work, and MERL's recipe; needs torch.")
_JSON = flags.DEFINE_string("json", None, "File for everything that was measured, with versions and the config.")
_BATCHES = flags.DEFINE_list("batches", None, "Growth: ECGs a step, e.g. 512,1024; others on a CPU than elsewhere.")
_SIZES = flags.DEFINE_list("sizes", "vit_tiny,vit_small,vit_middle,vit_base", "Growth: sizes of the encoder.")
_PICTURE = flags.DEFINE_string("picture", None, "Growth: file for its picture (.png, .svg, .pdf).")

log = command.log


def main() -> None:
    """Measures, prints, and keeps the result."""
    config = _CONFIG.value
    if config is None:
        raise ValueError("--config is missing, for example --config=configs/vit_tiny.py")
    for name, file in (("json", _JSON.value), ("picture", _PICTURE.value)):
        if file and not Path(file).absolute().parent.is_dir():
            raise ValueError(f"--{name}={file} is in a folder that is not there")
    if _PEER.value:
        # PyTorch needs some of a GPU's memory, most of which JAX would take at once.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    options = Options(_QUERIES.value, _SECONDS.value, _REPEATS.value, _PEER.value)
    with start.joined(flat(config.to_dict()) | {"what": _WHAT.value} | dataclasses.asdict(options)):
        if options.peer:
            peers.check()
        result = measure(config, options)
        log.info(result.describe())
        if _JSON.value and jax.process_index() == 0:
            result.save(Path(_JSON.value), _WHAT.value, config.to_dict(), options)


def measure(config, options: Options) -> Result:
    """What `--what` names."""
    # Imported where they are wanted: text brings transformers, which takes seconds.
    if _WHAT.value == "step":
        from kmerl_jax.throughput import step

        return step.measure(config, options)
    if _WHAT.value == "inference":
        from kmerl_jax.throughput import inference

        return inference.measure(config, options)
    if _WHAT.value == "prediction":
        from kmerl_jax.throughput import prediction

        return prediction.measure(config, options)
    if _WHAT.value == "growth":
        from kmerl_jax.throughput import growth, picture

        there = Path(config.data.store).exists()
        examples = _load(config, pairs.open_store(config, command.Progress))[2] if there else None
        result = growth.measure(config, _batches(), _SIZES.value, examples, options)
        if _PICTURE.value and jax.process_index() == 0:
            picture.draw(result, Path(_PICTURE.value))
        return result
    store = pairs.open_store(config, command.Progress)
    if _WHAT.value == "text":
        from kmerl_jax.throughput import text

        return text.measure(config, store, options)
    from kmerl_jax.throughput import end_to_end, input_stream

    encoder, asked, examples = _load(config, store)
    if _WHAT.value == "input":
        return input_stream.measure(config, examples, options, command.Progress("writing arrays", "records"))
    return end_to_end.measure(config, examples, asked.entities, encoder, options)


def _load(config, store: Store) -> tuple[TextEncoder, Queries, Examples]:
    """The encoder of texts, the queries, and the training examples."""
    encoder = text_encoders.load(config.text, product_dtype(config.train.dtype), config.train.remat)
    asked, examples, _ = pairs.load(store, encoder, config, command.Progress("embedding", "reports"))
    return encoder, asked, examples


def _batches() -> list[int] | None:
    try:
        return sorted(int(batch) for batch in _BATCHES.value or ()) or None
    except ValueError as error:
        raise ValueError(f"--batches={','.join(_BATCHES.value)} is not numbers, for example 512,1024") from error


if __name__ == "__main__":
    command.run(main, __doc__)
