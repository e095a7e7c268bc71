"""What a training run ends with: its scores beside a probe on a random encoder, as JSON, table and picture.

They are zero-shot, or, of what knows no names, a linear probe's.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from kmerl_jax.evaluation import files, metrics, pictures, scoring
from kmerl_jax.evaluation.task import Task

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


def score(
    task: Task,
    ask: Callable[[str], tuple[np.ndarray, np.ndarray]],
    probe: Callable[[str], np.ndarray],
    lead_sets: tuple[str, ...],
    way: str = "zero-shot",
) -> dict:
    """What a training run ends with: every class, with every set of leads, with 95 % intervals over patients.

    If 12 leads are among the sets, the blind spots are scored too, which may ask for further sets.

    Args:
        task: what is scored.
        ask: gives, for the name of a lead set, scores [R, C] and [R] bool (the record has any of the leads).
        probe: gives, for the name of a lead set, the scores [R, C] of the linear probe on a random encoder.
        lead_sets: names.
        way: what `ask` is, "zero-shot" or "linear probe".

    Returns:
        What the JSON file holds.
    """
    weights = metrics.patient_weights(task.scored.patients)
    results = {
        "way": way,
        "labels": task.title,
        "split": task.split,
        "records": len(task.scored.records),
        "patients": len(np.unique(task.scored.patients)),
        "unseen": [name for name in task.names if name in task.unseen],
        "lead_sets": {},
    }
    ask = functools.cache(ask)
    for leads in lead_sets:
        answers, seen = ask(leads)
        model, random = (scoring.score(task, one[None], seen, weights) for one in (answers, probe(leads)))
        results["lead_sets"][leads] = model | {
            "macro_auroc_unseen": _mean(model, results["unseen"]),
            "random_probe_macro_auroc": random["macro_auroc"],
            "random_probe_macro_auroc_unseen": _mean(random, results["unseen"]),
            "random_probe_per_class": random["per_class"],
        }
    results["blind_spots"] = _blind_spots(task, ask, weights) if "12" in lead_sets else []
    return results


def _mean(scored: dict, names: list[str]) -> float | None:
    values = [scored["per_class"][name]["auroc"] for name in names]
    values = [value for value in values if np.isfinite(value)]
    return float(np.mean(values)) if values else None


def _blind_spots(task: Task, ask: Callable[[str], tuple[np.ndarray, np.ndarray]], weights: np.ndarray) -> list[dict]:
    """For each named pair that can be scored: is the interval of the blind leads below that of all 12?"""
    rows = []
    for name, against, leads in BLIND_SPOTS:
        if not {name, against or name} <= set(task.names):
            continue
        n = task.names.index(name)
        labels = task.scored.labels
        positive = labels[:, n] == 1
        use = labels[:, n] >= 0
        if against:
            other = task.names.index(against)
            use &= positive != (labels[:, other] == 1)
        if not _enough(positive[use]):
            continue
        answers, seen = zip(ask(leads), ask("12"), strict=True)
        use &= seen[0] & seen[1]
        learnt = all(np.isfinite(one[use][:, [n, other] if against else [n]]).all() for one in answers)
        if not learnt or not _enough(positive[use]):
            continue
        blind, whole = (
            scoring.one_class((one[:, n] - one[:, other] if against else one[:, n])[use], positive[use], weights[use])
            for one in answers
        )
        below = blind["ci95"][1] < whole["ci95"][0]
        rows.append(
            {"class": name, "against": against, "leads": leads, "blind": blind, "12 leads": whole, "below": below}
        )
    return rows


def _enough(positive: np.ndarray) -> bool:
    return min(positive.sum(), (~positive).sum()) >= _BLIND_SPOT_POSITIVES


def save(results: dict, folder: Path) -> None:
    """Writes `zero_shot.json` and `.png`, or `linear_probe`, whole or not at all; the JSON last: it marks the end."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = results["way"].replace("-", "_").replace(" ", "_")
    files.write_picture(folder / f"{stem}.png", picture(results))
    files.write_json(folder / f"{stem}.json", results)


def title(results: dict) -> str:
    """What the numbers are of, in one line."""
    probed = " of a linear probe" if results.get("way") == "linear probe" else ""
    return (
        f"AUROC{probed} on {results['records']:,} {results['split']} records of {results['patients']:,} patients; "
        f"labels: {results['labels']}"
    )


