"""From recordings to bags of tokens in a few sizes: what is absent takes no room, and few programs are compiled."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from kmerl_jax.models.tokens import Tokens
from kmerl_jax.signals.leads import STANDARD, lead_ids
from kmerl_jax.signals.waveform import SEGMENT, SEGMENTS, Ecg, Window, to_window, windows

BUDGETS = (50, 100, 150, 200, 300, 400, 600)
"""Tokens of a bag: that of 1, 2, 3, 4, 6, 8 and 12 leads of 10 s."""
_AT_ONCE = 16 * BUDGETS[-1]  # tokens of a batch


@dataclasses.dataclass(frozen=True)
class Bag:
    """The tokens of one window of an ECG, those that are there.

    Attributes:
        values: [T, 100] float32, millivolts.
        lead: [T] int32, index in the standard order.
        segment: [T] int32, 0 to 49.
    """

    values: np.ndarray
    lead: np.ndarray
    segment: np.ndarray

    def only(self, keep: np.ndarray) -> "Bag":
        """The tokens that [T] bool names."""
        return Bag(self.values[keep], self.lead[keep], self.segment[keep])


def of_ecg(ecg: Ecg, leads: Sequence[str] | None = None) -> list[Bag]:
    """The bags of a recording, one for each 10 s.

    Args:
        ecg: of any rate, length and leads.
        leads: that may be seen; None: all.

    Raises:
        ValueError: none of the leads holds a signal, or the recording cannot be an ECG (see `to_window`).
    """
    bags = []
    for part in windows(ecg):
        window, _ = to_window(part)
        bag = of_window(window, leads)
        if len(bag.values):
            bags.append(bag)
    if not bags:
        raise ValueError(f"none of {' '.join(leads or STANDARD)} holds a signal; there are {' '.join(ecg.leads)}")
    return bags


def of_window(window: Window, leads: Sequence[str] | None = None) -> Bag:
    """The bag of one window; it may be empty."""
    shown = np.zeros(len(STANDARD), bool)
    shown[list(lead_ids(leads or STANDARD))] = True
    rows = np.flatnonzero(window.presence & shown)
    values = window.signal.reshape(len(STANDARD), SEGMENTS, SEGMENT)[rows, : window.segments].astype(np.float32) / 1000
    lead = np.repeat(rows, window.segments).astype(np.int32)
    segment = np.tile(np.arange(window.segments, dtype=np.int32), len(rows))
    return Bag(values.reshape(-1, SEGMENT), lead, segment)


def batches(bags: Sequence[Bag]) -> Iterator[tuple[list[int], Tokens]]:
    """Bags of similar size together, one by itself if it is alone; each place of a batch is padded to its budget.

    Yields:
        Which bags, and their tokens: [1, T] or [B, T], where the last rows may be empty.
    """
    groups: dict[int, list[int]] = {}
    for n, bag in enumerate(bags):
        groups.setdefault(next(size for size in BUDGETS if size >= len(bag.values)), []).append(n)
    for budget, members in sorted(groups.items()):
        size = 1 if len(members) == 1 else _AT_ONCE // budget
        for start in range(0, len(members), size):
            chosen = members[start : start + size]
            yield chosen, _padded([bags[n] for n in chosen], size, budget)


def _padded(bags: Sequence[Bag], size: int, budget: int) -> Tokens:
    values = np.zeros((size, budget, SEGMENT), np.float32)
    lead, segment = np.zeros((2, size, budget), np.int32)
    valid = np.zeros((size, budget), bool)
    for row, bag in enumerate(bags):
        count = len(bag.values)
        values[row, :count], lead[row, :count], segment[row, :count] = bag.values, bag.lead, bag.segment
        valid[row, :count] = True
    return Tokens(values, lead, segment, valid)
