"""A cohort's statements as queries and labels: which entities are asked, and the answer of each record."""

import dataclasses
import errno
import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kmerl_jax.knowledge import grammar, ontology
from kmerl_jax.knowledge.statements import normalize

FORMAT = "kmerl_jax knowledge"
VERSION = 1
POSSIBLE = {"unknown": -1, "positive": 1}
"""Label of an entity that is only possible: left out of the loss, or counted as there."""

_NEGATED, _PREVIOUS, _POSSIBLE, _PRESENT = range(1, len(grammar.STATUSES) + 1)  # 0: not mentioned
_STRENGTH = dict(zip(grammar.STATUSES, (_NEGATED, _PREVIOUS, _POSSIBLE, _PRESENT), strict=True))


@dataclasses.dataclass(frozen=True, eq=False)
class Knowledge:
    """Queries of a training run and the label of each record.

    Attributes:
        entities: the Q queries, superclasses among them, in alphabetical order.
        superclasses: superclass -> the entities that belong to it, both queries.
        counts: positive training records of each entity.
        labels: [N, Q] int8; 1 positive, 0 negative, -1 unknown (left out of the loss).
    """

    entities: tuple[str, ...]
    superclasses: dict[str, tuple[str, ...]]
    counts: dict[str, int]
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class MiningReport:
    """What mining read and what it left out.

    Attributes:
        records: how many, those outside the training split included.
        distinct: statements that differ after normalisation.
        kinds: statements of each kind (`grammar.Parsed`), counted as often as records print them.
        unknown: statements that were not understood, normalised, and how often records print them.
        rare: entities with too few positive (or negative) training records, and how many positive ones they have.
        duplicates: superclass left out -> the member with the same positive training records.
    """

    records: int
    distinct: int
    kinds: Counter[str]
    unknown: Counter[str]
    rare: dict[str, int]
    duplicates: dict[str, str]

    def __str__(self) -> str:
        printed = max(sum(self.kinds.values()), 1)
        shares = ", ".join(
            f"{self.kinds[kind] / printed:.1%} {kind}" for kind in ("finding", "quality", "remark", "unknown")
        )
        return f"{printed:,} statements of {self.records:,} records, {self.distinct:,} distinct: {shares}"


def mine(
    statements: Sequence[Sequence[str]], train: np.ndarray, min_positives: int, possible: str = "unknown"
) -> tuple[Knowledge, MiningReport]:
    """Queries and labels from the statements of each record.

    An entity is positive where a statement names it, or a member of it, as present; of several statements the most
    certain counts. It becomes a query with enough positive and enough negative records in the training split; a
    superclass that asks nothing its member does not ask, having the same positive records there, does not.

    Args:
        statements: the statements of each of N records.
        train: [N] bool, the records that decide which entities are queries.
        min_positives: fewest positive, and fewest negative, training records of a query.
        possible: how a finding that is only possible is labelled, one of `POSSIBLE`.

    Raises:
        ValueError: an argument out of its range, or no entity with enough records.
    """
    train = np.asarray(train)
    if train.dtype != bool or train.shape != (len(statements),):
        raise ValueError(f"train is {train.dtype} {train.shape}; expected bool ({len(statements)},)")
    if possible not in POSSIBLE:
        raise ValueError(f"possible={possible!r}; expected one of {', '.join(POSSIBLE)}")
    if min_positives < 1:
        raise ValueError(f"min_positives={min_positives}; expected at least 1")
    rows_of = _rows_of(statements)
    strength, names = _strengths(rows_of, len(statements))
    labels = np.zeros(strength.shape, np.int8)
    labels[strength == _POSSIBLE] = POSSIBLE[possible]
    labels[strength == _PRESENT] = 1
    positives = ((labels == 1) & train[:, None]).sum(0)
    enough = np.minimum(positives, ((labels == 0) & train[:, None]).sum(0)) >= min_positives
    kept = [name for name, is_enough in zip(names, enough, strict=True) if is_enough]
    duplicates = _duplicates(kept, {name: labels[train, names.index(name)] == 1 for name in kept})
    kept = [name for name in kept if name not in duplicates]
    if not kept:
        raise ValueError(f"no entity is positive in {min_positives} of {int(train.sum())} training records")
    columns = [names.index(name) for name in kept]
    report = MiningReport(
        records=len(statements),
        distinct=len(rows_of),
        kinds=_count_kinds(rows_of),
        unknown=Counter({text: len(rows) for text, rows in rows_of.items() if grammar.parse(text).kind == "unknown"}),
        rare={name: int(n) for name, n, ok in zip(names, positives, enough, strict=True) if n and not ok},
        duplicates=duplicates,
    )
    return (
        Knowledge(
            entities=tuple(kept),
            superclasses=_superclasses(kept),
            counts={name: int(positives[column]) for name, column in zip(kept, columns, strict=True)},
            labels=np.ascontiguousarray(labels[:, columns]),
        ),
        report,
    )


