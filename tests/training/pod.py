"""One process of a small run: what the tests of many processes, of kills and of faults start.

    python -m tests.training.pod --store=STORE --folder=RUN --changes='{"train.steps": 12}'

It trains as the train command does, and ends with the digest of the parameters instead of a table of scores.
"""

import hashlib
import json
import os
import signal
from pathlib import Path

import jax
import numpy as np
from absl import flags

from kmerl_jax import command
from kmerl_jax.cohorts.store import Store
from kmerl_jax.processes import start
from kmerl_jax.text.lexical import LexicalEncoder
from kmerl_jax.training import loop, pairs, sharding
from kmerl_jax.training.methods import build_objective
from kmerl_jax.training.preemption import Preempted
from kmerl_jax.training.run import Run, flat
from kmerl_jax.training.texts import make_texts
from tests.small import small

_STORE = flags.DEFINE_string("store", None, "The store.")
_FOLDER = flags.DEFINE_string("folder", None, "The run directory.")
_CHANGES = flags.DEFINE_string("changes", "{}", "Fields of the config that differ, as JSON.")
_SIGNAL = flags.DEFINE_string("signal", None, "Sends itself NAME before step STEP, if it is process ID: NAME:STEP:ID.")


def main() -> None:
    """Trains, and says what came out."""
    config = small(_STORE.value)
    # Every topology compiles anew: as little as still has the parts of the large one.
    config.model.update(depth=1)
    config.masking.update(max_leads=1)
    config.train.update(steps=12, validate_every=12)
    config.update_from_flattened_dict(json.loads(_CHANGES.value))
    sharding._SMALLEST_SHARDED = 1024  # the small model has something to shard, too
    with start.joined(flat(config.to_dict())):
        _plan_signal()
        try:
            params = train(config)
        except Preempted as preempted:
            print(preempted, flush=True)
            return
        digest = hashlib.sha256()
        for leaf in jax.tree.leaves(params):
            digest.update(np.ascontiguousarray(leaf).tobytes())
        print(f"parameters {digest.hexdigest()}", flush=True)


def train(config) -> dict:
    """The parameters after the last step."""
    store, encoder = Store(config.data.store, config.data.unreadable == "skip"), LexicalEncoder()
    mesh = sharding.make_mesh(config.mesh.fsdp)
    run = Run(Path(_FOLDER.value), config)
    asked, examples, val = pairs.load(store, encoder, config)
    run.keep_entities(asked, store, encoder)
    objective = build_objective(config, make_texts(encoder, asked.entities), mesh.size)
    state = loop.fit(objective, examples, val, config, config.train.steps, run.path, mesh)
    return sharding.to_host(state["params"], mesh)


def _plan_signal() -> None:
    if _SIGNAL.value is None:
        return
    name, at, process = _SIGNAL.value.split(":")
    real = loop._Loop._train

    def train(self, step, *arguments):
        if step == int(at) and jax.process_index() == int(process):
            os.kill(os.getpid(), signal.Signals[f"SIG{name}"])
        real(self, step, *arguments)

    loop._Loop._train = train


if __name__ == "__main__":
    command.run(main, __doc__)
