"""One page to play with, in one file: choose a finding, switch leads off, see probabilities change. No server."""

import base64
import importlib.resources
import json

import numpy as np

from kmerl_jax.evaluation import evidence
from kmerl_jax.prediction import paper, table
from kmerl_jax.prediction.answer import NOTE, Answer
from kmerl_jax.prediction.looking import SPAN, Looked
from kmerl_jax.prediction.model import Model
from kmerl_jax.signals.leads import LEAD_SETS, STANDARD
from kmerl_jax.signals.waveform import RATE, SAMPLES, SEGMENT

_WINDOW_S = SAMPLES // RATE
_THIN = 2  # every second sample is drawn: 250 a second


def write(
    model: Model, answer: Answer, window: int, finding: int, looked: Looked, subsets: tuple[list[str], np.ndarray]
) -> str:
    """The page, of one window.

    Args:
        model: who answered.
        answer: of the recording.
        window: which of its windows.
        finding: which of `answer.findings` is chosen at first.
        looked: see `looking.look`, in the order of `answer.findings`.
        subsets: see `looking.every_subset`, in the same order.
    """
    leads, probabilities = subsets
    rows, bag = [STANDARD.index(lead) for lead in leads], answer.windows[window]
    signal, start = paper.traces(bag)[rows], _WINDOW_S * bag.window
    there = np.isfinite(signal).all(0)
    microvolts = np.rint(1000 * signal[:, there][:, ::_THIN])
    strongest = looked.attention.max((1, 2), keepdims=True)
    strength = np.rint(255 * looked.attention[:, rows] / np.maximum(strongest, 1e-9))
    sets = {name: members for name, members in LEAD_SETS.items() if 1 < len(members) < len(leads)}
    sets = {name: members for name, members in sets.items() if set(members) <= set(leads)}
    data = {
        "record": answer.record,
        "model": table.head(model.facts()).splitlines()[0],
        "note": NOTE,
        "warnings": list(answer.warnings),
        "window": [start, round(min(start + _WINDOW_S, answer.seconds), 1), round(answer.seconds, 1)],
        "leads": leads,
        "sets": {name: _bits(members, leads) for name, members in sets.items()},
        "strips": [
            [leads.index(one.lead), one.start, one.stop, one.place, one.row]
            for one in paper.layout(leads, int(bag.segment.max()) + 1)
        ],
        "segment_s": SEGMENT / RATE,
        "span": SPAN,
        "rate": RATE / _THIN,
        "signal": _packed(microvolts, "<i2"),
        "findings": [{"name": one.name, "flags": list(one.flags)} for one in answer.findings],
        "chosen": finding,
        "attention": _packed(strength, "u1"),
        "strongest": [float(f"{value:.3g}") for value in strongest[:, 0, 0]],
        "without_span": [[float(f"{x:.3g}") if np.isfinite(x) else None for x in row] for row in looked.without_span],
        "table": _packed(np.rint(65535 * np.nan_to_num(probabilities)), "<u2"),
        "evidence": _evidence(model, answer, leads),
    }
    # Names of records and findings are data: nothing of them may end the script they stand in.
    content = json.dumps(data).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    template = importlib.resources.files(__package__).joinpath("page.html").read_text("utf-8")
    return template.replace('"DATA"', content)


def _bits(members, leads: list[str]) -> int:
    return sum(1 << leads.index(lead) for lead in members)


def _packed(values: np.ndarray, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values.astype(dtype)).tobytes()).decode()


def _evidence(model: Model, answer: Answer, leads: list[str]) -> list[dict]:
    """Of each evaluated set of leads, the AUROC of the findings: [value, low, high] by their place."""
    found = []
    for one in model.evidence:
        if not set(one["leads"]) <= set(leads):
            continue
        asked = enumerate(each.asked for each in answer.findings)
        known = {n: evidence.of(each.text, one["leads"], [one], each.task, each.code) for n, each in asked}
        values = {n: [auroc.value, *(auroc.ci95 or (None, None))] for n, auroc in known.items() if auroc}
        found.append({"bits": _bits(one["leads"], leads), "task": one["task"], "values": values})
    return found
