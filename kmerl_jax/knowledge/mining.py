"""Mining: from the reports of a store to a reading, which lies in the store's knowledge/ folder."""

import functools
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from kmerl_jax import __version__
from kmerl_jax.cohorts.store import Store
from kmerl_jax.knowledge import grammar, ontology, reading
from kmerl_jax.knowledge.reading import Reading

GRAMMAR = "grammar"
"""Name of the reading that needs no server: made when it is missing, and again when the grammar has changed."""

_RULES = ("grammar.py", "grammar.toml", "ontology.py", "ontology.toml", "statements.py", "reading.py", "mining.py")


def folder_of(store: Store, name: str) -> Path:
    """Where a reading of a store lies.

    Raises:
        ValueError: a name that is not one folder name.
    """
    if not name or name.startswith(".") or Path(name).name != name:
        raise ValueError(f"{name!r} is no name of a reading: a folder name without slashes")
    return store.path / "knowledge" / name


def variant(name: str, merging: bool, superclasses: bool) -> str:
    """The name of a reading of the same reports that leaves something out (paper, table 2b).

    Args:
        name: of the whole reading.
        merging: whether what is said in several ways is one entity.
        superclasses: whether an entity makes its superclasses present.
    """
    return name + "-unmerged" * (not merging) + "-flat" * (not superclasses)


def open_reading(store: Store, name: str, merging: bool = True, superclasses: bool = True) -> tuple[Reading, str]:
    """A reading of a store, mined now if it is the grammar's and missing or of another grammar.

    Args:
        store: the store.
        name: of the reading.
        merging: see `variant`, as superclasses.

    Returns:
        The reading, and where it came from.

    Raises:
        FileNotFoundError: there is none of that name, or not without what is left out.
        ValueError: it is damaged, or of a store with other records.
    """
    folder = folder_of(store, variant(name, merging, superclasses))
    if name == GRAMMAR and not _current(folder):
        read = by_grammar(store.table["statements"], merging, superclasses)
        _replace(read, folder)
        return read, "mined by the grammar"
    if name != GRAMMAR and not folder.exists():
        flags = " --nomerging" * (not merging) + " --nosuperclasses" * (not superclasses)
        raise FileNotFoundError(
            f"{folder} not found: python -m kmerl_jax.mine --store={store.path} --name={name}{flags} makes it, "
            "with --extractor=llm by a language model"
        )
    read = reading.load(folder)
    if len(read.statuses) != len(store):
        raise ValueError(f"{folder} is of {len(read.statuses):,} records, the store has {len(store):,}; mine it again")
    return read, f"read from {folder}"


def _current(folder: Path) -> bool:
    try:
        return reading.read_head(folder)["provenance"].get("rules") == rules_digest()
    except FileNotFoundError:
        return False


def _replace(read: Reading, folder: Path) -> None:
    """Saves a reading, over an outdated one too; another process that saves the same first is welcome to."""
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        if folder.exists():
            os.rename(folder, old)
        reading.save(read, folder)
    except FileExistsError:
        pass
    finally:
        shutil.rmtree(old, ignore_errors=True)


@functools.lru_cache(maxsize=1)
def rules_digest() -> str:
    """Of everything that decides what the grammar reads."""
    rules = hashlib.sha256()
    for name in _RULES:
        rules.update(Path(__file__).with_name(name).read_bytes())
    return rules.hexdigest()


def by_grammar(statements: Sequence[Sequence[str]], merging: bool = True, superclasses: bool = True) -> Reading:
    """What the grammar reads in the statements of each record; each distinct statement is parsed once.

    Args:
        statements: of each of N records.
        merging: see `variant`; without it an entity has as many names as a statement can call it by.
        superclasses: see `variant`.
    """
    rows = reading.rows_of(statements)
    parsed = {text: grammar.parse(text) for text in rows}
    known = ontology.load()
    kinds, quality, unknown, unread = Counter(), Counter(), Counter(), Counter()
    for text, held in rows.items():
        kinds[parsed[text].kind] += len(held)
        quality.update({note: len(held) for note in parsed[text].quality})
        if parsed[text].kind == "unknown":
            unknown[text] = len(held)
        elif parsed[text].kind == "finding" and parsed[text].unread:
            unread[text] = len(held)
    mentions = {text: one.mentions for text, one in parsed.items()}
    names = {name: name for name in known.entities}
    if not merging:
        mentions = {
            text: [(grammar.said_as(name, text), status) for name, status in each] for text, each in mentions.items()
        }
        names |= {phrase: name for name, entity in known.entities.items() for phrase in entity.phrases}
    return reading.build(
        rows,
        mentions,
        {said: known.ancestors(name) for said, name in names.items()} if superclasses else {},
        len(statements),
        {
            name: {"synonyms": list(entity.phrases) if merging else [], "family": entity.family, "codes": entity.codes}
            for name, entity in known.entities.items()
        },
        {
            "extractor": "grammar",
            "kmerl_jax": __version__,
            "rules": rules_digest(),
            "records": len(statements),
            "statements": sum(kinds.values()),
            "distinct_statements": len(rows),
            "kinds": {kind: kinds[kind] for kind in ("finding", "quality", "remark", "unknown")},
            "quality_notes": dict(quality.most_common()),
            "not_understood": dict(unknown.most_common()),
            "understood_but_for_some_words": dict(unread.most_common()),
        },
    )


def summary(read: Reading) -> str:
    """One line on what was read and what was not."""
    said = read.provenance
    entities = f"{len(read.names)} entities ({len(read.superclasses)} superclasses)"
    if said["extractor"] == "llm":
        return (
            f"{entities} by {said['model']} in {said['texts_with_entities']:,} of {said['distinct_texts']:,} distinct "
            f"texts of {said['records']:,} records"
        )
    printed = max(said["statements"], 1)
    shares = ", ".join(f"{count / printed:.1%} {kind}" for kind, count in said["kinds"].items())
    return (
        f"{entities} in {said['statements']:,} statements of {said['records']:,} records, "
        f"{said['distinct_statements']:,} distinct: {shares}"
    )
