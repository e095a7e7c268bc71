"""Pictures of results."""

import math
from collections.abc import Mapping, Sequence

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

_HATCHES = ("...", "//////", "xxxxxx", "------", "\\\\\\\\\\\\", "ooo", "|||||")
COLOURS = ("#0b3c5d", "#d1495b", "#edae49", "#66a182", "#8d6a9f", "#2e86ab", "#7d4f50")
COLOURS += ("#3d3d3d", "#b5bd00", "#f4978e", "#a5a5a5", "#5f0f40", "#00a896", "#c77dff", "#ff7f11", "#9c6644")
COLOURS += ("#006d2c", "#74c0fc")  # figure 7 has seventeen rows


def intervals(series: Sequence[tuple[str, Mapping[str, dict], float]], names: Sequence[str], labels: Sequence[str]):
    """AUROC of each class with its 95 % interval, one colour a series; the macros as dotted lines.

    Args:
        series: (legend, class name -> "auroc" and "ci95", macro) of each.
        names: of the classes, from the top.
        labels: how each is written.

    Returns:
        The figure and its axes.
    """
    figure, axes = plt.subplots(figsize=(9, 1.6 + 0.36 * len(names)), layout="constrained")
    for n, (legend, per_class, macro) in enumerate(series):
        offset = (len(series) - 1 - 2 * n) / (2 * len(series)) * 0.7
        colour = COLOURS[n % len(COLOURS)]
        places = [len(names) - 1 - place + offset for place in range(len(names))]
        bounds = [[_or_nan(bound) for bound in per_class[name]["ci95"]] for name in names]
        values = [_or_nan(per_class[name]["auroc"]) for name in names]
        axes.hlines(places, [low for low, _ in bounds], [high for _, high in bounds], color=colour, lw=1.2, alpha=0.6)
        axes.plot(values, places, "o", ms=4, color=colour, label=f"{legend}: macro {number(macro)}")
        axes.axvline(_or_nan(macro), color=colour, lw=0.8, ls=":")
    axes.axvline(0.5, color="0.8", lw=0.8, zorder=0)
    axes.set_yticks(range(len(names)), list(labels)[::-1], fontsize=8)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlim(left=min(0.4, axes.get_xlim()[0]), right=1.01)
    axes.grid(axis="y", color="0.93", lw=0.6)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure, axes


