"""From scores of records to a table: every class with its interval, then the macros."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from kmerl_jax.evaluation import metrics
from kmerl_jax.evaluation.task import Task

FREQUENT = 10
"""A class with fewer positive records swings a macro; there is a second macro without these."""


def score(
    task: Task,
    scores: np.ndarray,
    seen: np.ndarray,
    weights: np.ndarray,
    thresholds: np.ndarray | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> dict:
    """Metrics of every class of a task's scored records, with 95 % intervals over patients.

    A class whose records are all alike is undefined: its entries are NaN, and it is in no macro.

    Args:
        task: what is scored.
        scores: [S, R, C], of S models that differ in their seed alone: values and draws are means over them. NaN for a
            class that a model could not learn.
        seen: [R] bool: the record has any of the leads; the others are left out.
        weights: [R, W] integers, bootstrap weights of the records.
        thresholds: [S, C], at which a record is called positive; None leaves out F1 and accuracy.
        groups: sets of class names with macros of their own.

    Returns:
        "macro_auroc", "macro_ci95" and the same of the other measures; "per_class": name -> its values; "undefined":
        names; "frequent": the macros of classes with at least `FREQUENT` positives; "groups"; and
        "records_without_these_leads".
    """
    labels = task.scored.labels
    per_class, draws, by_seed = {}, {}, {}
    for n, name in enumerate(task.names):
        use = seen & (labels[:, n] >= 0)
        positive = labels[use, n] == 1
        cuts = None if thresholds is None else thresholds[:, n]
        values, draws[name] = _one_class(scores[:, use, n], positive, weights[use], cuts)
        by_seed[name] = values
        per_class[name] = {"code": task.codes[n], "positives": int(positive.sum())}
        for measure, value in values.items():
            per_class[name] |= _named(measure, float(np.mean(value)), metrics.interval(draws[name][measure]))
        if cuts is not None:
            per_class[name]["threshold"] = float(np.mean(cuts))
    known = [name for name in task.names if name not in task.unseen]
    defined = [name for name in known if np.isfinite(per_class[name]["auroc"])]
    frequent = [name for name in defined if per_class[name]["positives"] >= FREQUENT]
    finite = {name for name in task.names if np.isfinite(per_class[name]["auroc"])}
    chosen = {group: [name for name in names if name in finite] for group, names in (groups or {}).items()}
    return {
        **_macros(defined, by_seed, draws),
        "classes": len(defined),
        "undefined": [name for name in known if name not in defined],
        "frequent": {"classes": len(frequent), **_macros(frequent, by_seed, draws)},
        "groups": {group: {"classes": len(names), **_macros(names, by_seed, draws)} for group, names in chosen.items()},
        "records_without_these_leads": int((~seen).sum()),
        "per_class": per_class,
    }


def macro(
    task: Task,
    scores: np.ndarray,
    seen: np.ndarray,
    weights: np.ndarray,
    thresholds: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    measure: str = "auroc",
) -> tuple[np.ndarray, np.ndarray]:
    """A macro with its bootstrap draws, for differences of models: of one task all have the same draws of patients.

    Args:
        task: as of `score`, as the next four.
        scores: [S, R, C].
        seen: [R] bool.
        weights: [R, W].
        thresholds: [S, C]; of F1.
        names: of the classes that count; None: all but those that no training report mentions.
        measure: "auroc" or "f1".

    Returns:
        [S], of each model; and [W], means over the models. NaN if no class is defined.
    """
    by_seed, draws = {}, {}
    for n, name in enumerate(task.names):
        if name in task.unseen if names is None else name not in names:
            continue
        use = seen & (task.scored.labels[:, n] >= 0)
        cuts = None if thresholds is None else thresholds[:, n]
        truth = task.scored.labels[use, n] == 1
        by_seed[name], draws[name] = _one_class(scores[:, use, n], truth, weights[use], cuts)
    classes, *means = _over_classes(measure, by_seed, by_seed, draws)
    return tuple(means) if classes else (np.full(len(scores), np.nan), np.full(weights.shape[1], np.nan))


def thresholds(scores: np.ndarray, labels: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The threshold of each class with the largest F1.

    Args:
        scores: [S, R, C], of the records on which thresholds are chosen.
        labels: [R, C] int8: 1, 0, -1 (not known).
        seen: [R] bool: the record has any of the leads.

    Returns:
        [S, C]; NaN where the records are all alike.
    """
    uses = [seen & (column >= 0) for column in labels.T]
    return np.array(
        [[metrics.best_threshold(one[use, n], labels[use, n] == 1) for n, use in enumerate(uses)] for one in scores]
    )


