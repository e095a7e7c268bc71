"""A recording on ECG paper, 25 mm/s and 10 mm/mV, with findings at its side and where the model looked."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from kmerl_jax.prediction import table
from kmerl_jax.prediction.answer import NOTE, Answer
from kmerl_jax.prediction.bags import Bag
from kmerl_jax.prediction.looking import SPAN, Looked
from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.signals.waveform import RATE, SEGMENT, SEGMENTS

MM_PER_S, MM_PER_MV = 25, 10
_SECONDS = SEGMENT * SEGMENTS / RATE
_ROW_MM = 26
_COLUMNS = (("I", "II", "III"), ("aVR", "aVL", "aVF"), ("V1", "V2", "V3"), ("V4", "V5", "V6"))
_RHYTHM = ("II", "V1", "I")  # the first that is there is drawn in full below the others
_MOST_ROWS = 6  # leads, each in full; more are drawn in four columns
_FINDINGS, _FINDING_MM = 12, 8  # most of them, and how high each is
_FINE, _COARSE, _TRACE, _LOOK, _TEXT = "#f6dcd9", "#eab5ae", "#111111", "#1f6fb4", "#333333"


@dataclasses.dataclass(frozen=True)
class Strip:
    """A stretch of one lead on the paper.

    Attributes:
        lead: its name.
        start, stop: segments of the window.
        place: where it starts on the paper, in segments from the left.
        row: from the top.
    """

    lead: str
    start: float
    stop: float
    place: float
    row: int


def layout(leads: Sequence[str], segments: int) -> list[Strip]:
    """Three rows of four columns and a rhythm strip; of few leads, each in a row of its own.

    Args:
        leads: that are there.
        segments: that were recorded. Of a short recording each column shows what there is, up to its width.
    """
    if len(leads) <= _MOST_ROWS:
        return [Strip(lead, 0, segments, 0, row) for row, lead in enumerate(leads)]
    width = SEGMENTS / len(_COLUMNS)
    strips = []
    for n, column in enumerate(_COLUMNS):
        start = max(0, min(n * width, segments - width))
        stop = min(start + width, segments)
        strips += [Strip(lead, start, stop, n * width, row) for row, lead in enumerate(column) if lead in leads]
    rhythm = next((lead for lead in _RHYTHM if lead in leads), leads[0])
    return [*strips, Strip(rhythm, 0, segments, 0, 3)]


def traces(bag: Bag) -> np.ndarray:
    """[12, 5000] millivolts of a window, NaN where there is nothing."""
    signal = np.full((len(STANDARD), SEGMENTS, SEGMENT), np.nan, np.float32)
    signal[bag.lead, bag.segment] = bag.values
    return signal.reshape(len(STANDARD), -1)


def draw(answer: Answer, window: int, finding: int, looked: Looked) -> Figure:
    """The picture of one window.

    Args:
        answer: of the recording.
        window: which of its windows.
        finding: which of `answer.findings` it is about.
        looked: where the model looked, in the order of `answer.findings`.
    """
    bag = answer.windows[window]
    leads, strips = bag.leads, layout(bag.leads, int(bag.segment.max()) + 1)
    rows = max(strip.row for strip in strips) + 1
    paper = np.array([_SECONDS * MM_PER_S + 10, rows * _ROW_MM + 8])  # mm
    side, below, head = 118, max(46, 4 * len(leads) + 14), 20
    width, height = paper[0] + side, paper[1] + below + head
    figure = Figure(figsize=(width / 25.4, height / 25.4))

    def place(x: float, y: float, w: float, h: float):
        """Axes at millimetres from the left and from the bottom."""
        return figure.add_axes((x / width, y / height, w / width, h / height))

    at = place(4, below, *paper)
    _paper(at, paper)
    _strips(at, strips, traces(bag), looked.attention[finding], rows)
    one = answer.findings[finding]
    probability = one.by_window[window]
    _title(figure, answer, bag.window * _SECONDS, height)
    most = min(_FINDINGS, int(paper[1] / _FINDING_MM))
    _findings(place(paper[0] + 62, below + 6, side - 68, paper[1] - 8), answer, finding, most)
    _heat(place(4 + 14, 10, paper[0] - 24, below - 19), leads, looked.attention[finding], one.name)
    _changes(place(paper[0] + 22, 10, 38, below - 19), leads, looked.without_lead[finding], probability)
    _spans(place(paper[0] + 74, 10, side - 80, below - 19), looked.without_span[finding])
    return figure


def _paper(axes, size: np.ndarray) -> None:
    """Square millimetres, every fifth line strong."""
    for step, colour, width in ((1, _FINE, 0.4), (5, _COARSE, 0.7)):
        lines = [[(x, 0), (x, size[1])] for x in np.arange(0, size[0] + 0.1, step)]
        lines += [[(0, y), (size[0], y)] for y in np.arange(0, size[1] + 0.1, step)]
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=width, zorder=0))
    axes.set(xlim=(0, size[0]), ylim=(0, size[1]))
    axes.axis("off")
    axes.text(size[0] - 2, 1.2, f"{MM_PER_S} mm/s   {MM_PER_MV} mm/mV", ha="right", fontsize=7, color=_TEXT)


def _strips(axes, strips: Sequence[Strip], signal: np.ndarray, attention: np.ndarray, rows: int) -> None:
    segment_mm = SEGMENT / RATE * MM_PER_S
    left, strongest = 7, max(float(attention.max()), 1e-9)
    boxes, strengths = [], []
    for strip in strips:
        lead = STANDARD.index(strip.lead)
        zero = (rows - strip.row - 0.5) * _ROW_MM + 4
        for n in range(SEGMENTS):
            start, stop = max(n, strip.start), min(n + 1, strip.stop)
            if stop > start and attention[lead, n] > 0:
                x = left + (strip.place + start - strip.start) * segment_mm
                boxes.append(Rectangle((x, zero - 11), (stop - start) * segment_mm, 22))
                strengths.append(attention[lead, n] / strongest)
        first, last = round(strip.start * SEGMENT), round(strip.stop * SEGMENT)
        y = signal[lead, first:last]
        middle = np.nanmedian(y) if np.isfinite(y).any() else 0.0
        begins = left + strip.place * segment_mm
        x = begins + np.arange(last - first) / RATE * MM_PER_S
        axes.plot(x, zero + (y - middle) * MM_PER_MV, color=_TRACE, lw=0.7, zorder=3)
        axes.text(begins + 0.6, zero + 8.5, strip.lead, fontsize=8, weight="bold", zorder=4)
        if strip.place:
            axes.plot([begins] * 2, [zero - 3, zero + 3], color=_TRACE, lw=0.7, zorder=3)
    collection = PatchCollection(boxes, facecolor=_LOOK, edgecolor="none", zorder=1)
    collection.set_alpha(np.minimum(0.45, 0.45 * np.array(strengths)))
    axes.add_collection(collection)
    for row in range(rows):  # a pulse of 1 mV and 0.2 s, as carts draw it
        zero = (rows - row - 0.5) * _ROW_MM + 4
        pulse = [(0.5, 0), (1.0, 0), (1.0, MM_PER_MV), (6.0, MM_PER_MV), (6.0, 0), (6.5, 0)]
        axes.plot(*np.array([(x, y + zero) for x, y in pulse]).T, color=_TRACE, lw=0.7, zorder=3)


def _title(figure: Figure, answer: Answer, start: float, height: float) -> None:
    end = min(start + _SECONDS, answer.seconds)
    said = f"{answer.record}    {start:g} to {end:.4g} s of {answer.seconds:.4g} s"
    warnings = "; ".join(answer.warnings) or "no warnings about the recording's quality"
    short = warnings if len(warnings) < 180 else warnings[:180] + " ..."
    style = {"x": 0.01, "va": "center", "parse_math": False}  # a file's name may hold a $
    figure.text(s=said, y=1 - 5 / height, fontsize=10, weight="bold", **style)
    figure.text(s=short, y=1 - 11 / height, fontsize=8, color="#a33" if answer.warnings else _TEXT, **style)
    figure.text(s=NOTE, y=1 - 16 / height, fontsize=8, color=_TEXT, style="italic", **style)


def _findings(axes, answer: Answer, finding: int, most: int) -> None:
    """Bars of the most probable findings, and of the chosen one."""
    shown = list(range(min(most, len(answer.findings))))
    if finding not in shown:
        shown[-1] = finding
    for row, n in enumerate(shown):
        one = answer.findings[n]
        axes.barh(-row, one.value, height=0.6, color=_LOOK if n == finding else "0.7")
        weight = "bold" if n == finding else None
        axes.text(-0.02, -row, one.name, ha="right", va="center", fontsize=8, weight=weight, parse_math=False)
        doubt = f"  ({'; '.join(one.flags)})" if one.flags else ""
        known = table.auroc(one, answer.leads) + doubt
        axes.text(0.01, -row - 0.46, known, va="center", fontsize=5.5, color="0.4", parse_math=False)
        axes.text(one.value + 0.02, -row, f"{one.value:.2f}", va="center", fontsize=7)
    axes.set(xlim=(0, 1.12), ylim=(-most + 0.3, 0.8), yticks=[])
    axes.set_title("probability, and AUROC when evaluated", fontsize=8, loc="left", x=-0.5)
    _plain(axes)


def _heat(axes, leads: Sequence[str], attention: np.ndarray, name: str) -> None:
    rows = [STANDARD.index(lead) for lead in leads]
    axes.imshow(attention[rows], aspect="auto", cmap="Blues", vmin=0, extent=(0, _SECONDS, len(rows), 0))
    axes.set_yticks(np.arange(len(rows)) + 0.5, leads, fontsize=7)
    said = f"where it looked for {name}: attention of each lead and 0.2 s"
    axes.set_title(said, fontsize=8, loc="left", parse_math=False)
    axes.set_xlabel("s", fontsize=7, labelpad=0)
    axes.tick_params(labelsize=7, length=2)


def _changes(axes, leads: Sequence[str], change: np.ndarray, probability: float) -> None:
    values = change[[STANDARD.index(lead) for lead in leads]]
    axes.barh(np.arange(len(leads)) + 0.5, values, color=np.where(values >= 0, _LOOK, "#c0504d"))
    axes.set(ylim=(len(leads), 0))
    axes.set_yticks(np.arange(len(leads)) + 0.5, leads, fontsize=7)
    axes.axvline(0, color=_TEXT, lw=0.6)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.set_title(f"{probability:.2f} is less, without\nthe lead, by", fontsize=8, loc="left")
    _plain(axes)


def _spans(axes, change: np.ndarray) -> None:
    start = np.arange(len(change)) * SPAN * SEGMENT / RATE
    axes.bar(start, change, width=0.9 * start[1], align="edge", color=np.where(change >= 0, _LOOK, "#c0504d"))
    axes.axhline(0, color=_TEXT, lw=0.6)
    axes.set_xlim(0, _SECONDS)
    axes.set_xlabel("s", fontsize=7, labelpad=0)
    axes.set_title("without the second, by", fontsize=8, loc="left")
    _plain(axes)


def _plain(axes) -> None:
    axes.tick_params(labelsize=7, length=2)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
