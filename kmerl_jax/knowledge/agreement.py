"""How far two readings of the same reports agree, entity by entity."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import cohen_kappa_score

from kmerl_jax.knowledge import grammar, ontology
from kmerl_jax.knowledge.reading import PRESENT, Reading


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Two readings on one entity: is it present?

    Attributes:
        entity: name in the ontology, or as an extractor spells it if the ontology does not have it.
        both: records in which both find it present.
        first: records in which only the first does.
        second: records in which only the second does.
        kappa: Cohen's; NaN if both find it in every record or in none.
        examples: records in which they differ, at most a few, with different reports.
    """

    entity: str
    both: int
    first: int
    second: int
    kappa: float
    examples: tuple[int, ...]


def compare(one: Reading, other: Reading, reports: Sequence[str], examples: int = 3) -> list[Agreement]:
    """Agreement on every entity that either finds present, those with most disagreement first.

    Extractors spell entities in their own ways: a name that the grammar reads as one entity counts as that entity, and
    superclasses are set by the ontology in both.

    Args:
        one: the first reading.
        other: the second, of the same N records.
        reports: [N], to choose examples with different texts.
        examples: how many to keep of an entity.

    Raises:
        ValueError: readings of different records.
    """
    if not len(one.statuses) == len(other.statuses) == len(reports):
        raise ValueError(f"the readings are of {len(one.statuses):,} and {len(other.statuses):,} records")
    first, second = present(one), present(other)
    nowhere = np.zeros(len(reports), bool)
    found = []
    for entity in sorted({*first, *second}):
        a, b = first.get(entity, nowhere), second.get(entity, nowhere)
        shown: dict[str, int] = {}
        for row in np.flatnonzero(a != b):
            if len(shown) == examples:
                break
            shown.setdefault(reports[row], int(row))
        kappa = float("nan") if (a == b).all() and a.all() else float(cohen_kappa_score(a, b))
        found.append(
            Agreement(
                entity, int((a & b).sum()), int((a & ~b).sum()), int((b & ~a).sum()), kappa, tuple(shown.values())
            )
        )
    return sorted(found, key=lambda entry: (-(entry.first + entry.second), entry.entity))


def present(read: Reading) -> dict[str, np.ndarray]:
    """Entity -> [N] bool, under the ontology's names where it has them, its superclasses set."""
    known = ontology.load()
    found: dict[str, np.ndarray] = {}
    for column, name in enumerate(read.names):
        there = read.statuses[:, column] == PRESENT
        entity = canonical(name)
        above = known.ancestors(entity) if entity in known.entities else ()
        for reached in (entity, *above):
            found[reached] = found[reached] | there if reached in found else there
    return {entity: there for entity, there in found.items() if there.any()}


def canonical(name: str) -> str:
    """The one entity of the ontology that a name means, or the name itself."""
    mentions = grammar.extract(name)
    return mentions[0].entity if len(mentions) == 1 and mentions[0].status == "present" else name


def table(found: Sequence[Agreement], names: tuple[str, str], reports: Sequence[str], with_examples: int = 10) -> str:
    """The agreements as lines, with examples of the entities with most disagreement."""
    width = max([len(entry.entity) for entry in found], default=0)
    lines = [f"{'entity':{width}}  {'kappa':>6}  {'both':>9}  only {names[0]:>9}  only {names[1]:>9}"]
    for n, entry in enumerate(found):
        lines.append(
            f"{entry.entity:{width}}  {entry.kappa:6.3f}  {entry.both:9,}  {entry.first:14,}  {entry.second:14,}"
        )
        if n < with_examples:
            lines += [f"    record {row}: {reports[row][:160]}" for row in entry.examples]
    counted = [entry.kappa for entry in found if entry.kappa == entry.kappa]
    if counted:
        lines.append(f"mean kappa of {len(counted)} entities: {np.mean(counted):.3f}")
    return "\n".join(lines)