def bars(
    groups: Mapping[str, Mapping[str, dict]],
    published: Mapping[str, Mapping[str, float]],
    title: str,
    measure: str = "macro AUROC",
):
    """Macro AUROC of each task: filled bars with intervals are measured, hatched ones are published.

    Args:
        groups: task -> series -> "macro_auroc" and "macro_ci95".
        published: series -> task -> AUROC.
        title: of the picture.
    """
    ours = list(dict.fromkeys(name for series in groups.values() for name in series))
    theirs = [name for name, values in published.items() if set(values) & set(groups)]
    width = 0.8 / (len(ours) + len(theirs))
    letters = max(len(line) for name in groups for line in name.splitlines())
    place = max(0.13 * (len(ours) + len(theirs)), 0.09 * letters)  # inches, of a task
    figure, axes = plt.subplots(figsize=(max(6, 1.2 + place * len(groups)), 4.6), layout="constrained")
    styles = _styles(ours)
    for n, name in enumerate(ours):
        places = [place + n * width for place, task in enumerate(groups) if name in groups[task]]
        parts = [groups[task][name] for task in groups if name in groups[task]]
        values = [_or_nan(part["macro_auroc"]) for part in parts]
        errors = [
            [value - _or_nan(part["macro_ci95"][0]) for value, part in zip(values, parts, strict=True)],
            [_or_nan(part["macro_ci95"][1]) - value for value, part in zip(values, parts, strict=True)],
        ]
        axes.bar(places, values, width * 0.92, label=name, **styles[name])
        axes.errorbar(places, values, errors, fmt="none", ecolor="0.2", elinewidth=1, capsize=2)
    styles = _styles(theirs)
    kinds = list(dict.fromkeys(styles[name]["color"] for name in theirs))
    for n, name in enumerate(theirs, len(ours)):
        hatch = _HATCHES[kinds.index(styles[name]["color"]) % len(_HATCHES)]
        edge = f"{0.8 - 0.6 * styles[name]['alpha']:.2f}"
        places = [place + n * width for place, task in enumerate(groups) if task in published[name]]
        values = [published[name][task] for task in groups if task in published[name]]
        axes.bar(places, values, width * 0.92, color="white", edgecolor=edge, hatch=hatch, label=f"published: {name}")
    axes.set_xticks([place + 0.4 - width / 2 for place in range(len(groups))], list(groups), fontsize=9)
    lowest = min((_or_nan(part["macro_auroc"]) for one in groups.values() for part in one.values()), default=1)
    axes.set_ylim(min(0.4, lowest - 0.05), 1)
    axes.axhline(0.5, color="0.8", lw=0.8, zorder=0)
    axes.set_ylabel(f"{measure}, 95 % interval")
    axes.set_title(title, fontsize=10, loc="left")
    # What three columns of the legend take, at some 0.065 inches a letter, must fit into the picture.
    columns = 3 if 3 * (0.065 * max(map(len, [*ours, *theirs])) + 0.6) < figure.get_figwidth() else 2
    figure.legend(loc="outside lower center", fontsize=8, ncol=columns, frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


Points = Mapping[str, Sequence[tuple[int, str, dict]]]
"""Name of a series -> (number of leads, the lead that came last or another name, "macro_auroc" and "macro_ci95")."""


def curve(series: Points, title: str):
    """Macro AUROC over the number of leads, with intervals.

    Args:
        series: what is drawn.
        title: of the picture.
    """
    figure, axes = plt.subplots(figsize=(8, 4.6), layout="constrained")
    _curve(axes, series)
    points = max(series.values(), key=len)
    axes.set_xticks([count for count, _, _ in points], [f"{count}\n+{lead}" for count, lead, _ in points], fontsize=8)
    axes.set_xlabel("number of leads, and the lead that is added")
    known = any(math.isfinite(_or_nan(bound)) for _, _, part in points for bound in part["macro_ci95"])
    axes.set_ylabel("macro AUROC" + (", 95 % interval" if known else ""))
    axes.set_title(title, fontsize=10, loc="left")
    figure.legend(loc="outside lower center", fontsize=8, ncol=2, frameon=False)
    return figure


def curves(panels: Mapping[str, Points], title: str):
    """The same side by side, two in a row: of other data, or scored in another way.

    Args:
        panels: title of each -> what is drawn; series of one name look alike in all.
        title: of the picture.
    """
    columns, rows = min(2, len(panels)), -(-len(panels) // 2)
    figure = plt.figure(figsize=(1 + 5 * columns, 0.9 + 3.9 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (name, series) in zip(grid.flat[: len(panels)], panels.items(), strict=True):
        _curve(axes, series)
        counts = sorted({count for points in series.values() for count, _, _ in points})
        axes.set_xticks(counts, counts, fontsize=8)
        axes.set_xlabel("number of leads, in the paper's order")
        axes.set_title(name, fontsize=9, loc="left")
    for axes in grid[:, 0]:
        axes.set_ylabel("macro AUROC, 95 % interval")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", fontsize=8, ncol=4, frameon=False)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return figure


def _curve(axes, series: Points) -> None:
    styles = _styles(list(series))
    for n, (name, points) in enumerate(series.items()):
        places = [count + (n - (len(series) - 1) / 2) * 0.06 for count, _, _ in points]
        low, high = zip(*([_or_nan(bound) for bound in part["macro_ci95"]] for _, _, part in points), strict=True)
        axes.vlines(places, low, high, lw=1, **styles[name] | {"alpha": 0.35})
        axes.plot(places, [_or_nan(part["macro_auroc"]) for *_, part in points], "o-", ms=4, label=name, **styles[name])
    axes.grid(axis="y", color="0.93", lw=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _styles(names: Sequence[str]) -> dict[str, dict]:
    """One colour for each way of scoring, paler with a smaller share of the training records ("..., 1 %")."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(name.rpartition(", ")[0] if name.endswith("%") else name, []).append(name)
    return {
        name: {"color": COLOURS[n % len(COLOURS)], "alpha": (place + 1) / len(members)}
        for n, members in enumerate(kinds.values())
        for place, name in enumerate(members)
    }


def number(value: float | None, decimals: int = 3) -> str:
    """So many decimals; "-" for what is undefined."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{decimals}f}"


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
