"""An evaluation: tasks, sets of leads and ways of scoring, put together into one set of results."""

import dataclasses
import functools
import resource
import time
from collections.abc import Callable, Mapping, Set
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np

import kmerl_jax
from kmerl_jax.cohorts.store import Store
from kmerl_jax.evaluation import (
    downstream,
    fine_tune,
    leakage,
    linear_probe,
    metrics,
    report,
    seen_unseen,
    transfer,
    zero_shot,
)
from kmerl_jax.evaluation.answers import ENCODERS, Answers
from kmerl_jax.evaluation.inference import View
from kmerl_jax.evaluation.pretrained import Pretrained
from kmerl_jax.evaluation.task import Task, own
from kmerl_jax.signals.leads import LIMB, STANDARD

KINDS = ("zero_shot", "linear_probe", "partial_leads", "seen_unseen", "fine_tune", "domain_transfer")
PROTOCOLS = ("strict", "merl")
_MERL_CPSC_SAMPLES = 2500  # the rest is zero


@dataclasses.dataclass(frozen=True)
class Options:
    """How tasks are scored.

    Attributes:
        kind: one of `KINDS`.
        protocol: one of `PROTOCOLS`.
        leads: name -> members of each set of leads.
        train_leads: what probes learn from; None: the leads that they are scored with.
        derive: computes the other limb leads of an ECG that shows two of them.
        scores: by name: of `zero_shot.SCORES`; (): as the model is asked.
        prompts: of each class's code, for the cosine; None takes the names.
        encoders: of `answers.ENCODERS` and `fine_tune.STARTS`.
        ratios: shares of the training records.
        seeds: probes of each share below 1.
        probe: how a probe is trained.
        fine_tune: how an encoder is trained on labels.
        rule: of `seen_unseen.RULES`.
        batch_size: ECGs of 12 leads scored at a time; None: as the run says.
        seed: of the random encoder.
    """

    kind: str
    protocol: str
    leads: Mapping[str, tuple[str, ...]]
    train_leads: tuple[str, ...] | None
    derive: bool
    scores: tuple[str, ...]
    prompts: Mapping[str, str] | None
    encoders: tuple[str, ...]
    ratios: tuple[float, ...]
    seeds: int
    probe: linear_probe.Settings
    fine_tune: fine_tune.Settings
    rule: str
    batch_size: int | None
    seed: int


def open_tasks(
    stores: list[Path], labels: list[str], published: Path | None, spelling: str
) -> dict[str, tuple[Store, Task]]:
    """The tasks of several labels, each with the store that it needs.

    Args:
        stores: folders.
        labels: of `downstream.LABELS`.
        published: MERL's files, or None.
        spelling: of class names, "raw" or "readable".

    Raises:
        FileNotFoundError: no store, or no published file.
        ValueError: unknown labels, two stores of one cohort, or labels of which there is no store.
    """
    opened = downstream.open_stores(stores)
    tasks = {}
    for label in labels:
        store = downstream.store_of(label, opened)
        if label in downstream.TASKS:
            tasks[label] = store, downstream.make(store, label, published, spelling)
        else:
            tasks[label] = store, own(store, (), None, 0)
    return tasks


