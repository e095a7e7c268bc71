"""Timing: contenders take turns, so that all of them see the same minutes of the machine."""

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence

import numpy as np

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Contender:
    """Something that is timed.

    Attributes:
        name: in words.
        items: ECGs (or reports) that one turn handles.
        run: takes so many turns one after another, and returns when the last has ended.
    """

    name: str
    items: int
    run: Callable[[int], None]


@dataclasses.dataclass(frozen=True)
class Timed:
    """What came out for one contender.

    Attributes:
        name: the contender's.
        items: of a turn.
        seconds: of a turn, one for each repeat: the mean over the turns of that repeat.
    """

    name: str
    items: int
    seconds: tuple[float, ...]

    @property
    def turn_s(self) -> float:
        """Seconds of a turn: the median over repeats."""
        return float(np.median(self.seconds))

    @property
    def rate(self) -> float:
        """Items a second, from the median."""
        return self.items / self.turn_s

    @property
    def spread(self) -> tuple[float, float]:
        """Items a second of the slowest and of the fastest repeat."""
        return self.items / max(self.seconds), self.items / min(self.seconds)


def race(contenders: Sequence[Contender], repeats: int, seconds: float) -> list[Timed]:
    """Times contenders in turn, as often as there are repeats.

    Args:
        contenders: who takes part; two turns of each come first and do not count, since they compile and fill caches.
        repeats: how often everybody is timed.
        seconds: how long a contender is timed in a repeat, about; one turn at least.
    """
    turns = {}
    for contender in contenders:
        contender.run(2)
        turn_s = _time(contender, 1)
        turns[contender.name] = max(1, round(seconds / turn_s))
        log.info(f"warm: {contender.name}, {turn_s:.3g} s a turn")
    taken: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for _ in range(repeats):
        for contender in contenders:
            taken[contender.name].append(_time(contender, turns[contender.name]) / turns[contender.name])
    return [Timed(one.name, one.items, tuple(taken[one.name])) for one in contenders]


def _time(contender: Contender, turns: int) -> float:
    begun = time.perf_counter()
    contender.run(turns)
    return time.perf_counter() - begun


def latencies(contenders: Sequence[Contender], seconds: float) -> list[np.ndarray]:
    """Seconds of each of many single turns, of contenders that alternate.

    Args:
        contenders: who takes part; two turns of each come first and do not count.
        seconds: how long it goes on for each, about; ten turns at least.
    """
    for contender in contenders:
        contender.run(2)
    end = time.perf_counter() + seconds * len(contenders)
    taken: list[list[float]] = [[] for _ in contenders]
    while len(taken[0]) < 10 or time.perf_counter() < end:
        for contender, turns in zip(contenders, taken, strict=True):
            turns.append(_time(contender, 1))
    return [np.array(turns) for turns in taken]