def _rows_of(statements: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    """Records that print each statement, once normalised; empty statements left out."""
    rows_of: dict[str, list[int]] = {}
    spelling: dict[str, str] = {}  # hundreds of thousands of records print a few thousand spellings
    for row, printed in enumerate(statements):
        for statement in printed:
            text = spelling.get(statement)
            if text is None:
                text = spelling[statement] = normalize(statement)
            if text:
                rows_of.setdefault(text, []).append(row)
    return rows_of


def _strengths(rows_of: dict[str, list[int]], records: int) -> tuple[np.ndarray, list[str]]:
    """[N, E] int8, the strongest status of every entity of the ontology in each record, and the E names."""
    known = ontology.load()
    names = sorted(known.entities)
    column = {name: index for index, name in enumerate(names)}
    strength = np.zeros((records, len(names)), np.int8)
    for text, rows in rows_of.items():
        said: dict[str, int] = {}
        for name, status in grammar.extract(text):
            # A member that is there makes its superclasses so; one that is not says nothing about them.
            above = known.ancestors(name) if _STRENGTH[status] >= _POSSIBLE else ()
            for entity in (name, *above):
                said[entity] = max(said.get(entity, 0), _STRENGTH[status])
        for entity, value in said.items():
            strength[rows, column[entity]] = np.maximum(strength[rows, column[entity]], value)
    return strength, names


def _duplicates(kept: list[str], positive: dict[str, np.ndarray]) -> dict[str, str]:
    """Superclass -> the lowest member with the same positive records."""
    known = ontology.load()
    found = {}
    for name in kept:
        members = [member for member in kept if name in known.ancestors(member)]
        same = [member for member in members if np.array_equal(positive[name], positive[member])]
        if same:
            found[name] = max(same, key=lambda member: len(known.ancestors(member)))
    return found


def _superclasses(kept: list[str]) -> dict[str, tuple[str, ...]]:
    known = ontology.load()
    members = {name: tuple(other for other in kept if name in known.ancestors(other)) for name in kept}
    return {name: others for name, others in members.items() if others}


def _count_kinds(rows_of: dict[str, list[int]]) -> Counter[str]:
    kinds = Counter()
    for text, rows in rows_of.items():
        kinds[grammar.parse(text).kind] += len(rows)
    return kinds


def save(knowledge: Knowledge, folder: str | os.PathLike, provenance: dict) -> None:
    """Writes entities.json and labels.npy into a new folder, whole or not at all.

    Raises:
        FileExistsError: the folder is there already; knowledge is not written over.
    """
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} exists; choose another name or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    unfinished.mkdir()
    try:
        head = {
            "format": FORMAT,
            "version": VERSION,
            "records": len(knowledge.labels),
            "entities": knowledge.entities,
            "superclasses": knowledge.superclasses,
            "counts": knowledge.counts,
            "provenance": provenance,
        }
        (unfinished / "entities.json").write_text(json.dumps(head, indent=1) + "\n", "utf-8")
        np.save(unfinished / "labels.npy", knowledge.labels, allow_pickle=False)
        os.rename(unfinished, folder)
    except BaseException as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if isinstance(error, OSError) and error.errno == errno.ENOTEMPTY:
            raise FileExistsError(f"{folder} was written by another process meanwhile") from error
        raise


def load(folder: str | os.PathLike) -> Knowledge:
    """Knowledge that `save` wrote.

    Raises:
        FileNotFoundError: the folder or one of its files is not there.
        ValueError: the files are of another version, damaged, or do not belong together.
    """
    folder = Path(folder)
    head = _read_head(folder)
    path = folder / "labels.npy"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; remove the folder to mine the store again")
    try:
        labels = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is damaged ({error}); remove the folder to mine the store again") from error
    expected = (head["records"], len(head["entities"]))
    if labels.shape != expected or labels.dtype != np.int8:
        raise ValueError(f"{path} holds {labels.dtype} {labels.shape}, entities.json says int8 {expected}")
    return Knowledge(
        entities=tuple(head["entities"]),
        superclasses={name: tuple(members) for name, members in head["superclasses"].items()},
        counts=head["counts"],
        labels=labels,
    )


def _read_head(folder: Path) -> dict:
    path = folder / "entities.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; mine the store first")
    try:
        head = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); remove the folder to mine the store again") from error
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise ValueError(f"{path} is not a file of {FORMAT}")
    if head.get("version") != VERSION:
        version = head.get("version")
        raise ValueError(
            f"{path} is of version {version}, this is version {VERSION}; remove the folder to mine the store again"
        )
    missing = [key for key in ("records", "entities", "superclasses", "counts") if key not in head]
    if missing:
        raise ValueError(f"{path} is damaged ({missing[0]!r} is missing); remove the folder to mine the store again")
    return head
