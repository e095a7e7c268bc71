"""Zero-shot classification: the names of classes are put to the query network (paper, appendix D.3)."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from kmerl_jax.cohorts.store import Store
from kmerl_jax.evaluation import metrics

# What a set of leads cannot see and 12 leads can: (class, against, leads). Against None, all other records are the
# negatives. Against another class, the records of that class are, and the score is the difference of the two answers:
# which of the two is it? Infarct walls: Thygesen et al., Fourth universal
# definition of myocardial infarction (2018); the frontal axis is defined by limb leads alone: Surawicz et al.,
# AHA/ACCF/HRS recommendations, part III (2009).
BLIND_SPOTS = (
    ("anterior myocardial infarction", None, "II"),
    ("anterior myocardial infarction", None, "I"),
    ("inferior myocardial infarction", None, "I"),
    ("inferior myocardial infarction", None, "chest"),
    ("right axis deviation", None, "II"),
    ("right axis deviation", "left axis deviation", "chest"),
)
_BLIND_SPOT_POSITIVES = 20


@dataclasses.dataclass(frozen=True)
class Task:
    """What is scored, on which records.

    Attributes:
        title: where the labels are from, and what the score therefore is not.
        split: of the scored records.
        rows: [N] entries of the store.
        names: C class names, as they are put to the model.
        labels: [N, C] int8: 1, 0, -1 (not known).
        train_rows: [M] entries of the training split.
        train_labels: [M, C] int8.
        unseen: names that no training report mentions.
    """

    title: str
    split: str
    rows: np.ndarray
    names: tuple[str, ...]
    labels: np.ndarray
    train_rows: np.ndarray
    train_labels: np.ndarray
    unseen: tuple[str, ...]


def make_task(store: Store, entities: tuple[str, ...], entity_labels: np.ndarray, min_positives: int) -> Task:
    """The classes that a store's held-out records can score: its own labels, or mined ones if it has none.

    Args:
        store: the store.
        entities: Q names of the training queries.
        entity_labels: [N, Q] int8, mined from every entry's report.
        min_positives: classes with fewer positives, or fewer negatives, are left out.

    Raises:
        ValueError: no held-out record, or no class has enough positives.
    """
    split = "test" if len(store.rows("test")) else "val"
    rows, train_rows = store.rows(split), store.rows("train")
    if len(rows) == 0:
        raise ValueError(f"store {store.path} has no held-out record to score (splits val and test are empty)")
    manifest = store.manifest
    if store.label_names:
        names, labels, title = (
            tuple(store.label_names.values()),
            store.labels().astype(np.int8),
            manifest["labels_title"],
        )
        if manifest["about"].get("text") == "statements":
            title += ": trained on texts made from the labels; not zero-shot in the paper's sense"
    else:
        names, labels, title = (
            entities,
            entity_labels,
            f"{manifest['labels_title']}: not comparable with the paper's six tasks",
        )
    scored = labels[rows]
    enough = [
        n for n in range(len(names)) if min((scored[:, n] == 1).sum(), (scored[:, n] == 0).sum()) >= min_positives
    ]
    if not enough:
        raise ValueError(f"no class has {min_positives} positives among {len(rows)} {split} records")
    return Task(
        title,
        split,
        rows,
        tuple(names[n] for n in enough),
        scored[:, enough],
        train_rows,
        labels[train_rows][:, enough],
        tuple(store.label_names[code] for code in manifest["held_out"]),
    )


def score(
    task: Task,
    patients: np.ndarray,
    ask: Callable[[str], tuple[np.ndarray, np.ndarray]],
    probe: Callable[[str], np.ndarray],
    lead_sets: tuple[str, ...],
) -> dict:
    """AUROC of every class, with every set of leads, with 95 % intervals over patients.

    If 12 leads are among the sets, the blind spots are scored too, which may ask for further sets.

    Args:
        task: what is scored.
        patients: [N] ids of the scored records.
        ask: gives, for the name of a lead set, scores [N, C] and [N] bool (the ECG has any of the leads).
        probe: gives, for the name of a lead set, the scores [N, C] of the linear probe on a random encoder.
        lead_sets: names.

    Returns:
        What `results/zero_shot.json` holds.
    """
    weights = metrics.patient_weights(patients)
    results = {
        "labels": task.title,
        "split": task.split,
        "records": len(task.rows),
        "patients": len(np.unique(patients)),
        "unseen": [name for name in task.names if name in task.unseen],
        "lead_sets": {},
    }
    ask = functools.cache(ask)
    for leads in lead_sets:
        scores, seen = ask(leads)
        model, draws = _per_class(task, scores, seen, weights)
        random, _ = _per_class(task, probe(leads), seen, weights)
        known = [name for name in task.names if name not in task.unseen and np.isfinite(model[name]["auroc"])]
        unknown = [name for name in task.names if name in task.unseen and np.isfinite(model[name]["auroc"])]
        results["lead_sets"][leads] = {
            "macro_auroc": _mean(model[name]["auroc"] for name in known),
            "macro_ci95": metrics.interval(np.mean([draws[name] for name in known], axis=0)),
            "macro_auroc_unseen": _mean(model[name]["auroc"] for name in unknown),
            "random_probe_macro_auroc": _mean(random[name]["auroc"] for name in known),
            "random_probe_macro_auroc_unseen": _mean(random[name]["auroc"] for name in unknown),
            "records_without_these_leads": int((~seen).sum()),
            "per_class": model,
            "random_probe_per_class": random,
        }
    results["blind_spots"] = _blind_spots(task, ask, weights) if "12" in lead_sets else []
    return results


def _mean(values) -> float | None:
    values = [value for value in values if np.isfinite(value)]
    return float(np.mean(values)) if values else None


def _per_class(task: Task, scores: np.ndarray, seen: np.ndarray, weights: np.ndarray) -> tuple[dict, dict]:
    table, draws = {}, {}
    for n, name in enumerate(task.names):
        use = seen & (task.labels[:, n] >= 0)
        table[name], draws[name] = _one_class(scores[use, n], task.labels[use, n] == 1, weights[:, use])
    return table, draws


def _one_class(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[dict, np.ndarray]:
    if not np.isfinite(scores).all():  # a probe of a class that its training records did not have
        scores = np.zeros_like(scores)
        labels = np.zeros_like(labels)
    draws = metrics.auroc_draws(scores, labels, weights)
    entry = {
        "auroc": metrics.auroc(scores, labels),
        "ci95": metrics.interval(draws),
        "positives": int(labels.sum()),
    }
    return entry, draws


def _blind_spots(task: Task, ask: Callable[[str], tuple[np.ndarray, np.ndarray]], weights: np.ndarray) -> list[dict]:
    """For each named pair that can be scored: is the interval of the blind leads below that of all 12?"""
    rows = []
    for name, against, leads in BLIND_SPOTS:
        if not {name, against or name} <= set(task.names):
            continue
        n = task.names.index(name)
        positive = task.labels[:, n] == 1
        use = task.labels[:, n] >= 0
        if against:
            other = task.names.index(against)
            use &= positive != (task.labels[:, other] == 1)
        if not _enough(positive[use]):
            continue
        scores, seen = zip(ask(leads), ask("12"), strict=True)
        use &= seen[0] & seen[1]
        if not _enough(positive[use]):
            continue
        blind, whole = (
            _one_class((one[:, n] - one[:, other] if against else one[:, n])[use], positive[use], weights[:, use])[0]
            for one in scores
        )
        below = blind["ci95"][1] < whole["ci95"][0]
        rows.append(
            {"class": name, "against": against, "leads": leads, "blind": blind, "12 leads": whole, "below": below}
        )
    return rows


def _enough(positive: np.ndarray) -> bool:
    return min(positive.sum(), (~positive).sum()) >= _BLIND_SPOT_POSITIVES