def evaluate(
    run: Pretrained,
    tasks: Mapping[str, tuple[Store, Task]],
    options: Options,
    folder: Path,
    progress: Callable[[str], Callable[[int, int], None]],
    tell: Callable[[str, str, dict], None] = lambda label, leads, scored: None,
) -> dict:
    """Scores all tasks with all sets of leads.

    Args:
        run: the model.
        tasks: label -> store and task.
        options: how; of a domain transfer, every ordered pair of tasks is scored, else every task.
        folder: where trainings on labels keep their checkpoints.
        progress: makes, of what is done, a function of the ECGs done and the number in all.
        tell: called with the label, the name of the leads and what was scored, as soon as it was.

    Returns:
        What `results.json` holds.

    Raises:
        ValueError: scored patients were in the pretraining (strict), or a task lacks what the kind needs.
    """
    begun = time.perf_counter()
    batch_size, by_name = options.batch_size or run.config.evaluation.batch_size, _scores(run, options)
    options = dataclasses.replace(options, batch_size=batch_size, scores=by_name)
    tasks = {label: (store, _cut(label, task, options.protocol)) for label, (store, task) in tasks.items()}
    learning = options.kind not in ("zero_shot", "seen_unseen")
    pairs: dict[str, transfer.Pair] = {}
    passed_over: list[str] = []
    if options.kind == "domain_transfer":
        pairs, passed_over = transfer.pairs({label: task for label, (_, task) in tasks.items()})
    notes = leakage.check(run, tasks, options.protocol, learning) + passed_over
    for _, task in tasks.values():  # before anything is computed that an error would lose
        if learning and not pairs:
            task.check_learnable()
        if "cosine" in options.scores:
            zero_shot.texts(task, options.prompts)
    probing = options.kind in ("linear_probe", "partial_leads", "domain_transfer")
    beside = {"train", "val"} if probing else {"val"}
    answers = open_answers(run, tasks, beside, batch_size, options.seed, progress)
    domain = _domains(tasks, answers, options)
    of_pairs = {name: (tasks[pair.target][0], pair.task) for name, pair in pairs.items()}
    results = {}
    for label, (store, task) in (of_pairs or tasks).items():
        groups = seen_unseen.groups(run, task, options.rule) if options.kind == "seen_unseen" else {}
        pair = pairs.get(label)
        asked = tasks[pair.target][1] if pair else task
        results[label] = _describe(task, asked, options.prompts) | {"groups": groups, "lead_sets": {}}
        if pair:
            results[label] |= transfer.describe(pair, tasks[pair.source][1], asked)
        for leads, members in options.leads.items():
            before, computed = time.perf_counter(), _computing(answers)
            if pair:
                domains = domain(pair.source, members), domain(pair.target, members)
                how = options.scores, options.prompts, options.encoders, options.ratios
                scored = transfer.evaluate(pair, *domains, *how)
            else:
                view = _view(label, store, members, options)
                scored = _score(answers[store.path], task, view, options, groups, folder, progress)
            results[label]["lead_sets"][leads] = scored
            seconds = time.perf_counter() - before - (_computing(answers) - computed)
            what = f"{label}, {leads}: everything but the encoder's answers"
            answers[store.path].cost.append({"what": what, "ecgs": None, "seconds": seconds})
            tell(label, leads, scored)
    cost = [one for answer in answers.values() for one in answer.cost]
    whole = options.kind == "partial_leads" or next(iter(options.leads.values())) == STANDARD
    published = report.published(options.kind, options.ratios) if whole else {}
    return {
        "task": options.kind,
        "protocol": options.protocol,
        "not_comparable": [*notes, *_not_comparable(run, tasks, options)],
        "tasks": results,
        "mean_over_tasks": _means(results, run) if len(results) > 1 else {},
        "leads": dict(options.leads),
        "published": published,
        "cost": [*cost, {"what": "everything", "ecgs": None, "seconds": time.perf_counter() - begun}],
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "draws": metrics.DRAWS,
        **_origin(run, tasks, options),
    }


def _scores(run: Pretrained, options: Options) -> tuple[str, ...]:
    """How the model is asked by name.

    Raises:
        ValueError: it cannot be asked so, or prompts are given to what takes names.
    """
    if options.kind in ("linear_probe", "fine_tune"):
        if options.prompts:
            raise ValueError(f"--prompts are for scores by name, which {options.kind} has none of")
        return options.scores
    known = run.model.scores
    if not known and options.kind in ("partial_leads", "domain_transfer") and not (options.scores or options.prompts):
        return ()  # their probes remain
    if not known:
        raise ValueError(
            f"{run.path} is an ECG encoder alone, which cannot be asked by name; probe it (linear_probe, or "
            "partial_leads and domain_transfer without --scores and --prompts)"
        )
    chosen = options.scores or known[:1]
    if missing := [score for score in chosen if score not in known]:
        raise ValueError(f"--scores={missing[0]}: {run.path} can be asked by {', '.join(known)} alone")
    if options.prompts and "cosine" not in chosen:
        raise ValueError("--prompts are for the cosine; give --scores=cosine or --scores=query,cosine")
    return chosen


