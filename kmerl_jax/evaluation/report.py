"""An evaluation as one page to read: what is not comparable first, then tables and pictures."""

import functools
import importlib.resources
import math
import textwrap
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from kmerl_jax.evaluation import files, overlap, pictures
from kmerl_jax.evaluation.linear_probe import share
from kmerl_jax.evaluation.pictures import number
from kmerl_jax.evaluation.scoring import FREQUENT
from kmerl_jax.signals.leads import PROGRESSIVE

_TASKS_OF_THE_PAPER = {"ptb_xl.super", "ptb_xl.sub", "ptb_xl.form", "ptb_xl.rhythm", "cpsc2018", "csn"}
_HEADS = {
    "zero_shot": "Scores by class name",
    "linear_probe": "Linear probes",
    "partial_leads": "Partial leads",
    "seen_unseen": "Seen and unseen classes",
    "fine_tune": "Fine-tuning",
    "domain_transfer": "Domain transfer",
}
_LEARNT_ON = {"transfer": "transferred ", "in_domain": "in-domain "}
_ENCODERS = {
    "pretrained": "probe, pretrained encoder",
    "random": "probe, random encoder",
    "fine_tuned": "fine-tuned encoder",
    "supervised": "supervised from scratch",
}


def save(results: dict, folder: Path) -> None:
    """Writes `results.json`, then the pictures and `report.md`.

    Args:
        results: of `experiment.evaluate`.
        folder: made if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / "results.json", results)
    shown = []
    for name, figure, caption in _pictures(results):
        files.write_picture(folder / f"{name}.png", figure)
        shown += [f"![{caption}]({name}.png)", ""]
    page = [*_opening(results), *_macros(results), *shown, *_groups(results), *_overlaps(results)]
    page += [*_best_epochs(results), *_classes(results), *_published_table(results), *_cost(results), *_origin(results)]
    files.write_text(folder / "report.md", "\n".join(page))


def parts(scored: dict, texts_from_labels: bool) -> Iterator[tuple[str, dict]]:
    """(what it is, macros and classes) of everything that was scored of one task with one set of leads.

    Args:
        scored: of `experiment.evaluate`.
        texts_from_labels: a score by name is zero-shot only if the texts of the run were not made from labels.
    """
    for kind, one in scored.items():
        if kind in ("query", "cosine"):
            yield f"{kind} score, texts made from labels" if texts_from_labels else f"zero-shot, {kind}", one
            continue
        for encoder, shares in one.items():
            for part, result in shares.items():
                yield f"{_LEARNT_ON.get(kind, '')}{_ENCODERS[encoder]}, {part}", result


def published(kind: str, ratios: Sequence[float]) -> dict[str, dict[str, float]]:
    """What others published for the same kind of score: series -> task -> macro AUROC.

    Args:
        kind: of the evaluation.
        ratios: shares of the training records that were probed.
    """
    table = _published().get(kind, [])
    named = [(one["what"], {name: value for name, value in one.items() if name != "what"}) for one in table]
    if kind != "linear_probe":
        return {what: {task: value / 100 for task, value in values.items()} for what, values in named}
    series = {
        f"{what}, {share(ratio)}": {task: values[task][place] / 100 for task in values}
        for what, values in named
        for place, ratio in enumerate((0.01, 0.1, 1.0))
        if ratio in ratios
    }
    return {what: values | {"mean": sum(values.values()) / len(values)} for what, values in series.items()}


@functools.cache
def _published() -> dict:
    return tomllib.loads(importlib.resources.files(__package__).joinpath("published.toml").read_text("utf-8"))


def _all(results: dict) -> Iterator[tuple[str, str, str, dict]]:
    for task, about in results["tasks"].items():
        for leads, scored in about["lead_sets"].items():
            for what, one in parts(scored, results["run"]["texts_from_labels"]):
                yield task, leads, what, one


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def _interval(one: dict, name: str = "auroc", interval: str = "ci95") -> str:
    low, high = one[interval]
    return f"{number(one[name])} ({number(low)}-{number(high)})"


def _macro(one: dict) -> str:
    spread = f" ±{number(one['macro_auroc_sd'])}" if "macro_auroc_sd" in one else ""
    return _interval(one, "macro_auroc", "macro_ci95") + spread


def _measure(one: dict, name: str) -> str:
    fewer = one.get(f"macro_{name}_classes")
    return number(one.get(f"macro_{name}")) + (f" ({fewer} classes)" if fewer else "")


def _opening(results: dict) -> list[str]:
    run = results["run"]
    lines = [f"# {_HEADS[results['task']]}: {run['name']}, step {run['step']:,}, protocol {results['protocol']}", ""]
    lines += ["## What is not comparable", ""]
    return [*lines, *(f"- {note}" for note in results["not_comparable"]), ""]


def _macros(results: dict) -> list[str]:
    lines = ["## Macro averages", ""]
    for task, about in results["tasks"].items():
        lines.append(
            f"- `{task}`: {about['title']}. Scored: {about['records']:,} {about['split']} records of "
            f"{about['patients']:,} patients (train / val / test: {about['splits']})."
        )
    origins = dict.fromkeys(str(one["threshold_from"]) for *_, one in _all(results) if one["threshold_from"])
    chosen = " or ".join(origins) + " records" if origins else "validation records, of which there are none"
    lines += [
        f"- In brackets: 95 % intervals, {results['draws']:,} draws of patients. After ±: deviation over seeds.",
        "- Of a macro, a class keeps its value in the draws that happen to hold no positive, or no negative, of it.",
        f"- F1 and accuracy: at each class's threshold of largest F1 on the {chosen}.",
    ]
    if results["task"] == "partial_leads":
        lines.append(f"- `first n` leads: of {', '.join(PROGRESSIVE)}, the paper's order.")
    if any(about["prompts"] for about in results["tasks"].values()):
        lines.append("- The cosine is with the prompts that are in `results.json`, not with the names.")
    lines.append("")
    heads = ["task", "leads", "what", "AUROC", "classes", f"AUROC, classes of {FREQUENT}+ positives", "AUPRC", "F1"]
    rows = [
        [
            task,
            leads,
            what,
            _macro(one),
            f"{one['classes']}" + (f", {len(one['undefined'])} undefined" if one["undefined"] else ""),
            f"{_macro(one['frequent'])}, {one['frequent']['classes']} classes",
            *(_measure(one, measure) for measure in ("auprc", "f1", "accuracy")),
        ]
        for task, leads, what, one in _all(results)
    ]
    for leads, whats in results["mean_over_tasks"].items():
        first = f"mean of {len(results['tasks'])}"
        rows += [[first, leads, what, number(mean), *[""] * 5] for what, mean in whats.items()]
    lines += _table([*heads, "accuracy"], rows)
    missing = [
        f"- `{task}`, {leads}: {one['records_without_these_leads']} records have none of these leads and are left out."
        for task, leads, what, one in _all(results)
        if one["records_without_these_leads"]
    ]
    return [*lines, *dict.fromkeys(missing), ""]


def _groups(results: dict) -> list[str]:
    if results["task"] != "seen_unseen":
        return []
    lines = ["## Seen and unseen", "", f"A class is seen by the rule `{results['options']['rule']}`.", ""]
    for task, about in results["tasks"].items():
        lines += [f"- `{task}`, {group}: {', '.join(names) or 'none'}" for group, names in about["groups"].items()]
    rows = [
        [task, leads, what, group, str(part["classes"]), _macro(part), number(part.get("macro_f1"))]
        for task, leads, what, one in _all(results)
        for group, part in one["groups"].items()
    ]
    return [*lines, "", *_table(["task", "leads", "what", "group", "classes", "AUROC", "F1"], rows)]


def matched(results: dict) -> list[dict]:
    """Of a domain transfer, one of the two directions of each two tasks: what goes with what is the same from both."""
    pairs: dict[frozenset, dict] = {}
    for about in results["tasks"].values():
        if "links" in about:
            pairs.setdefault(frozenset((about["source"], about["target"])), about)
    return list(pairs.values())


def left_out(about: dict) -> list[str]:
    """The classes of two tasks that are not matched, a line each.

    Args:
        about: of `matched`.
    """
    lines = []
    for label, codes in about["left_out"].items():
        said = [f"{code} (wider than {', '.join(parts)})" if parts else code for code, parts in codes.items()]
        lines.append(f"left out of {label}: {', '.join(said) or 'nothing'}")
    return lines


def _overlaps(results: dict) -> list[str]:
    if not (pairs := matched(results)):
        return []
    lines = [
        "## Which classes go together",
        "",
        "By the entities that they cover, and the superclasses of these in the ontology: = the same, > the left one is",
        "wider, < the right one is. Classes that go with one class are scored as one: a record is positive if any of",
        "them is, and its score is the highest of theirs.",
        "",
    ]
    for about in pairs:
        left, right = about["source"], about["target"]
        rows = [
            [
                _called(link["source"], about["names"][left]),
                link["relation"],
                _called(link["target"], about["names"][right]),
                "; ".join(overlap.describe(entity) for entity in link["by"]),
            ]
            for link in about["links"]
        ]
        lines += [*_table([left, "", right, "by"], rows), *(f"- {line}" for line in left_out(about)), ""]
    return lines


def _called(code: str, names: dict[str, str]) -> str:
    return code if names[code] == code else f"{code}: {names[code]}"


def _best_epochs(results: dict) -> list[str]:
    rows = [
        [task, leads, what, number(sum(best) / len(best))]
        for task, leads, what, one in _all(results)
        if (best := one.get("maximum_over_test_epochs"))
    ]
    if not rows:
        return []
    lines = [
        "## Maximum over test epochs",
        "",
        "MERL's way to report a probe: the best epoch *on the test records*.",
        "",
    ]
    return [*lines, *_table(["task", "leads", "what", "macro AUROC"], rows)]


def _classes(results: dict) -> list[str]:
    lines = ["## Classes", ""]
    for task, about in results["tasks"].items():
        leads = next(iter(about["lead_sets"]))
        columns = [(what, one) for of, with_leads, what, one in _all(results) if (of, with_leads) == (task, leads)]
        rows = []
        for name, code in about["classes"].items():
            values = [one["per_class"][name] for _, one in columns]
            cells = [
                "undefined" if name in one["undefined"] else _interval(one["per_class"][name]) for _, one in columns
            ]
            learnt = [str(about["learnt_positives"][name])] if "links" in about else []
            rows.append([code, name, *learnt, str(values[0]["positives"]), *cells])
        heads = ["class", "asked as", "positives"]
        if "links" in about:
            heads = [about["source"], about["target"], "positives learnt from", "positives scored"]
        lines += [f"### {task}, {leads}", ""]
        lines += _table([*heads, *(what for what, _ in columns)], rows)
    return lines


def _published_table(results: dict) -> list[str]:
    if not results["published"]:
        return []
    tasks = dict.fromkeys(task for values in results["published"].values() for task in values)
    rows = [
        [what, *(f"{100 * values[task]:.2f}" if task in values else "" for task in tasks)]
        for what, values in results["published"].items()
    ]
    return [
        "## Published",
        "",
        "Macro AUROC in per cent, as texts and tables give it.",
        "",
        *_table(["", *tasks], rows),
    ]


def _cost(results: dict) -> list[str]:
    rows = [
        [
            one["what"],
            f"{one['ecgs']:,}" if one["ecgs"] else "",
            f"{one['seconds']:.1f}",
            f"{one['ecgs'] / one['seconds']:.1f}" if one["ecgs"] else "",
        ]
        for one in results["cost"]
    ]
    return [
        "## Cost",
        "",
        f"On {results['devices']}; largest memory {results['peak_memory_gb']:.2f} GB. What had been computed before is "
        "read from the run directory, and not in the table.",
        "",
        *_table(["what", "ECGs", "seconds", "ECG/s"], rows),
    ]


def _origin(results: dict) -> list[str]:
    run = results["run"]
    lines = [
        "## Made from",
        "",
        f"- run `{run['path']}`, step {run['step']:,}, parameters `{run['checksum']}` (SHA-256)",
    ]
    lines += [
        f"- store `{store['path']}` of {cohort}, files `{store['checksum']}`"
        for cohort, store in results["stores"].items()
    ]
    lines.append("- " + ", ".join(f"{name} {version}" for name, version in results["versions"].items()))
    return [*lines, "- options, per-class values of all sets of leads and the run's config: `results.json`", ""]


def _pictures(results: dict) -> Iterator[tuple[str, object, str]]:
    """Name, figure and caption of each picture."""
    everything = list(_all(results))
    first = {task: next(iter(about["lead_sets"])) for task, about in results["tasks"].items()}
    macros: dict[str, dict] = {task: {} for task in first}
    for task, leads, what, one in everything:
        if leads == first[task]:
            macros[task][what] = one
    if results["task"] == "partial_leads":
        for task in [*first, f"mean of {len(first)} tasks"] if len(first) > 1 else first:
            series = _by_number_of_leads(results, task)
            if series:
                name = f"leads-{task.replace(' ', '_')}"
                yield name, pictures.curve(series, f"{task}: one lead more at a time"), f"{task} over leads"
    else:
        bars, leads = dict(macros), dict.fromkeys(first.values())
        head = f"{_HEADS[results['task']]}, leads {' and '.join(leads)}"
        if set(bars) == _TASKS_OF_THE_PAPER:  # what is published as a mean is a mean of these six
            means = next(iter(results["mean_over_tasks"].values()))
            bars["mean"] = {what: {"macro_auroc": mean, "macro_ci95": [math.nan] * 2} for what, mean in means.items()}
        wrapped = {task.replace("-to-", "\nto "): series for task, series in bars.items()}
        yield "tasks", pictures.bars(wrapped, results["published"], head), "macro AUROC of each task"
    for task, about in results["tasks"].items():
        # Of a probe, the largest share of the training records; the others are in the tables.
        shares = {what: float(what.rpartition(", ")[2].removesuffix(" %")) for what in macros[task] if what[-1] == "%"}
        largest = max(shares.values(), default=None)
        shown = {what: one for what, one in macros[task].items() if shares.get(what, largest) == largest}
        per_class = next(iter(shown.values()))["per_class"]
        names = sorted(about["classes"], key=lambda name: -_or_zero(per_class[name]["auroc"]))
        series = [(what, one["per_class"], one["macro_auroc"]) for what, one in shown.items()]
        labels = [textwrap.fill(f"{name} ({per_class[name]['positives']})", 60) for name in names]
        figure, axes = pictures.intervals(series, names, labels)
        axes.set_xlabel("AUROC, 95 % interval over patients (in brackets: positive records)", fontsize=9)
        axes.set_title(f"{task}, {first[task]}: {about['records']:,} {about['split']} records", fontsize=9, loc="left")
        figure.legend(loc="outside lower center", fontsize=8, frameon=False)
        yield f"classes-{task}", figure, f"classes of {task}"


def _by_number_of_leads(results: dict, task: str) -> dict[str, list]:
    """The sets that add one lead at a time, for `pictures.curve`; of what is no task, the mean over the tasks."""
    series: dict[str, list] = {}
    for n, lead in enumerate(PROGRESSIVE, 1):
        leads = f"first {n}"
        if task in results["tasks"]:
            scored = results["tasks"][task]["lead_sets"].get(leads, {})
            points = dict(parts(scored, results["run"]["texts_from_labels"]))
        else:
            means = results["mean_over_tasks"].get(leads, {})
            points = {what: {"macro_auroc": mean, "macro_ci95": [math.nan] * 2} for what, mean in means.items()}
        for what, one in points.items():
            series.setdefault(what, []).append((n, lead, one))
    return series


def _or_zero(value: float) -> float:
    return value if math.isfinite(value) else 0.0
