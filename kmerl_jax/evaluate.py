"""Scores a pretrained run on downstream tasks, with any subset of the leads.

    python -m kmerl_jax.evaluate --task=zero_shot --run=runs/mimic --store=data/ptb_xl --labels=ptb_xl.super
    python -m kmerl_jax.evaluate --task=zero_shot --run=runs/mimic --store=data/csn --labels=csn_clean --leads=I,II
    python -m kmerl_jax.evaluate --task=linear_probe --run=runs/mimic --store=data/csn --labels=csn_clean --splits=MERL
    python -m kmerl_jax.evaluate --task=partial_leads --run=runs/mimic --store=data/cpsc2018 --labels=cpsc2018
    python -m kmerl_jax.evaluate --task=domain_transfer --run=runs/mimic --store=data/ptb_xl,data/cpsc2018 \\
        --labels=ptb_xl.super,cpsc2018

Several labels, and the stores that they need, are separated by commas: all six tasks can be one command. It writes
report.md with pictures, and results.json. What a model says of a store is kept in the run directory and computed once.
"""

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
from absl import flags

from kmerl_jax import command
from kmerl_jax.evaluation import (
    classes,
    downstream,
    experiment,
    fine_tune,
    hub,
    linear_probe,
    pretrained,
    report,
    seen_unseen,
    zero_shot,
)
from kmerl_jax.evaluation.answers import ENCODERS
from kmerl_jax.evaluation.pictures import number
from kmerl_jax.processes import start
from kmerl_jax.signals.leads import CLINICAL, PROGRESSIVE, parse_leads
from kmerl_jax.training import sharding

_TASK = flags.DEFINE_enum("task", None, experiment.KINDS, "What is done.", required=True)
_RUN = flags.DEFINE_string("run", None, "Run directory, exported model, or USER/NAME on the Hub.", required=True)
_STORE = flags.DEFINE_list("store", None, "Store, as prepare makes it; or several.", required=True)
_LABELS = flags.DEFINE_list("labels", None, f"One or more of {', '.join(downstream.LABELS)}.", required=True)
_LEADS = flags.DEFINE_multi_string(
    "leads",
    None,
    "Leads that may be seen: I,II or the name of a set; given again, one set more. Default 12; of partial_leads, the "
    "paper's order of adding one lead at a time, and the sets that devices record.",
)
_PROTOCOL = flags.DEFINE_enum(
    "protocol", "strict", experiment.PROTOCOLS, "merl: thresholds and best epochs of the test set, CPSC2018 cut to 5 s."
)
_SPLITS = flags.DEFINE_string("splits", None, "A clone of MERL's repository: its published splits and labels are used.")
_NAMES = flags.DEFINE_enum("names", "raw", classes.NAMES, "Classes as the data sets spell them, or mended.")
_OUT = flags.DEFINE_string("out", None, "Folder of the results. Default in RUN/evaluation, named after what is asked.")
_CHECKPOINT = flags.DEFINE_enum("checkpoint", "last", pretrained.CHECKPOINTS, "Which of the run's checkpoints.")
_SCORES = flags.DEFINE_list(
    "scores", None, "By name: query (the query network), cosine (with the text), or both. Default: the model's own way."
)
_PROMPTS = flags.DEFINE_string("prompts", None, "JSON file, class code to prompt (MERL's CKEPE), for the cosine.")
_ENCODERS = flags.DEFINE_list(
    "encoders",
    None,
    "Of a probe: pretrained, random, or (they train for long) fine_tuned, supervised. Default pretrained,random; of "
    "fine_tune, fine_tuned,supervised.",
)
_RATIOS = flags.DEFINE_list(
    "ratios", None, "Shares of the training records. Default 0.01,0.1,1; of domain_transfer 1, as MERL has it."
)
_SEEDS = flags.DEFINE_integer("seeds", 3, "Probes of each share below 1.", lower_bound=1)
_EPOCHS = flags.DEFINE_integer("epochs", None, "Default 100 of a probe, 20 of fine-tuning.", lower_bound=1)
_RATE = flags.DEFINE_float("learning_rate", None, "Default 1e-3 of a probe, 2e-4 of fine-tuning.", lower_bound=0)
_TRAIN_LEADS = flags.DEFINE_string("train_leads", None, "Leads that probes learn from. Default: those they see.")
_DERIVE = flags.DEFINE_boolean("derive_limb_leads", False, "Of two limb leads the other four are computed and shown.")
_RULE = flags.DEFINE_enum("rule", "cosine", seen_unseen.RULES, "What makes a class a seen one (seen_unseen).")
_BATCH = flags.DEFINE_integer(
    "batch_size", None, "ECGs of 12 leads at once, a device. Default the run's.", lower_bound=1
)
_SEED = flags.DEFINE_integer("seed", 0, "Of the random encoder.", lower_bound=0)

log = command.log


def main() -> None:
    """The evaluation, on one process or many."""
    how = options()
    with start.joined(chosen()):
        evaluate(how)


