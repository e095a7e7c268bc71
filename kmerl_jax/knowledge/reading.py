"""What an extractor read from the reports of a store: which entities each record mentions, and with which status."""

import dataclasses
import errno
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from kmerl_jax.knowledge.statements import normalize

FORMAT = "kmerl_jax knowledge"
VERSION = 2
STATUSES = ("negated", "previous", "possible", "present")
"""What a report can say of an entity, weakest first: of two statuses the stronger holds."""

UNMENTIONED = 0
NEGATED, PREVIOUS, POSSIBLE, PRESENT = range(1, len(STATUSES) + 1)
_STRENGTH = dict(zip(STATUSES, (NEGATED, PREVIOUS, POSSIBLE, PRESENT), strict=True))


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """The entities of a store's reports.

    Attributes:
        names: the E entities that some record mentions, superclasses among them, in alphabetical order.
        superclasses: superclass -> its members at any depth, all of them in `names`.
        statuses: [N, E] int8; `UNMENTIONED`, `NEGATED`, `PREVIOUS`, `POSSIBLE` or `PRESENT`. A superclass is at least
            as certain as its most certain member that may be there.
        about: name -> what is known of the entity beside its statuses: merged synonyms, codes.
        provenance: how it was read: extractor, versions, counts of what was understood and what was not.
    """

    names: tuple[str, ...]
    superclasses: dict[str, tuple[str, ...]]
    statuses: np.ndarray
    about: dict[str, dict]
    provenance: dict


def rows_of(texts: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    """Records that hold each text, once normalised; empty texts left out.

    Args:
        texts: of each of N records.
    """
    rows: dict[str, list[int]] = {}
    spelling: dict[str, str] = {}  # hundreds of thousands of records print a few thousand spellings
    for row, printed in enumerate(texts):
        for text in printed:
            spelled = spelling.get(text)
            if spelled is None:
                spelled = spelling[text] = normalize(text)
            if spelled:
                rows.setdefault(spelled, []).append(row)
    return rows


def build(
    rows: Mapping[str, Sequence[int]],
    mentions: Mapping[str, Iterable[tuple[str, str]]],
    above: Mapping[str, Iterable[str]],
    records: int,
    about: Mapping[str, dict],
    provenance: dict,
) -> Reading:
    """A reading from what each text mentions.

    Args:
        rows: text -> the records that hold it.
        mentions: text -> (entity, status) pairs; a text that is not there mentions nothing.
        above: entity -> its superclasses at any height.
        records: N.
        about: see `Reading`; entities that no record mentions are left out.
        provenance: see `Reading`.
    """
    said: dict[str, dict[str, int]] = {}
    for text in rows:
        strongest = said[text] = {}
        for name, status in mentions.get(text, ()):
            # A member that is there makes its superclasses so; one that is not says nothing about them.
            higher = above.get(name, ()) if _STRENGTH[status] >= POSSIBLE else ()
            for entity in (name, *higher):
                strongest[entity] = max(strongest.get(entity, UNMENTIONED), _STRENGTH[status])
    names = tuple(sorted({entity for strongest in said.values() for entity in strongest}))
    column = {name: index for index, name in enumerate(names)}
    statuses = np.zeros((records, len(names)), np.int8)
    for text, held in rows.items():
        for entity, value in said[text].items():
            statuses[held, column[entity]] = np.maximum(statuses[held, column[entity]], value)
    members: dict[str, list[str]] = {}
    for name in names:
        for higher in above.get(name, ()):
            if higher in column:
                members.setdefault(higher, []).append(name)
    return Reading(
        names,
        {name: tuple(sorted(members[name])) for name in sorted(members)},
        statuses,
        {name: dict(about.get(name, {})) for name in names},
        provenance,
    )


def save(reading: Reading, folder: str | os.PathLike) -> None:
    """Writes entities.json and statuses.npy into a new folder, whole or not at all.

    Raises:
        FileExistsError: the folder is there already; a reading is not written over.
    """
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} exists; choose another name or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    unfinished.mkdir()
    try:
        (unfinished / "entities.json").write_text(json.dumps(_head(reading), indent=1) + "\n", "utf-8")
        np.save(unfinished / "statuses.npy", reading.statuses, allow_pickle=False)
        os.rename(unfinished, folder)
    except BaseException as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise FileExistsError(f"{folder} was written by another process meanwhile") from error
        raise


def _head(reading: Reading) -> dict:
    counts = [(reading.statuses == value).sum(0) for value in range(NEGATED, PRESENT + 1)]
    return {
        "format": FORMAT,
        "version": VERSION,
        "records": len(reading.statuses),
        "statuses": {name: value for value, name in enumerate(("unmentioned", *STATUSES))},
        "entities": [
            {
                "name": name,
                **reading.about[name],
                "records": {status: int(count[column]) for status, count in zip(STATUSES, counts, strict=True)},
            }
            for column, name in enumerate(reading.names)
        ],
        "superclasses": reading.superclasses,
        "provenance": reading.provenance,
    }


def load(folder: str | os.PathLike) -> Reading:
    """What `save` wrote.

    Raises:
        FileNotFoundError: the folder or one of its files is not there.
        ValueError: the files are of another version, damaged, or do not belong together.
    """
    folder = Path(folder)
    head = read_head(folder)
    path = folder / "statuses.npy"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; remove the folder and mine the store again")
    try:
        statuses = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is damaged ({error}); remove the folder and mine the store again") from error
    expected = (head["records"], len(head["entities"]))
    if statuses.shape != expected or statuses.dtype != np.int8:
        raise ValueError(f"{path} holds {statuses.dtype} {statuses.shape}, entities.json says int8 {expected}")
    return Reading(
        names=tuple(entity["name"] for entity in head["entities"]),
        superclasses={name: tuple(members) for name, members in head["superclasses"].items()},
        statuses=statuses,
        about={
            entity["name"]: {key: value for key, value in entity.items() if key not in ("name", "records")}
            for entity in head["entities"]
        },
        provenance=head["provenance"],
    )


def read_head(folder: Path) -> dict:
    """What entities.json says, checked for its format and version.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is of another version, or damaged.
    """
    path = folder / "entities.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; python -m kmerl_jax.mine writes it")
    try:
        head = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); remove the folder and mine the store again") from error
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise ValueError(f"{path} is not a file of {FORMAT}")
    if head.get("version") != VERSION:
        version = head.get("version")
        raise ValueError(
            f"{path} is of version {version}, this is version {VERSION}; remove the folder and mine the store again"
        )
    missing = [key for key in ("records", "entities", "superclasses", "provenance") if key not in head]
    if missing:
        raise ValueError(f"{path} is damaged ({missing[0]!r} is missing); remove the folder and mine the store again")
    return head
