"""Where a model looked: the query network's attention, and what changes when something is taken away.

The first is of the model, in features that the encoder has mixed already: it says what was looked at, not what decided.
The second needs no view inside. It is what K-MERL makes cheap: a lead or a second that is taken away is not zeroed, its
tokens are just not there, as in training.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import numpy as np

from kmerl_jax.prediction.bags import Bag
from kmerl_jax.prediction.model import Model
from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.signals.waveform import SEGMENTS

SPAN = 5
"""Segments that are taken away together: one second."""
_SETS = 96  # of leads, asked for between two calls of progress


@dataclasses.dataclass(frozen=True)
class Looked:
    """Where the model looked in one window, for C findings.

    Attributes:
        attention: [C, 12, 50], of each lead and segment, a mean over layers and heads; sums to 1 over what is there.
        without_lead: [C, 12], the probability less that without the lead; NaN where there is no such lead, or no other.
        without_span: [C, 10], the same of each second.
    """

    attention: np.ndarray
    without_lead: np.ndarray
    without_span: np.ndarray


def attention(model: Model, bag: Bag, names: Sequence[str]) -> np.ndarray:
    """The cross-attention of each finding's query.

    Args:
        model: who looks.
        bag: of one window.
        names: C findings.

    Returns:
        [C, layers, heads, 12, 50]: over leads and segments it sums to 1; where there is no token it is 0.
    """
    weights = model.attention(bag, names)
    placed = np.zeros((*weights.shape[:3], len(STANDARD), SEGMENTS), np.float32)
    placed[..., bag.lead, bag.segment] = weights
    return placed


def look(model: Model, bag: Bag, names: Sequence[str]) -> Looked:
    """Both views of one window.

    Args:
        model: who looks.
        bag: of the window.
        names: C findings.
    """
    there = [int(lead) for lead in np.unique(bag.lead)]
    spans = [int(span) for span in np.unique(bag.segment // SPAN)]
    views = [bag, *(bag.only(bag.lead != lead) for lead in there), *(bag.only(bag.segment // SPAN != n) for n in spans)]
    some = [n for n, view in enumerate(views) if len(view.values)]
    probabilities = np.full((len(views), len(names)), np.nan)
    probabilities[some] = model.said(model.logits([views[n] for n in some], names))
    change = probabilities[0] - probabilities[1:]
    without_lead = np.full((len(names), len(STANDARD)), np.nan, np.float32)
    without_span = np.full((len(names), SEGMENTS // SPAN), np.nan, np.float32)
    without_lead[:, there] = change[: len(there)].T
    without_span[:, spans] = change[len(there) :].T
    return Looked(attention(model, bag, names).mean((1, 2)), without_lead, without_span)


def every_subset(
    model: Model, bag: Bag, names: Sequence[str], progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[list[str], np.ndarray]:
    """Probabilities with every set of the leads that are there.

    Args:
        model: who is asked.
        bag: of one window, with L leads.
        names: C findings.
        progress: called with the number of sets done and the number in all.

    Returns:
        The L leads, and [2^L, C]: in row n those leads are seen whose bit is set in n. Row 0, of no leads, is NaN.
    """
    there = np.unique(bag.lead)
    table = np.full((1 << len(there), len(names)), np.nan, np.float32)
    done = 0
    for size in range(1, len(there) + 1):  # sets of one size have bags of one size
        rows = [sum(1 << n for n in chosen) for chosen in itertools.combinations(range(len(there)), size)]
        for start in range(0, len(rows), _SETS):
            part = rows[start : start + _SETS]
            shown = [[lead for n, lead in enumerate(there) if row >> n & 1] for row in part]
            views = [bag.only(np.isin(bag.lead, leads)) for leads in shown]
            table[part] = model.said(model.logits(views, names))
            done += len(part)
            progress(done, len(table) - 1)
    return [STANDARD[lead] for lead in there], table
