"""What a training run asks of an ECG: the entities with enough positives in the training reports, and their labels."""

import dataclasses

import numpy as np

from kmerl_jax.knowledge.reading import POSSIBLE as MAYBE
from kmerl_jax.knowledge.reading import PRESENT, Reading

POSSIBLE = {"unknown": -1, "positive": 1}
"""Label of an entity that is only possible: left out of the loss, or counted as there."""


@dataclasses.dataclass(frozen=True, eq=False)
class Queries:
    """Queries of a training run and the label of each record.

    Attributes:
        entities: the Q queries, superclasses among them, in alphabetical order.
        superclasses: superclass -> the entities that belong to it, both queries.
        counts: positive training records of each query.
        labels: [N, Q] int8; 1 positive, 0 negative, -1 unknown (left out of the loss).
        rare: entities with too few positive, or too few negative, training records -> how many are positive.
        duplicates: superclass left out -> the member with the same positive training records.
    """

    entities: tuple[str, ...]
    superclasses: dict[str, tuple[str, ...]]
    counts: dict[str, int]
    labels: np.ndarray
    rare: dict[str, int]
    duplicates: dict[str, str]


def select(reading: Reading, train: np.ndarray, min_positives: int, possible: str = "unknown") -> Queries:
    """Queries and labels from a reading.

    An entity is positive where it is present, negative where it is negated, previous or not mentioned. It becomes a
    query with enough positive and enough negative records in the training split; a superclass that asks nothing its
    member does not ask, having the same positive records there, does not.

    Args:
        reading: of N records.
        train: [N] bool, the records that decide which entities are queries.
        min_positives: fewest positive, and fewest negative, training records of a query.
        possible: how a finding that is only possible is labelled, one of `POSSIBLE`.

    Raises:
        ValueError: an argument out of its range, or no entity with enough records.
    """
    train = np.asarray(train)
    if train.dtype != bool or train.shape != (len(reading.statuses),):
        raise ValueError(f"train is {train.dtype} {train.shape}; expected bool ({len(reading.statuses)},)")
    if possible not in POSSIBLE:
        raise ValueError(f"possible={possible!r}; expected one of {', '.join(POSSIBLE)}")
    if min_positives < 1:
        raise ValueError(f"min_positives={min_positives}; expected at least 1")
    labels = np.zeros(reading.statuses.shape, np.int8)
    labels[reading.statuses == MAYBE] = POSSIBLE[possible]
    labels[reading.statuses == PRESENT] = 1
    positives = ((labels == 1) & train[:, None]).sum(0)
    enough = np.minimum(positives, ((labels == 0) & train[:, None]).sum(0)) >= min_positives
    column = {name: index for index, name in enumerate(reading.names)}
    kept = [name for name in reading.names if enough[column[name]]]
    positive = {name: labels[train, column[name]] == 1 for name in kept}
    duplicates = {}
    for name in kept:
        same = [m for m in _members(reading, name) if m in positive and np.array_equal(positive[name], positive[m])]
        if same:
            duplicates[name] = min(same, key=lambda member: len(_members(reading, member)))
    kept = [name for name in kept if name not in duplicates]
    if not kept:
        raise ValueError(f"no entity is positive in {min_positives} of {int(train.sum())} training records")
    members = {name: tuple(member for member in _members(reading, name) if member in kept) for name in kept}
    return Queries(
        entities=tuple(kept),
        superclasses={name: below for name, below in members.items() if below},
        counts={name: int(positives[column[name]]) for name in kept},
        labels=np.ascontiguousarray(labels[:, [column[name] for name in kept]]),
        rare={name: int(n) for name, n, ok in zip(reading.names, positives, enough, strict=True) if n and not ok},
        duplicates=duplicates,
    )


def _members(reading: Reading, name: str) -> tuple[str, ...]:
    return reading.superclasses.get(name, ())
