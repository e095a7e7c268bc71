"""Pretrains K-MERL, MERL or SimCLR on a prepared store, then scores it on held-out patients.

    python -m kmerl_jax.train --config=configs/vit_tiny.py
    python -m kmerl_jax.train --config=configs/vit_tiny.py:ptb_xl --config.data.store=data/ptb_xl
    python -m kmerl_jax.train --config=configs/vit_base.py:mimic --workdir=runs/first --config.seed=1
    python -m kmerl_jax.train --config=configs/vit_base.py:mimic --dry_run --devices=64 --device_kind=h100

After the colon stands the recipe: demo (the default: a simulated cohort that makes itself), ptb_xl or mimic. Any field
of the config can be given as --config.FIELD=VALUE; kmerl_jax/config.py lists them with their meaning. The same command
again goes on from the last checkpoint; a finished run prints its results.
"""

from pathlib import Path

import jax
import numpy as np
from absl import flags
from ml_collections import config_flags

from kmerl_jax import command
from kmerl_jax.cohorts.store import Store
from kmerl_jax.evaluation import end_of_run, inference, linear_probe
from kmerl_jax.evaluation.task import own
from kmerl_jax.processes import start, together
from kmerl_jax.signals.leads import parse_leads
from kmerl_jax.text import encoder as text_encoders
from kmerl_jax.training import loop, pairs, plan, sharding
from kmerl_jax.training.goodput import Goodput
from kmerl_jax.training.methods import build_objective, check, product_dtype, unread
from kmerl_jax.training.preemption import Preempted
from kmerl_jax.training.run import Run, flat
from kmerl_jax.training.texts import make_texts

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, with an optional :RECIPE.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Run directory. Default runs/CONFIG-RECIPE.")
_PREEMPTED_STATUS = flags.DEFINE_integer(
    "preempted_status", 0, "Exit status after a SIGTERM, once all is saved; Kubernetes needs another than 0 to go on."
)
_DRY_RUN = flags.DEFINE_boolean("dry_run", False, "Only compile, for devices that need not be here; say what it takes.")
_DEVICES = flags.DEFINE_integer("devices", 1, "Devices of a dry run.", lower_bound=1)
_DEVICE_KIND = flags.DEFINE_string("device_kind", "h100", "Of a dry run: h100, h200, a100 or v5e.")

log = command.log


def main() -> int:
    """The main job, on one process or many; returns the exit status."""
    config = _CONFIG.value
    if config is None:
        raise ValueError("--config is missing, for example --config=configs/vit_tiny.py")
    if _DRY_RUN.value:
        plan.provide_devices(_DEVICES.value)
        log.info(plan.describe(plan.plan(config, _DEVICES.value, _DEVICE_KIND.value)))
        return 0
    with start.joined(flat(config.to_dict()) | {"workdir": _WORKDIR.value}):
        try:
            train(config)
        except Preempted as preempted:
            log.info(f"{preempted}; the same command goes on from there")
            return _PREEMPTED_STATUS.value
    return 0


def train(config) -> None:
    """From a config to a table of results."""
    check(config)  # what cannot be is said before any work is done
    mesh = sharding.make_mesh(config.mesh.fsdp)
    sharding.check_batch_size(config.train.batch_size, mesh, config.train.microbatches)
    for name in unread(config) if jax.process_index() == 0 else ():
        log.warning(f"{name} is given, but a run of method={config.method} with this config does not look at it")
    encoder = text_encoders.load(config.text, product_dtype(config.train.dtype), config.train.remat)
    store = pairs.open_store(config, command.Progress)
    with together.first_process_first():
        run = Run(Path(_WORKDIR.value or f"runs/{config.name}-{config.recipe}"), config)
        run.claim()
    goodput = Goodput(run.path)

    asked, examples, val = pairs.load(store, encoder, config, command.Progress("embedding", "reports"))
    run.keep_entities(asked, store, encoder)
    run.keep_patients(store.population, store.table["patient"].to_numpy()[examples.rows])
    steps = config.train.steps or -(-config.train.epochs * len(examples.rows) // config.train.batch_size)

    results = run.results_of(steps)
    if not together.everyone(results is not None):
        objective = build_objective(config, make_texts(encoder, asked.entities), mesh.size)
        params = loop.fit(objective, examples, val, config, steps, run.path, mesh, goodput)["params"]
        with goodput.during("evaluation"):
            if encoder.trainable:
                encoder = encoder.trained(sharding.to_host(params["text"], mesh))
                run.keep_entities(asked, store, encoder)
            results = evaluate(config, store, asked, encoder, objective, params, mesh) | {"step": steps}
        if jax.process_index() == 0:
            end_of_run.save(results, run.results)
        goodput.save()
        log.info(goodput.summary())
    log.info(end_of_run.table(results))
    log.info(f"results: {run.results}")
    log.info(end_of_run.last_line(results))


def evaluate(config, store: Store, asked, encoder, objective, params: dict, mesh) -> dict:
    """Zero-shot scores of every lead set, beside a linear probe on a random encoder of the same shape.

    What knows no names is probed in its place.
    """
    named = bool(objective.model.scores)
    task = own(store, asked.entities, asked.labels, config.evaluation.min_positives, learnt_from=named)
    train, scored = task.parts["train"], task.scored
    log.info(f"scoring {len(task.names)} classes on {len(scored.records):,} {task.split} records")
    rng = np.random.default_rng(config.seed)
    count = min(config.evaluation.probe_records, len(train.rows))
    chosen = np.sort(rng.choice(len(train.rows), count, replace=False))
    random = inference.random_encoder(objective.model, config.seed, objective.form)
    names = encoder.embed(task.names) if named else None

    def over(what: str, leads: str, rows: np.ndarray) -> dict:
        view = inference.View(store, parse_leads(leads))
        progress = command.Progress(f"{what} {leads}", "ECGs")
        return {"view": view, "rows": rows, "batch_size": config.evaluation.batch_size, "progress": progress}

    def ask(leads: str):
        how = over("scoring", leads, scored.rows)
        out = inference.describe(objective.model, params, names, objective.form, mesh, **how)
        return scored.average(out["logits"], out["seen"])

    def probe(leads: str, what: str = "random encoder", encoder: dict = random):
        how = over(what, leads, np.concatenate([train.rows[chosen], scored.rows]))
        out = inference.pooled(objective.model, encoder, objective.form, mesh, **how)
        features, seen = out["pooled"][:count], out["seen"][:count]
        test, there = scored.average(out["pooled"][count:], out["seen"][count:])
        labels = train.labels[train.record[chosen]]
        return linear_probe.logistic_regression(features[seen], labels[seen], test), there

    asked = ask if named else lambda leads: probe(leads, "encoder", params)
    way = "zero-shot" if named else "linear probe"
    return end_of_run.score(task, asked, lambda leads: probe(leads)[0], config.evaluation.lead_sets, way)


if __name__ == "__main__":
    command.run(main, __doc__)
