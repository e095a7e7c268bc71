"""The picture of how cost grows."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from kmerl_jax.evaluation.pictures import COLOURS
from kmerl_jax.throughput.result import Result

_MAIN, _OTHER, *_ = COLOURS


def draw(growth: Result, file: Path) -> None:
    """Draws what `kmerl_jax.throughput.growth.measure` found; without records, their place stays empty."""
    figure, ((batches, sizes), (tokens, records)) = plt.subplots(2, 2, figsize=(10, 7.4), layout="constrained")
    facts = growth.facts
    _batches(batches, facts["batches"])
    _sizes(sizes, facts["sizes"])
    _tokens(tokens, facts["leads"])
    _records(records, facts["records"])
    for axes in figure.axes:
        axes.spines["top"].set_visible(False)
    figure.suptitle(growth.title, fontsize=9, x=0.01, ha="left", color="0.3")
    figure.savefig(file, dpi=150)
    plt.close(figure)


def _batches(axes: Axes, points: list[dict]) -> None:
    """Rate and memory against the batch."""
    places = [point["batch"] for point in points]
    axes.set_xscale("log", base=2)
    _two(axes, places, points, [_or_nan(point["memory"]) / 1e9 for point in points], "memory of a step, GB")
    for point in points:
        if point["out_of_memory"]:
            axes.plot(point["batch"], 0, "x", ms=8, mew=2, color=_OTHER, clip_on=False, zorder=3)
            where = (point["batch"], 0)
            axes.annotate("out of\nmemory", where, (0, 9), textcoords="offset points", fontsize=7, ha="center")
        elif point["microbatches"] > 1:
            where = (point["batch"], point["ecg_per_s"])
            text = f"in {point['microbatches']} parts"
            axes.annotate(text, where, (0, -14), textcoords="offset points", fontsize=7, ha="center")
    _ticks(axes, sorted(set(places)))
    axes.margins(x=0.1)
    axes.set_xlabel("ECGs a step")
    axes.set_title("Batch: rate should level off, memory be in proportion", loc="left", fontsize=10)


def _sizes(axes: Axes, points: list[dict]) -> None:
    """Rate and utilisation against the width of the encoder."""
    points = [point for point in points if not point["out_of_memory"]]
    places = [point["width"] for point in points]
    shares = [100 * point["utilisation"] for point in points]
    _two(axes, places, points, shares, "utilisation, % of matrix products")
    axes.set_xticks(places, [f"{point['name']}\n{point['width']}" for point in points], fontsize=8)
    axes.margins(x=0.1)
    axes.set_xlabel("width of the encoder")
    axes.set_title("Model: larger ones should use more of the machine", loc="left", fontsize=10)


def _tokens(axes: Axes, points: list[dict]) -> None:
    """Time against tokens, beside the FLOPs."""
    points = [point for point in points if not point["out_of_memory"]]
    places = [point["tokens"] for point in points]
    _times(axes, places, points)
    if points:
        last = points[-1]
        times = [1e3 / last["ecg_per_s"] * point["flops"] / last["flops"] for point in points]
        axes.plot(places, times, "--", color=_OTHER, lw=1.2, label="FLOPs on paper, at the last point's rate", zorder=1)
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    axes.set_xticks(places, [f"{place:.0f}" for place in places])
    axes.set_xlim(left=0)
    axes.set_xlabel("visible tokens of an ECG")
    axes.set_ylabel("ms an ECG, a training step")
    axes.set_title("Tokens: time should grow no faster than the FLOPs", loc="left", fontsize=10)


def _records(axes: Axes, points: list[dict]) -> None:
    """Time of the input against the number of records."""
    axes.set_title("Records: time of the input should be flat", loc="left", fontsize=10)
    if not points:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no store to read", ha="center", color="0.5", transform=axes.transAxes)
        return
    places = [point["records"] for point in points]
    axes.set_xscale("log", base=2)
    _times(axes, places, points)
    times = [1e3 / point["ecg_per_s"] for point in points]
    axes.axhline(np.median(times), ls="--", lw=1.2, color=_OTHER, zorder=1, label="median")
    axes.set_ylim(0, 1.6 * max(times))
    _ticks(axes, places)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    axes.set_xlabel("records that are read")
    axes.set_ylabel("ms an ECG, the input")


def _two(axes: Axes, places: list[float], points: list[dict], other: list[float], label: str) -> None:
    """ECG/s on the left with slowest and fastest repeat, something else on the right."""
    rates = [_or_nan(point.get("ecg_per_s")) for point in points]
    spreads = [point.get("spread", (np.nan, np.nan)) for point in points]
    _line(axes, places, rates, spreads, _MAIN)
    axes.set_ylim(0, 1.15 * max(_known(places, [high for _, high in spreads])[1], default=1))
    axes.set_ylabel("ECG/s", color=_MAIN)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 10 else f"{value:g}"))
    right = axes.twinx()
    right.plot(*_known(places, other), "s--", color=_OTHER, ms=4, lw=1.2)
    right.set_ylim(0, 1.15 * max(_known(places, other)[1], default=1))
    right.set_ylabel(label, color=_OTHER)


def _times(axes: Axes, places: list[float], points: list[dict]) -> None:
    """Milliseconds an ECG with slowest and fastest repeat, from zero."""
    times = [1e3 / point["ecg_per_s"] for point in points]
    spreads = [tuple(1e3 / rate for rate in point["spread"][::-1]) for point in points]
    _line(axes, places, times, spreads, _MAIN, "measured")
    axes.set_ylim(0, 1.15 * max((high for _, high in spreads), default=1))
    axes.spines["right"].set_visible(False)


def _line(axes: Axes, places: list, values: list, spreads: list, colour: str, label: str | None = None) -> None:
    axes.vlines(places, [low for low, _ in spreads], [high for _, high in spreads], color=colour, lw=1.5, alpha=0.4)
    axes.plot(*_known(places, values), "o-", color=colour, ms=4.5, lw=1.5, label=label)
    axes.grid(axis="y", color="0.93", lw=0.6)


def _known(places: list, values: list) -> tuple[list, list]:
    """Without what is not known, so that a line goes on behind it."""
    known = [(place, value) for place, value in zip(places, values, strict=True) if np.isfinite(value)]
    return [place for place, _ in known], [value for _, value in known]


def _ticks(axes: Axes, places: list[float]) -> None:
    """Marks at the points of a logarithmic axis, and nowhere else."""
    axes.set_xticks(places, [f"{place:,}" for place in places])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value
