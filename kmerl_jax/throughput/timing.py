"""Timing: contenders take turns, so that all of them see the same minutes of the machine."""

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence

import numpy as np

from kmerl_jax.processes import together

log = logging.getLogger(__name__)

_SHORT = 0.05  # seconds: less says nothing of how long a turn is


@dataclasses.dataclass(frozen=True)
class Contender:
    """Something that is timed.

    Attributes:
        name: in words.
        items: ECGs (or reports) that one turn handles.
        run: takes so many turns one after another, and returns when the last has ended.
        ahead: turns that it prepares at most before they are asked for, while others take theirs.
    """

    name: str
    items: int
    run: Callable[[int], None]
    ahead: int = 0


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
    """Times contenders in turn, as often as there are repeats. All processes must ask.

    Each time, a turn that does not count comes first: what others have run in between has taken caches, and memory that
    was free may have gone back to the system, which would count as slow what is fast in training, turn after turn.

    Args:
        contenders: who takes part; two turns of each, more of short ones, come first and do not count.
        repeats: how often everybody is timed.
        seconds: how long a contender is timed in a repeat, about; one turn at least.
    """
    turn_s = _warm(contenders)
    # A turn may be a step of all processes, so all must take as many; and they have measured differently.
    turns = [together.from_first(max(1, round(seconds / one))) for one in turn_s]
    whole = repeats * sum((n + 1) * one for n, one in zip(turns, turn_s, strict=True))
    log.info(f"measuring: {repeats} repeats, {whole:.0f} s in all, about")
    taken: list[list[float]] = [[] for _ in contenders]
    for _ in range(repeats):
        for contender, n, means in zip(contenders, turns, taken, strict=True):
            contender.run(1)
            means.append(_time(contender, n))
    return [Timed(one.name, one.items, tuple(means)) for one, means in zip(contenders, taken, strict=True)]


def latencies(contenders: Sequence[Contender], seconds: float) -> list[np.ndarray]:
    """Seconds of each of many single turns, of contenders that alternate. All processes must ask.

    Before each turn comes one that does not count: whose turn is timed has been at work, and not another.

    Args:
        contenders: who takes part; two turns of each, more of short ones, come first and do not count.
        seconds: how long it goes on for each, about; ten turns at least.
    """
    turn_s = 2 * sum(_warm(contenders))
    turns = together.from_first(max(10, round(seconds * len(contenders) / turn_s)))
    log.info(f"measuring: {turns} single turns of each, {turns * turn_s:.0f} s in all, about")
    taken: list[list[float]] = [[] for _ in contenders]
    for _ in range(turns):
        for contender, singles in zip(contenders, taken, strict=True):
            contender.run(1)
            singles.append(_time(contender, 1))
    return [np.array(singles) for singles in taken]


def _warm(contenders: Sequence[Contender]) -> list[float]:
    """Seconds of a turn of each: of the second, since the first compiles and fills caches; of more if it is short."""
    turn_s = []
    for n, contender in enumerate(contenders, 1):
        log.info(f"warming up {n} of {len(contenders)}: {contender.name}")
        contender.run(1)
        turns, one = 1, _time(contender, 1)
        while together.everyone(turns * one < _SHORT):
            turns *= 4
            one = _time(contender, turns)
        turn_s.append(one)
    said = ", ".join(f"{one.name} {s:.3g} s" for one, s in zip(contenders, turn_s, strict=True))
    log.info(f"a turn: {said}")
    return turn_s


def _time(contender: Contender, turns: int) -> float:
    """Seconds of a turn, the mean of so many."""
    if contender.ahead:  # what was prepared while others took their turns was for nothing
        contender.run(contender.ahead)
    begun = time.perf_counter()
    contender.run(turns)
    taken = (time.perf_counter() - begun) / turns
    time.sleep(contender.ahead * taken)  # what it prepares now must not slow whoever is next
    return taken
