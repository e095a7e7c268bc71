"""Which classes of one task are about the same as classes of another, by the ontology.

A class covers entities of the ontology (`classes.toml`); these have codes (SCP-ECG, SNOMED CT) and superclasses.

1. A class *lies within* one of the other task if at least half of the entities that it covers are covered there too, or
   have a superclass that is. Half, because PTB-XL counts subendocardial injury among its infarctions, and a normal ECG
   of CPSC2018 is coded as sinus rhythm.
2. Two classes that lie within each other are the same, and go together.
3. A class without a same one goes with the narrowest class of the other task that it lies within, so that several may
   go with one: first degree AV block and both bundle branch blocks of CPSC2018 with the conduction disturbances of
   PTB-XL. But a wide class of which a part goes elsewhere is left out: CSN's AV block is not CPSC2018's first degree AV
   block, for which CSN has a class of its own.
4. Classes that go together, directly or by way of others, are one group; every class is in one group, or in none. From
   either side the groups are the same.

In a group a record is positive if any of the classes is, and scores as high as the highest of them. It stays a negative
if all that it is positive of is a wider class that was left out.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse.csgraph import connected_components

from kmerl_jax.knowledge import ontology


@dataclasses.dataclass(frozen=True)
class Link:
    """Two classes that go together.

    Attributes:
        source: code of the one.
        relation: "=", "<" (the target is wider) or ">" (the source is).
        target: code of the other.
        by: entities that make it so: of the narrower class, those that the wider one covers or has a superclass of.
    """

    source: str
    relation: str
    target: str
    by: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Overlap:
    """What two tasks share.

    Attributes:
        links: in the order of the source's classes.
        groups: the codes of the source's and of the target's classes of each.
        left_out: of the source and of the target, the codes of the classes in no group, each with the codes of the
            other task's classes that lie within it and go elsewhere.
    """

    links: tuple[Link, ...]
    groups: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    left_out: tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]


def find(source: Mapping[str, Sequence[str]], target: Mapping[str, Sequence[str]]) -> Overlap:
    """What two tasks share, by the rule above.

    Args:
        source: code -> names of the entities that the class covers, of each of S classes.
        target: the same of each of T classes. A name that the ontology does not have is like nothing else.
    """
    inside, holds = _within(source, target), _within(target, source).T
    same = inside & holds
    up, down = _hosts(inside, same, target), _hosts(holds.T, same.T, source).T
    split_source = ~same.any(1) & (holds & ~down).any(1)
    split_target = ~same.any(0) & (inside & ~up).any(0)
    linked = (up & ~split_target[None, :]) | (down & ~split_source[:, None])
    sources, targets = list(source), list(target)
    links = []
    for s, t in np.argwhere(linked):
        one, other = sources[s], targets[t]
        relation = "=" if same[s, t] else "<" if inside[s, t] else ">"
        by = _reached(target[other], source[one]) if relation == ">" else _reached(source[one], target[other])
        links.append(Link(one, relation, other, by))
    left_out = (
        {sources[s]: _named(targets, holds[s]) for s in np.flatnonzero(~linked.any(1))},
        {targets[t]: _named(sources, inside[:, t]) for t in np.flatnonzero(~linked.any(0))},
    )
    return Overlap(tuple(links), tuple(_groups(linked, sources, targets)), left_out)


def describe(entity: str) -> str:
    """An entity with its codes."""
    codes = ontology.load().entities[entity].codes
    said = [f"{name} {' '.join(codes[key])}" for key, name in (("scp", "SCP"), ("snomed", "SNOMED CT")) if key in codes]
    return f"{entity} ({', '.join(said)})" if said else entity


def _reached(inner: Sequence[str], outer: Sequence[str]) -> tuple[str, ...]:
    """The inner entities that are among the outer ones, or have a superclass there."""
    known = ontology.load()
    return tuple(name for name in inner if name in known.entities and {name, *known.ancestors(name)} & set(outer))


def _within(inner: Mapping[str, Sequence[str]], outer: Mapping[str, Sequence[str]]) -> np.ndarray:
    """[I, O] bool: the inner class lies within the outer one."""
    rows = [[2 * len(_reached(a, b)) >= len(a) for b in outer.values()] for a in inner.values()]
    return np.array(rows, bool).reshape(len(inner), len(outer))


def _hosts(inside: np.ndarray, same: np.ndarray, outer: Mapping[str, Sequence[str]]) -> np.ndarray:
    """[I, O] bool: what each class goes with: the same ones, or the narrowest that it lies within.

    Args:
        inside: [I, O] bool.
        same: [I, O] bool.
        outer: the O classes.
    """
    entities = ontology.load().entities
    width = np.array([len(_reached(tuple(entities), covered)) for covered in outer.values()])
    narrowest = np.argmin(np.where(inside, width[None, :], len(entities) + 1), axis=1)
    one = np.arange(len(outer))[None, :] == narrowest[:, None]
    return np.where(same.any(1, keepdims=True), same, inside & one)


def _groups(linked: np.ndarray, sources: Sequence[str], targets: Sequence[str]):
    """The codes of the two sides of each connected part of a [S, T] bipartite graph, in the order of the sources."""
    count = sum(linked.shape)
    graph = np.zeros((count, count), bool)
    graph[: len(sources), len(sources) :] = linked
    _, part = connected_components(graph, directed=False)
    for one in dict.fromkeys(part[: len(sources)][linked.any(1)]):
        yield _named(sources, part[: len(sources)] == one), _named(targets, part[len(sources) :] == one)


def _named(codes: Sequence[str], chosen: np.ndarray) -> tuple[str, ...]:
    return tuple(code for code, is_one in zip(codes, chosen, strict=True) if is_one)