def open_answers(
    run: Pretrained, tasks: Mapping[str, tuple[Store, Task]], beside: Set[str], batch_size: int, seed: int, progress
) -> dict[Path, Answers]:
    """One for each store: what several tasks need is computed once.

    Args:
        run: the model.
        tasks: label -> store and task.
        beside: splits whose records are asked for too, beside those that are scored.
        batch_size: see `Answers`, as seed and progress.
    """
    answers = {}
    for store in {store.path: store for store, _ in tasks.values()}.values():
        own = [task for of, task in tasks.values() if of is store]
        names = tuple(sorted({name for task in own for name in task.names}))
        parts = [part for task in own for split, part in task.parts.items() if split in {task.split, *beside}]
        rows = np.unique(np.concatenate([part.rows for part in parts]))
        answers[store.path] = Answers(run, names, rows, batch_size, seed, progress)
    return answers


def _computing(answers: Mapping[Path, Answers]) -> float:
    """Seconds that encoders took so far."""
    return sum(one["seconds"] for answer in answers.values() for one in answer.cost if one["ecgs"])


def _cut(label: str, task: Task, protocol: str) -> Task:
    """A task with the windows of its records that the protocol shows."""
    if protocol != "merl" or label != "cpsc2018":
        return task
    return dataclasses.replace(task, parts={split: part.first_windows() for split, part in task.parts.items()})


def _view(label: str, store: Store, members: tuple[str, ...], options: Options) -> View:
    """What is shown of a task's windows, as the protocol has them."""
    cut = options.protocol == "merl" and label == "cpsc2018"
    return View(store, members, options.derive, _MERL_CPSC_SAMPLES if cut else None)


def _domains(
    tasks: Mapping[str, tuple[Store, Task]], answers: Mapping[Path, Answers], options: Options
) -> Callable[[str, tuple[str, ...]], transfer.Domain]:
    """The data set of a label, seen with some leads: one, however many pairs it is in."""

    @functools.cache
    def domain(label: str, members: tuple[str, ...]) -> transfer.Domain:
        store, task = tasks[label]
        view = _view(label, store, members, options)
        learnt = dataclasses.replace(view, leads=options.train_leads or members)
        how = options.protocol, options.seeds, options.probe
        return transfer.Domain(answers[store.path], task, view, learnt, *how)

    return domain


def _score(answers: Answers, task: Task, view: View, options: Options, groups, folder: Path, progress) -> dict:
    kind, protocol, scored = options.kind, options.protocol, {}
    if kind in ("zero_shot", "partial_leads", "seen_unseen"):
        scored |= zero_shot.evaluate(answers, task, view, protocol, options.scores, options.prompts, groups)
    if kind in ("linear_probe", "partial_leads"):
        learnt = dataclasses.replace(view, leads=options.train_leads or view.leads)
        frozen = [encoder for encoder in options.encoders if encoder in ENCODERS]
        scored["linear_probe"] = linear_probe.evaluate(
            answers, task, view, protocol, frozen, options.ratios, options.seeds, options.probe, learnt
        )
    starts = [encoder for encoder in options.encoders if encoder in fine_tune.STARTS]
    if starts and kind in ("linear_probe", "fine_tune"):
        scored["fine_tune"] = fine_tune.evaluate(
            answers.pretrained,
            task,
            view,
            protocol,
            starts,
            options.ratios,
            options.fine_tune,
            folder / "trained",
            batch_size=options.batch_size,
            progress=progress("scoring"),
        )
    return scored


def _means(results: dict, run: Pretrained) -> dict[str, dict[str, float]]:
    """Leads -> what was scored of all tasks -> the mean of their macro AUROCs, as the paper sums up its six."""
    values: dict[str, dict[str, list[float]]] = {}
    for about in results.values():
        for leads, scored in about["lead_sets"].items():
            for what, one in report.parts(scored, run.trained_on["texts_from_labels"]):
                values.setdefault(leads, {}).setdefault(what, []).append(one["macro_auroc"])
    return {
        leads: {what: float(np.mean(each)) for what, each in whats.items() if len(each) == len(results)}
        for leads, whats in values.items()
    }


