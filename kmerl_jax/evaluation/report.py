"""Results as JSON, as a table to read and as a picture to look at."""

import json
import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

_COLOURS = ("#0b3c5d", "#d1495b", "#edae49", "#66a182", "#8d6a9f", "#2e86ab", "#7d4f50")


def save(results: dict, folder: Path) -> None:
    """Writes `zero_shot.json` and `zero_shot.png`, whole or not at all; the JSON last, since it marks the end."""
    folder.mkdir(parents=True, exist_ok=True)
    figure = picture(results)
    figure.savefig(folder / "zero_shot.tmp", format="png", dpi=150)
    plt.close(figure)
    (folder / "zero_shot.tmp").replace(folder / "zero_shot.png")
    (folder / "zero_shot.tmp").write_text(json.dumps(_without_nan(results), indent=1))
    (folder / "zero_shot.tmp").replace(folder / "zero_shot.json")


def _without_nan(value):
    """JSON has no NaN: what is not defined is null."""
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def title(results: dict) -> str:
    """What the numbers are of, in one line."""
    return (
        f"AUROC on {results['records']:,} {results['split']} records of {results['patients']:,} patients; "
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
        cells = "".join(f"{_number(one[key]):>7}{'':14}" for one in sets.values())
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
    return f"zero-shot macro AUROC {one['macro_auroc']:.4f} ({_leads(name)})"


def _spot(spot: dict) -> str:
    return spot["class"] + (f" against {spot['against']}" if spot["against"] else "")


def _leads(name: str) -> str:
    if name == "12":
        return "12 leads"
    return f"{'leads' if ',' in name or '+' in name else 'lead'} {name}" if name[0] in "IVa" else f"{name} leads"


def _order(results: dict) -> list[str]:
    per_class = next(iter(results["lead_sets"].values()))["per_class"]
    return sorted(per_class, key=lambda name: (name in results["unseen"], -(per_class[name]["auroc"] or 0)))


def _number(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _cell(one: dict) -> str:
    return f"{_number(one['auroc'])} ({_number(one['ci95'][0])}-{_number(one['ci95'][1])})"


def picture(results: dict) -> plt.Figure:
    """AUROC of each class with its 95 % interval, one colour a set of leads; macros as lines."""
    names = _order(results)[::-1]
    sets = results["lead_sets"]
    figure, axes = plt.subplots(figsize=(9, 1.6 + 0.36 * len(names)), layout="constrained")
    for n, (leads, one) in enumerate(sets.items()):
        offset = (len(sets) - 1 - 2 * n) / (2 * len(sets)) * 0.7
        colour = _COLOURS[n % len(_COLOURS)]
        values = [one["per_class"][name]["auroc"] or math.nan for name in names]
        bounds = [
            [bound if bound is not None else math.nan for bound in one["per_class"][name]["ci95"]] for name in names
        ]
        places = [place + offset for place in range(len(names))]
        axes.hlines(places, [low for low, _ in bounds], [high for _, high in bounds], color=colour, lw=1.2, alpha=0.6)
        axes.plot(values, places, "o", ms=4, color=colour, label=f"{_leads(leads)}: macro {one['macro_auroc']:.3f}")
        axes.axvline(one["macro_auroc"], color=colour, lw=0.8, ls=":")
    probe = sets[next(iter(sets))]["random_probe_macro_auroc"]
    if probe is not None:
        name = f"random encoder + linear probe, {_leads(next(iter(sets)))}: macro {probe:.3f}"
        axes.axvline(probe, color="0.4", lw=1, ls="--", label=name)
    axes.axvline(0.5, color="0.8", lw=0.8, zorder=0)
    positives = sets[next(iter(sets))]["per_class"]
    labels = [f"{name}{' *' if name in results['unseen'] else ''} ({positives[name]['positives']})" for name in names]
    axes.set_yticks(range(len(names)), labels, fontsize=8)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlim(left=min(0.4, axes.get_xlim()[0]), right=1.01)
    axes.set_xlabel("AUROC, 95 % interval over patients (in brackets: positive records)", fontsize=9)
    axes.set_title(title(results).replace("; labels", "\nlabels"), fontsize=9, loc="left")
    axes.grid(axis="y", color="0.93", lw=0.6)
    figure.legend(loc="outside lower center", fontsize=8, ncol=2, frameon=False)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    if results["unseen"]:
        axes.set_xlabel(axes.get_xlabel() + "\n* kept out of every training report and query; not in the macros")
    return figure