def table(results: dict) -> str:
    """The results as text: one row a class, one column a set of leads, then the macros and the blind spots."""
    sets = results["lead_sets"]
    first = next(iter(sets.values()))["per_class"]
    width = max(len(name) for name in [*first, "macro, random encoder + linear probe"]) + 2
    heads = "".join(f"{_leads(name):>21}" for name in sets)
    lines = [title(results), f"{'class':{width}}{'positives':>10}{heads}"]
    for name in _order(results):
        mark = " *" if name in results["unseen"] else ""
        cells = "".join(f"{_cell(one['per_class'][name]):>21}" for one in sets.values())
        lines.append(f"{name + mark:{width}}{first[name]['positives']:>10}{cells}")
    macros = [("macro", "macro_auroc"), ("macro, random encoder + linear probe", "random_probe_macro_auroc")]
    if results["unseen"]:
        macros += [
            ("macro of classes marked *", "macro_auroc_unseen"),
            ("the same, random + probe", "random_probe_macro_auroc_unseen"),
        ]
    for name, key in macros:
        cells = "".join(f"{pictures.number(one[key]):>7}{'':14}" for one in sets.values())
        lines.append(f"{name:{width}}{'':>10}{'':7}{cells}".rstrip())
    if results["unseen"]:
        lines.append("* no training report and no query mentions this class; not in the first two macros")
    for name, one in sets.items():
        if one["records_without_these_leads"]:
            lines.append(
                f"{one['records_without_these_leads']} records have none of {_leads(name)} and are left out there"
            )
    if results["blind_spots"]:
        lines += ["", "what a lead cannot see (AUROC with its interval, against 12 leads):"]
        for spot in results["blind_spots"]:
            verdict = "below" if spot["below"] else "NOT below"
            lines.append(
                f"  {_spot(spot):{width + 22}} from {_leads(spot['leads']):12} {_cell(spot['blind'])}  {verdict}  "
                f"{_cell(spot['12 leads'])}"
            )
    return "\n".join(lines)


def last_line(results: dict) -> str:
    """The line that a training run ends with."""
    name, one = next(iter(results["lead_sets"].items()))
    return f"{results.get('way', 'zero-shot')} macro AUROC {pictures.number(one['macro_auroc'], 4)} ({_leads(name)})"


def _spot(spot: dict) -> str:
    return spot["class"] + (f" against {spot['against']}" if spot["against"] else "")


def _leads(name: str) -> str:
    if name == "12":
        return "12 leads"
    return f"{'leads' if ',' in name or '+' in name else 'lead'} {name}" if name[0] in "IVa" else f"{name} leads"


def _order(results: dict) -> list[str]:
    per_class = next(iter(results["lead_sets"].values()))["per_class"]
    auroc = {name: np.nan_to_num(one["auroc"] or 0) for name, one in per_class.items()}  # none without positives
    return sorted(per_class, key=lambda name: (name in results["unseen"], -auroc[name]))


def _cell(one: dict) -> str:
    return f"{pictures.number(one['auroc'])} ({pictures.number(one['ci95'][0])}-{pictures.number(one['ci95'][1])})"


def picture(results: dict) -> plt.Figure:
    """AUROC of each class with its 95 % interval, one colour a set of leads; macros as lines."""
    names, sets = _order(results), results["lead_sets"]
    first = next(iter(sets))
    positives = sets[first]["per_class"]
    labels = [f"{name}{' *' if name in results['unseen'] else ''} ({positives[name]['positives']})" for name in names]
    series = [(_leads(leads), one["per_class"], one["macro_auroc"]) for leads, one in sets.items()]
    figure, axes = pictures.intervals(series, names, labels)
    probe = sets[first]["random_probe_macro_auroc"]
    if probe is not None:
        label = f"random encoder + linear probe, {_leads(first)}: macro {probe:.3f}"
        axes.axvline(probe, color="0.4", lw=1, ls="--", label=label)
    axes.set_xlabel("AUROC, 95 % interval over patients (in brackets: positive records)", fontsize=9)
    axes.set_title(title(results).replace("; labels", "\nlabels"), fontsize=9, loc="left")
    figure.legend(loc="outside lower center", fontsize=8, ncol=2, frameon=False)
    if results["unseen"]:
        axes.set_xlabel(axes.get_xlabel() + "\n* kept out of every training report and query; not in the macros")
    return figure