def _describe(task: Task, asked: Task, prompts: Mapping[str, str] | None) -> dict:
    return {
        "title": task.title,
        "split": task.split,
        "records": len(task.scored.records),
        "patients": len(np.unique(task.scored.patients)),
        "splits": downstream.count(task.parts),
        "classes": dict(zip(task.names, task.codes, strict=True)),
        "prompts": {code: prompts[code] for code in asked.codes if code in prompts} if prompts else None,
        "checksum": task.checksum,
    }


def _not_comparable(run: Pretrained, tasks: Mapping[str, tuple[Store, Task]], options: Options) -> list[str]:
    """In what the results differ from what the paper and MERL report."""
    cohort, config = run.trained_on["cohort"], run.config
    notes = []
    if run.trained_on["texts_from_labels"] and run.model.scores:
        notes.append(
            f"the run's texts were made from labels of {cohort}: its query and cosine scores are not zero-shot scores"
        )
    if cohort != "mimic_iv_ecg":
        notes.append(f"pretrained on {cohort}, not on MIMIC-IV-ECG")
    if "MedCPT" not in config.text.encoder and run.model.scores:
        notes.append(f"names are read by the text encoder {config.text.encoder}, not by MedCPT")
    if config.data.normalization != "minmax":
        notes.append(f"signals are scaled by {config.data.normalization}; MERL takes each record's min-max")
    of_tasks: dict[str, list[str]] = {}
    for label, (store, task) in tasks.items():
        own = list(task.notes)
        rate = store.manifest["about"].get("rate", 500)
        if rate != 500:
            own.append(f"signals at {rate} Hz, resampled to 500 Hz")
        if options.protocol == "merl" and label == "cpsc2018":
            own.append("the first 2,500 samples of a record, then zeros, as MERL has them")
        if label not in downstream.TASKS:
            own.append("labels of its own, none of the paper's six tasks")
        if task.split == "val" and options.kind != "domain_transfer":
            own.append("there is no test split: validation records are scored")
        empty = int((~(task.scored.labels == 1).any(0)).sum())
        if empty and options.kind != "domain_transfer":
            own.append(f"{empty} of {len(task.names)} classes have no positive record and are in no macro")
        for note in own:
            of_tasks.setdefault(note, []).append(label)
    notes += [f"{', '.join(labels)}: {note}" for note, labels in of_tasks.items()]
    if options.protocol == "merl":
        notes.append("thresholds of F1 and accuracy are chosen on the test records, as MERL does: an oracle")
    elif options.kind in ("linear_probe", "partial_leads"):
        notes.append("published probes are the maximum over test epochs; these are chosen on validation records")
    if options.kind == "domain_transfer":
        notes.append("classes are matched by this ontology (below), not by MERL's own table: macros may be of others")
        notes.append("nobody is taken to be in two of the data sets: they have no common ids to tell by")
    if options.derive and any(len(set(leads) & set(LIMB)) >= 2 for leads in options.leads.values()):
        notes.append("limb leads that are not among the chosen ones were computed from two that are")
    if options.train_leads and set(options.encoders) & set(fine_tune.STARTS):
        notes.append("fine-tuned and supervised encoders learn from the leads that they are scored with")
    return notes


def _origin(run: Pretrained, tasks: Mapping[str, tuple[Store, Task]], options: Options) -> dict:
    stores = {store.manifest["cohort"]: store for store, _ in tasks.values()}
    return {
        "run": {
            "path": str(run.path),
            "name": f"{run.config.name}-{run.config.recipe}",
            "step": run.step,
            "checksum": run.checksum,
            "cohort": run.trained_on["cohort"],
            "texts_from_labels": run.trained_on["texts_from_labels"],
            "entities": len(run.trained_on["entities"]),
            "config": run.config.to_dict(),
        },
        "stores": {
            cohort: {"path": str(store.path), "checksum": store.checksum, "about": store.manifest["about"]}
            for cohort, store in stores.items()
        },
        "options": {
            name: value
            for name, value in dataclasses.asdict(options).items()
            if name not in ("kind", "protocol", "leads", "prompts")
        },
        "versions": {"kmerl_jax": kmerl_jax.__version__}
        | {name: version(name) for name in ("jax", "flax", "numpy", "scikit-learn", "optax")},
        "devices": f"{run.mesh.size} x {jax.devices()[0].device_kind}",
    }