def one_class(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> dict:
    """AUROC of one class with its interval: "auroc", "ci95", "positives"."""
    draws, _ = metrics.ranking_draws(scores, positive, weights)
    return {
        "auroc": metrics.auroc(scores, positive),
        "ci95": metrics.interval(draws),
        "positives": int(positive.sum()),
    }


def _one_class(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray, cuts) -> tuple[dict, dict]:
    """Values [S] and draws [W] of each measure."""
    values: dict[str, list] = {}
    draws: dict[str, list] = {}
    for n, one in enumerate(scores):
        learnt = np.isfinite(one).all()
        one, truth = (one, positive) if learnt else (np.zeros_like(one), np.zeros_like(positive))
        results = {"auroc": metrics.auroc(one, truth), "auprc": metrics.auprc(one, truth)}
        drawn = dict(zip(("auroc", "auprc"), metrics.ranking_draws(one, truth, weights), strict=True))
        if cuts is not None:
            usable = np.isfinite(cuts[n]) and np.isfinite(results["auroc"])
            once = np.ones((len(one), 1), int)
            for names, counts in ((results, once), (drawn, weights)):
                pair = metrics.decision_draws(one >= cuts[n], truth, counts)
                names |= dict(zip(("f1", "accuracy"), (np.where(usable, x, np.nan) for x in pair), strict=True))
        for name in results:
            values.setdefault(name, []).append(float(np.squeeze(results[name])))
            draws.setdefault(name, []).append(drawn[name])
    return {name: np.array(x) for name, x in values.items()}, {name: np.mean(x, axis=0) for name, x in draws.items()}


def _named(measure: str, value: float, interval: list[float]) -> dict:
    return {measure: value, "ci95" if measure == "auroc" else f"{measure}_ci95": interval}


def _macros(names: list[str], by_seed: dict, draws: dict) -> dict:
    """Means over classes; where a measure of a class is undefined (no threshold), the class is not in that mean."""
    if not names:
        return {"macro_auroc": float("nan"), "macro_ci95": [float("nan")] * 2}
    macros = {}
    for measure in by_seed[names[0]]:
        classes, seeds, mean = _over_classes(measure, names, by_seed, draws)
        if not classes:
            continue
        value = _named(measure, float(seeds.mean()), metrics.interval(mean))
        if len(seeds) > 1:
            value |= {f"{measure}_seeds": seeds.tolist(), f"{measure}_sd": float(seeds.std(ddof=1))}
        if measure != "auroc" and classes < len(names):
            value[f"{measure}_classes"] = classes
        macros |= {f"macro_{name}": part for name, part in value.items()}
    return macros


def _over_classes(measure: str, names: Iterable[str], by_seed: dict, draws: dict) -> tuple[int, np.ndarray, np.ndarray]:
    """Of how many classes a measure is defined, and its means over them: of each model [S], of each draw [W]."""
    there = [name for name in names if np.isfinite(by_seed[name][measure]).all()]
    if not there:
        return 0, np.empty(0), np.empty(0)
    drawn = np.array([draws[name][measure] for name in there])
    # In a draw without any record of a rare class it keeps its value: a mean over the others is of something else. If
    # no draw has both kinds, as of a single patient, nothing tells how far the value would move.
    whole = np.array([by_seed[name][measure].mean() for name in there])[:, None]
    nowhere = ~np.isfinite(drawn).any(1, keepdims=True)
    seeds = np.mean([by_seed[name][measure] for name in there], axis=0)
    return len(there), seeds, np.where(np.isfinite(drawn) | nowhere, drawn, whole).mean(0)
