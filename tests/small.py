"""The config of the tests' runs: the demo recipe with a model small enough for seconds."""

from pathlib import Path

from ml_collections import ConfigDict

from kmerl_jax.config import base


def small(store: Path) -> ConfigDict:
    """Six steps of eight ECGs."""
    config = base("small", "demo")
    config.data.store = str(store)
    config.data.min_positives = 5
    config.model.update(width=32, depth=2, heads=2, projection=16, query_width=32, query_depth=1, query_heads=2)
    config.masking.max_leads = 2  # a step is compiled for each number of leads
    config.train.update(batch_size=8, steps=6, validate_every=3, validation_batches=1, log_every=1)
    config.optimizer.update(name="adamw", learning_rate=5e-4)  # compiles in half the time
    config.checkpoint.every = 2
    config.evaluation.update(probe_records=40, min_positives=2, lead_sets=("12", "II"))
    return config
