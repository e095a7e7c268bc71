"""From recordings to bags of tokens in a few sizes: what is absent takes no room, and few programs are compiled."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from kmerl_jax.models.tokens import Tokens
from kmerl_jax.signals.leads import STANDARD, lead_ids, parse_leads
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
        window: which 10 s of the recording.
    """

    values: np.ndarray
    lead: np.ndarray
    segment: np.ndarray
    window: int = 0

    def only(self, keep: np.ndarray) -> "Bag":
        """The tokens that [T] bool names."""
        return Bag(self.values[keep], self.lead[keep], self.segment[keep], self.window)

    @property
    def leads(self) -> tuple[str, ...]:
        """Names of the leads that are there, in the standard order."""
        return tuple(STANDARD[lead] for lead in np.unique(self.lead))


def of_ecg(ecg: Ecg, leads: str | Sequence[str] | None = None) -> list[Bag]:
    """The bags of a recording, one for each 10 s in which there is something to see.

    Args:
        ecg: of any rate, length and leads.
        leads: that may be seen, or the name of a set of leads; None: all.

    Raises:
        ValueError: in no 10 s any of the leads holds a signal, the recording cannot be an ECG (see `to_window`), or an
            unknown lead, or none.
    """
    ids, found, reason = chosen(leads), [], None
    for number, part in enumerate(windows(ecg)):
        try:
            window, _ = to_window(part)
        except ValueError as error:
            reason = reason or error
            continue
        bag = of_window(window, ids, number)
        if len(bag.values):
            found.append(bag)
    if not found and reason:
        raise reason
    if not found:
        wanted = " ".join(STANDARD[lead] for lead in ids)
        raise ValueError(f"none of {wanted} holds a signal; there are {' '.join(ecg.leads)}")
    return found


def chosen(leads: str | Sequence[str] | None) -> tuple[int, ...]:
    """Indices of leads that are named in any spelling.

    Raises:
        ValueError: an unknown lead, or none.
    """
    if leads is None:
        return lead_ids(STANDARD)
    if not isinstance(leads, str):
        leads = ",".join(leads)
    return lead_ids(parse_leads(leads))


def of_window(window: Window, leads: Sequence[int] = range(len(STANDARD)), number: int = 0) -> Bag:
    """The bag of one window; it may be empty.

    Args:
        window: of a recording.
        leads: indices of those that may be seen.
        number: which window it is.
    """
    shown = np.zeros(len(STANDARD), bool)
    shown[list(leads)] = True
    rows = np.flatnonzero(window.presence & shown)
    values = window.signal.reshape(len(STANDARD), SEGMENTS, SEGMENT)[rows, : window.segments].astype(np.float32) / 1000
    lead = np.repeat(rows, window.segments).astype(np.int32)
    segment = np.tile(np.arange(window.segments, dtype=np.int32), len(rows))
    return Bag(values.reshape(-1, SEGMENT), lead, segment, number)


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
            part = members[start : start + size]
            yield part, _padded([bags[n] for n in part], size, budget)


def _padded(bags: Sequence[Bag], size: int, budget: int) -> Tokens:
    values = np.zeros((size, budget, SEGMENT), np.float32)
    lead, segment = np.zeros((2, size, budget), np.int32)
    valid = np.zeros((size, budget), bool)
    for row, bag in enumerate(bags):
        count = len(bag.values)
        values[row, :count], lead[row, :count], segment[row, :count] = bag.values, bag.lead, bag.segment
        valid[row, :count] = True
    return Tokens(values, lead, segment, valid)