def evaluate(how: experiment.Options) -> None:
    """Opens the run, the stores and their tasks, scores them, and writes the page."""
    if _OUT.value and Path(_OUT.value).is_file():
        raise ValueError(f"--out={_OUT.value} is a file; it names a folder")
    published = Path(_SPLITS.value) if _SPLITS.value else None
    tasks = experiment.open_tasks([Path(path) for path in _STORE.value], _LABELS.value, published, _NAMES.value)
    run = pretrained.load(hub.locate(_RUN.value), sharding.make_mesh(), _CHECKPOINT.value)
    log.info(f"{run.path}, step {run.step:,}: {_TASK.value}, protocol {_PROTOCOL.value}")
    for label, (_, task) in tasks.items():
        log.info(f"{label}: {len(task.scored.records):,} {task.split} records, {len(task.names)} classes. {task.title}")
    out = Path(_OUT.value) if _OUT.value else run.path / "evaluation" / name_of_results()
    results = experiment.evaluate(
        run, tasks, how, out, lambda what: command.Progress(what, "ECGs"), lambda *scored: tell(run, *scored)
    )
    for about in report.matched(results):
        groups = [f"{' + '.join(one)} = {' + '.join(other)}" for one, other in about["groups"]]
        head = f"{about['source']} = {about['target']}: {'; '.join(groups)}"
        log.info("\n  ".join([head, *report.left_out(about)]))
    if jax.process_index() == 0:
        report.save(results | {"flags": chosen()}, out)
    log.info("\n  ".join(["not comparable with published numbers:", *results["not_comparable"]]))
    log.info(f"report: {out / 'report.md'}")


def name_of_results() -> str:
    """A folder for what is asked for, so that no evaluation writes over another's results."""
    leads = [f"leads_{name.replace(',', '_')}" for name in _LEADS.value or ()]
    named = {_TASK.name, _RUN.name, _STORE.name, _LABELS.name, _LEADS.name, _PROTOCOL.name, _OUT.name, _BATCH.name}
    others = {name: value for name, value in chosen().items() if name not in named}
    digest = [hashlib.sha256(json.dumps(others).encode()).hexdigest()[:6]] if others else []
    return "-".join([_TASK.value, _PROTOCOL.value, "+".join(_LABELS.value), *leads, *digest])


def chosen() -> dict:
    """The flags of this command that have another value than their default."""
    own = flags.FLAGS.flags_by_module_dict()[sys.argv[0]]
    return {flag.name: flag.value for flag in own if flag.value != flag.default}


def options() -> experiment.Options:
    """What the flags say.

    Raises:
        ValueError: a value that cannot be.
    """
    kind, rate = _TASK.value, {} if _RATE.value is None else {"learning_rate": _RATE.value}
    length = {} if _EPOCHS.value is None else {"epochs": _EPOCHS.value}
    if _PROMPTS.value and _SCORES.value and "cosine" not in _SCORES.value:
        raise ValueError("--prompts are for the cosine; give --scores=cosine or --scores=query,cosine")
    usual = ["1"] if kind == "domain_transfer" else ["0.01", "0.1", "1"]
    ratios = usual if _RATIOS.value is None else _RATIOS.value
    known = {"fine_tune": fine_tune.STARTS, "linear_probe": (*ENCODERS, *fine_tune.STARTS)}.get(kind, ENCODERS)
    return experiment.Options(
        kind=kind,
        protocol=_PROTOCOL.value,
        leads=lead_sets(_LEADS.value, kind),
        train_leads=parse_leads(_TRAIN_LEADS.value) if _TRAIN_LEADS.value else None,
        derive=_DERIVE.value,
        scores=members("scores", _SCORES.value or (), zero_shot.SCORES),
        prompts=zero_shot.read_prompts(Path(_PROMPTS.value)) if _PROMPTS.value else None,
        encoders=members("encoders", _ENCODERS.value or known[:2], known),
        ratios=shares(ratios),
        seeds=_SEEDS.value,
        probe=linear_probe.Settings(**rate, **length),
        fine_tune=fine_tune.Settings(**rate, **length),
        rule=_RULE.value,
        batch_size=_BATCH.value,
        seed=_SEED.value,
    )


def lead_sets(chosen: list[str] | None, kind: str) -> dict[str, tuple[str, ...]]:
    """Name -> members of the sets that are scored.

    Raises:
        ValueError: an unknown lead.
    """
    if chosen:
        return {name: parse_leads(name) for name in chosen}
    if kind != "partial_leads":
        return {"12": parse_leads("12")}
    adding = {f"first {n}": parse_leads(",".join(PROGRESSIVE[:n])) for n in range(1, len(PROGRESSIVE) + 1)}
    return adding | {name: parse_leads(name) for name in CLINICAL}


def members(flag: str, values: Sequence[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """The values of a list flag.

    Raises:
        ValueError: one that is not known.
    """
    for value in values:
        if value not in known:
            raise ValueError(f"--{flag}: unknown {value!r}; there are {', '.join(known)}")
    return tuple(values)


def shares(values: list[str]) -> tuple[float, ...]:
    """Numbers above 0 and at most 1.

    Raises:
        ValueError: anything else.
    """
    try:
        numbers = tuple(float(value) for value in values)
    except ValueError:
        numbers = ()
    if not numbers or not all(0 < number <= 1 for number in numbers):
        raise ValueError(f"--ratios={','.join(values)}: shares are numbers above 0 and at most 1")
    return numbers


def tell(run: pretrained.Pretrained, label: str, leads: str, scored: dict) -> None:
    """Logs the macros of one task and set of leads."""
    for what, one in report.parts(scored, run.trained_on["texts_from_labels"]):
        low, high = one["macro_ci95"]
        log.info(f"{label}, {leads}: {what}: macro AUROC {number(one['macro_auroc'])} ({number(low)}-{number(high)})")


if __name__ == "__main__":
    command.run(main, __doc__)
